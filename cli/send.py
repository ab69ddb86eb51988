"""`jobico send`: an event from the command line, without a key: whoever owns the data directory may send."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from cli import render
from cli.files import read_input
from cli.options import Event, Home, Json, Tenant
from cli.session import Session, connect, new_request_id
from jobico import limits

if TYPE_CHECKING:
    from jobico.event import EventStatus

__all__ = ["await_final", "send"]

_LOOK_S = 0.03


def send(
    tenant: Tenant,
    event: Event,
    file: Annotated[
        str, typer.Argument(metavar="FILE|-", help="Its JSON; - reads stdin.", show_default="-")
    ] = "-",
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait for what comes of it.")] = False,
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="TIME", help="With --wait: how long at most.")
    ] = "60s",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Send an event, without a key.

    With --wait the exit code is 0 only if it succeeded.

    Example: echo '{"customerId": 7}' | jobico send acme customer-registration --wait
    """
    from jobico.units import parse_duration_ms
    from protocol.messages import EmitEvent

    timeout_ms = parse_duration_ms(timeout)
    payload = read_input(file, limits.BODY_BYTES_MAX)
    with connect(home) as session, session.suggesting(tenant=tenant, event=event):
        request_id = new_request_id()
        answer = session.ask(
            "listener",
            EmitEvent(request_id=request_id, tenant=tenant, event=event, payload=payload, key=request_id),
        )
        if not wait:
            text = f"Accepted {answer.id}. See it with `jobico events show {tenant} {answer.id}`."
            render.report({"id": answer.id}, lambda: render.styled(text))
            return
        status = await_final(session, tenant, answer.id, timeout_ms)
    from cli.timeline import draw_status

    render.report(status, lambda: draw_status(status))
    if status.state != "done":
        raise typer.Exit(1)


def await_final(session: Session, tenant: str, event_id: str, timeout_ms: float) -> "EventStatus":
    """The event once nothing more will come of it.

    Raises:
        DeadlineExceeded: it is not final in time; it goes on by itself.
    """
    from jobico.errors import DeadlineExceeded
    from protocol.messages import ShowEvent

    deadline = time.monotonic() + timeout_ms / 1_000
    while True:
        status = session.ask("listener", ShowEvent(tenant=tenant, id=event_id)).status
        if status.state in ("done", "dead"):
            return status
        if time.monotonic() > deadline:
            raise DeadlineExceeded(
                f"{event_id} is still {status.state} after {timeout_ms / 1_000:.0f} s; it goes on: see "
                f"`jobico events show {tenant} {event_id}`."
            )
        time.sleep(_LOOK_S)
