"""`jobico secrets`: what a tenant's senders sign with and its programs are given; no value is ever shown."""

import sys
from typing import Annotated

import typer

from cli import render
from cli.files import read_input
from cli.options import Home, Json, Tenant, Yes
from cli.session import connect, new_request_id
from jobico.errors import InvalidInput
from jobico.limits import SECRET_BYTES_MAX

__all__ = ["app"]

app = typer.Typer(add_completion=False)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Of the secret.", show_default=False)]


@app.command("set")
def set_secret(
    tenant: Tenant,
    name: Name,
    value: Annotated[
        str,
        typer.Argument(metavar="VALUE|-", help="Its value; - reads stdin, or asks for it.", show_default="-"),
    ] = "-",
    add: Annotated[
        bool, typer.Option("--add", help="Keep the value before it live too, until the next set: rotation.")
    ] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Set a secret; its value is not shown again.

    A value on the command line can be seen by other users of the machine while the command runs, and stays in
    the history of the shell: prefer stdin, of which one line break at the end is left out.

    Example: openssl rand -hex 32 | jobico secrets set acme WEBHOOK_SECRET
    """
    from protocol.messages import ListSecrets, SetSecret

    content = value.encode("utf-8", "surrogateescape") if value != "-" else _read_value(name)
    request = SetSecret(request_id=new_request_id(), tenant=tenant, name=name, value=content, rotate=add)
    with connect(home) as session, session.suggesting(tenant=tenant):
        session.change(request)
        items = session.control(ListSecrets(tenant=tenant)).items
    live = next((item.values for item in items if item.name == name), 1)
    text = f"{name} is set."
    if live > 1:
        text = f"{name} is set; the value before it stays live too, until it is set again."
    render.report({"tenant": tenant, "name": name, "values": live}, lambda: render.styled(text))


@app.command("list")
def list_secrets(tenant: Tenant, home: Home = None, as_json: Json = False) -> None:
    """List the names of a tenant's secrets; never what they are.

    Example: jobico secrets list acme
    """
    from protocol.messages import ListSecrets

    with connect(home) as session, session.suggesting(tenant=tenant):
        items = session.control(ListSecrets(tenant=tenant)).items
    rows = [(item.name, str(item.values), render.when(item.changed_ms)) for item in items]
    empty = f"{tenant} has no secret yet: `jobico secrets set {tenant} NAME` sets one."
    render.report(items, lambda: render.table(("NAME", "#VALUES", "CHANGED"), rows, empty=empty))


@app.command()
def delete(tenant: Tenant, name: Name, yes: Yes = False, home: Home = None, as_json: Json = False) -> None:
    """Delete a secret with all its live values; events that it verifies are refused from then on.

    Example: jobico secrets delete acme WEBHOOK_SECRET --yes
    """
    from protocol.messages import DeleteSecret

    if not yes and not render.confirm(f"Delete the secret {name} of {tenant}?"):
        raise InvalidInput("Nothing was deleted: say --yes to do it without being asked.")
    with connect(home) as session, session.suggesting(tenant=tenant):
        session.change(DeleteSecret(request_id=new_request_id(), tenant=tenant, name=name))
    render.report({"deleted": name}, lambda: render.styled(f"Deleted {name}."))


def _read_value(name: str) -> bytes:
    """What is typed without being shown, or stdin without one line break at its end."""
    if sys.stdin.isatty():
        return str(typer.prompt(f"Value of {name}", hide_input=True, err=True)).encode()
    content = read_input("-", SECRET_BYTES_MAX + len(b"\r\n"))
    return content.removesuffix(b"\n").removesuffix(b"\r")
