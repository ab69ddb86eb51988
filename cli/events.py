"""`jobico events`: what is queued, and what came of one."""

from typing import Annotated

import typer

from cli import render
from cli.options import Home, Json, Tenant
from cli.session import connect, new_request_id

__all__ = ["app"]

app = typer.Typer(add_completion=False)

EventId = Annotated[
    str, typer.Argument(metavar="ID", help="Of the event, as the 202 answer gave it.", show_default=False)
]


@app.command()
def show(tenant: Tenant, event_id: EventId, home: Home = None, as_json: Json = False) -> None:
    """Show one event: its attempts over time, logs and result.

    Example: jobico events show acme 0190c8b5-7e2a-7cc0-b1c9-3f0e6a1f2b3c
    """
    from cli.timeline import draw_status
    from protocol.messages import ShowEvent

    with connect(home) as session, session.suggesting(tenant=tenant):
        status = session.ask("listener", ShowEvent(tenant=tenant, id=event_id)).status
    render.report(status, lambda: draw_status(status))


@app.command("list")
def list_events(
    tenant: Annotated[
        str, typer.Argument(metavar="TENANT", help="Only this tenant's.", show_default=False)
    ] = "",
    event: Annotated[str, typer.Option("--event", metavar="EVENT", help="Only this event.")] = "",
    state: Annotated[str, typer.Option("--state", metavar="STATE", help="queued, running or delayed.")] = "",
    limit: Annotated[
        int, typer.Option("-n", "--limit", min=1, max=1_000, metavar="N", help="How many.")
    ] = 100,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """List events that are queued, running or delayed; `jobico logs` has those that ran.

    Example: jobico events list acme --state delayed
    """
    from protocol.messages import ListEvents

    with connect(home) as session, session.suggesting(tenant=tenant):
        answer = session.ask("listener", ListEvents(tenant=tenant, event=event, state=state, limit=limit))
    rows = [
        (
            str(item["id"]),
            f"{item['tenant']}/{item['event']}",
            render.state(str(item["state"])),
            str(item["attempts"]),
            render.age(int(item["accepted_ms"])),
            str(item.get("executor") or ""),
        )
        for item in answer.items
    ]
    columns = ("ID", "EVENT", "STATE", "#ATTEMPTS", "ACCEPTED", "EXECUTOR")
    facts = {"items": answer.items, "total": answer.total}
    render.report(facts, lambda: render.table(columns, rows, empty="No event waits or runs."))
    if answer.total > len(rows):
        render.line(f"{len(rows)} of {answer.total}.", "dim")


@app.command()
def cancel(tenant: Tenant, event_id: EventId, home: Home = None, as_json: Json = False) -> None:
    """Withdraw an event that is queued, delayed or running.

    Example: jobico events cancel acme 0190c8b5-7e2a-7cc0-b1c9-3f0e6a1f2b3c
    """
    from protocol.messages import CancelEvent

    with connect(home) as session, session.suggesting(tenant=tenant):
        session.ask("listener", CancelEvent(request_id=new_request_id(), tenant=tenant, id=event_id))
    render.report({"cancelled": event_id}, lambda: render.styled(f"Cancelled {event_id}."))
