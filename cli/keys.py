"""`jobico keys`: bearer keys of a tenant. A key is shown once, when it is made."""

from enum import StrEnum
from typing import Annotated

import typer

from cli import render
from cli.options import Home, Json, Tenant
from cli.session import connect, new_request_id

__all__ = ["app"]

app = typer.Typer(add_completion=False)


class KeyRole(StrEnum):
    """What the holder of a key may do."""

    ADMIN = "admin"
    READ = "read"
    SEND = "send"


@app.command()
def create(
    tenant: Tenant,
    role: Annotated[KeyRole, typer.Option("--role", help="What its holder may do.")] = KeyRole.ADMIN,
    name: Annotated[
        str, typer.Option("--name", metavar="TEXT", help="What it is for.", show_default=False)
    ] = "",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Create a bearer key; it is shown this once.

    Example: jobico keys create acme --role send --name website
    """
    from protocol.messages import CreateKey

    with connect(home) as session, session.suggesting(tenant=tenant):
        answer = session.change(
            CreateKey(request_id=new_request_id(), tenant=tenant, role=role.value, name=name)
        )
    facts = {
        "key": answer.key,
        "id": answer.info.id,
        "tenant": answer.info.tenant,
        "role": answer.info.role,
        "name": answer.info.name,
        "created_ms": answer.info.created_ms,
    }
    pairs = [("Key", answer.key), ("Id", answer.info.id), ("Role", answer.info.role)]
    render.report(facts, lambda: render.facts([*pairs, ("", "Keep it now: it is not shown again.")]))


@app.command("list")
def list_keys(tenant: Tenant, home: Home = None, as_json: Json = False) -> None:
    """List the keys of a tenant, revoked ones too; never the keys themselves.

    Example: jobico keys list acme
    """
    from protocol.messages import ListKeys

    with connect(home) as session, session.suggesting(tenant=tenant):
        items = session.control(ListKeys(tenant=tenant)).items
    public = [
        {
            "id": item.id,
            "tenant": item.tenant,
            "role": item.role,
            "name": item.name,
            "created_ms": item.created_ms,
            "revoked_ms": item.revoked_ms,
        }
        for item in items
    ]
    rows = [
        (
            item.id,
            item.role,
            render.state("revoked" if item.revoked_ms else "live"),
            render.when(item.created_ms),
            item.name,
        )
        for item in items
    ]
    empty = f"{tenant} has no key yet: `jobico keys create {tenant}` makes one."
    render.report(public, lambda: render.table(("ID", "ROLE", "STATE", "CREATED", "NAME"), rows, empty=empty))


@app.command()
def revoke(
    tenant: Tenant,
    key_id: Annotated[
        str, typer.Argument(metavar="ID", help="Of the key, from `keys list`.", show_default=False)
    ],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Revoke a key for good.

    Example: jobico keys revoke acme 5f0c2b7d
    """
    from protocol.messages import RevokeKey

    with connect(home) as session, session.suggesting(tenant=tenant):
        session.change(RevokeKey(request_id=new_request_id(), tenant=tenant, id=key_id))
    render.report({"revoked": key_id}, lambda: render.styled(f"Revoked {key_id}: it opens nothing any more."))
