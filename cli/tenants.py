"""`jobico tenants`."""

from typing import Annotated

import typer

from cli import render
from cli.options import Home, Json, Tenant, Yes
from cli.session import connect, new_request_id
from jobico.errors import InvalidInput

__all__ = ["app"]

app = typer.Typer(add_completion=False)


@app.command()
def create(
    tenant: Tenant,
    exist_ok: Annotated[
        bool, typer.Option("--exist-ok", help="It may exist; its quotas become these.")
    ] = False,
    events_per_s: Annotated[int, typer.Option(min=0, metavar="N", help="Events accepted a second.")] = 0,
    queued_events: Annotated[int, typer.Option(min=0, metavar="N", help="Events that wait.")] = 0,
    concurrent_runs: Annotated[int, typer.Option(min=0, metavar="N", help="Guests that run at once.")] = 0,
    weight: Annotated[int, typer.Option(min=0, metavar="N", help="Its share against other tenants.")] = 0,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Create a tenant.

    A quota of 0 is the default of the platform.

    Example: jobico tenants create acme --events-per-s 200
    """
    from jobico.tenancy import Quotas
    from protocol.messages import CreateTenant

    quotas = Quotas(
        events_per_s=events_per_s,
        queued_events=queued_events,
        concurrent_runs=concurrent_runs,
        weight=weight,
    )
    with connect(home) as session:
        request = CreateTenant(
            request_id=new_request_id(),
            name=tenant,
            quotas=None if quotas == Quotas() else quotas,
            exist_ok=exist_ok,
        )
        answer = session.change(request)
    render.report(
        answer.tenant,
        lambda: render.styled(f"Tenant {tenant} is there. Next: `jobico keys create {tenant}`."),
    )


@app.command("list")
def list_tenants(home: Home = None, as_json: Json = False) -> None:
    """List all tenants.

    Example: jobico tenants list --json
    """
    from protocol.messages import ListTenants

    with connect(home) as session:
        items = session.control(ListTenants()).items
    rows = [(item.name, render.when(item.created_ms), str(item.quotas.weight or 1)) for item in items]
    empty = "There is no tenant yet: `jobico tenants create NAME` makes one."
    render.report(items, lambda: render.table(("TENANT", "CREATED", "#WEIGHT"), rows, empty=empty))


@app.command()
def show(tenant: Tenant, home: Home = None, as_json: Json = False) -> None:
    """Show a tenant and what it has.

    Example: jobico tenants show acme
    """
    from cli.show import tenant as show_tenant

    show_tenant(tenant, home, as_json)


@app.command()
def delete(tenant: Tenant, yes: Yes = False, home: Home = None, as_json: Json = False) -> None:
    """Delete a tenant with its keys and jobs; what it has queued becomes dead letters.

    Example: jobico tenants delete acme --yes
    """
    from protocol.messages import DeleteTenant

    if not yes and not render.confirm(f"Delete the tenant {tenant} with its keys and jobs?"):
        raise InvalidInput(f"{tenant} was not deleted: say --yes to do it without being asked.")
    with connect(home) as session, session.suggesting(tenant=tenant):
        session.change(DeleteTenant(request_id=new_request_id(), name=tenant))
    render.report({"deleted": tenant}, lambda: render.styled(f"Deleted {tenant}."))
