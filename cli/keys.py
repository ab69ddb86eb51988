"""`jobico keys`: bearer keys of a tenant. A key is shown once, when it is made."""

import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import render
from cli.options import Home, Json, Tenant
from cli.session import connect, new_request_id
from jobico.errors import InvalidInput, NotFound
from jobico.limits import KEY_GRACE_MS_MAX
from jobico.units import format_duration_ms, parse_duration_ms

if TYPE_CHECKING:
    from rich.console import RenderableType

    from jobico.tenancy import KeyInfo
    from protocol.messages import NewKey

__all__ = ["app"]

app = typer.Typer(add_completion=False)

KeyId = Annotated[str, typer.Argument(metavar="ID", help="Of the key, from `keys list`.", show_default=False)]
_KEEP = "Keep it now: it is not shown again."


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
    pairs = [("Key", answer.key), ("Id", answer.info.id), ("Role", answer.info.role)]
    render.report(_made(answer), lambda: render.facts([*pairs, ("", _KEEP)]))


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
    now_ms = time.time_ns() // 1_000_000
    rows = [
        (
            item.id,
            item.role,
            _state(item, now_ms),
            render.when(item.created_ms),
            item.name,
        )
        for item in items
    ]
    empty = f"{tenant} has no key yet: `jobico keys create {tenant}` makes one."
    render.report(public, lambda: render.table(("ID", "ROLE", "STATE", "CREATED", "NAME"), rows, empty=empty))


@app.command()
def rotate(
    tenant: Tenant,
    key_id: KeyId,
    grace: Annotated[
        str,
        typer.Option("--grace", metavar="TIME", help="How long the former key stays live; 0s: not at all."),
    ] = "1h",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Replace a key by another of the same role and name; the former stays live for a while.

    Example: jobico keys rotate acme k5f0c2b7d91e4 --grace 1d
    """
    from protocol.messages import CreateKey, ListKeys, RevokeKey

    grace_ms = parse_duration_ms(grace)
    if grace_ms > KEY_GRACE_MS_MAX:
        raise InvalidInput(f"--grace is {format_duration_ms(KEY_GRACE_MS_MAX)} at most, not {grace}.")
    now_ms = time.time_ns() // 1_000_000
    with connect(home) as session, session.suggesting(tenant=tenant):
        items = session.control(ListKeys(tenant=tenant)).items
        former = next((item for item in items if item.id == key_id), None)
        if former is None or not former.is_live(now_ms):
            raise NotFound(f"{tenant!r} has no live key {key_id!r}: see `jobico keys list {tenant}`.")
        made = CreateKey(request_id=new_request_id(), tenant=tenant, role=former.role, name=former.name)
        answer = session.change(made)
        session.change(RevokeKey(request_id=new_request_id(), tenant=tenant, id=key_id, grace_ms=grace_ms))
    after = f"live for {format_duration_ms(grace_ms)} more" if grace_ms else "revoked"
    pairs = [("Key", answer.key), ("Id", answer.info.id), ("Role", answer.info.role)]
    pairs += [("Former", f"{key_id}, {after}"), ("", _KEEP)]
    facts = {**_made(answer), "former": key_id, "former_live_ms": grace_ms}
    render.report(facts, lambda: render.facts(pairs))


@app.command()
def revoke(
    tenant: Tenant,
    key_id: KeyId,
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


def _made(answer: "NewKey") -> dict[str, Any]:
    return {
        "key": answer.key,
        "id": answer.info.id,
        "tenant": answer.info.tenant,
        "role": answer.info.role,
        "name": answer.info.name,
        "created_ms": answer.info.created_ms,
    }


def _state(info: "KeyInfo", now_ms: int) -> "RenderableType":
    if not info.revoked_ms:
        return render.state("live")
    if not info.is_live(now_ms):
        return render.state("revoked")
    return render.styled(f"live for {format_duration_ms(info.revoked_ms - now_ms)} more", "yellow")
