"""`jobico queues`: how much waits, and for how long."""

import time
from typing import Annotated

import typer

from cli import render
from cli.options import Home, Json
from cli.session import connect
from jobico.units import format_duration_ms, format_size

__all__ = ["queues"]


def queues(
    tenant: Annotated[
        str, typer.Argument(metavar="TENANT", help="Only this tenant's.", show_default=False)
    ] = "",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show how much waits in each queue.

    Example: jobico queues acme
    """
    from protocol.messages import ListQueues

    with connect(home) as session, session.suggesting(tenant=tenant):
        answer = session.ask("listener", ListQueues(tenant=tenant))
    now_ms = time.time() * 1_000
    rows = [
        (
            f"{item['tenant']}/{item['job']}/{item['queue']}",
            f"{item['ready']:,}",
            f"{item['running']:,}",
            f"{item['delayed']:,}",
            f"{item['dead']:,}",
            format_size(item["bytes"]),
            format_duration_ms(now_ms - item["oldest_ms"]) if item["oldest_ms"] else "-",
        )
        for item in answer.items
    ]
    columns = ("QUEUE", "#READY", "#RUNNING", "#DELAYED", "#DEAD", "#SIZE", "#OLDEST")
    facts = {"items": answer.items, "outbox": answer.outbox}
    render.report(facts, lambda: render.table(columns, rows, empty="Nothing waits."))
    if answer.outbox:
        render.line(f"{answer.outbox:,} records wait for the recorder.", "yellow")
