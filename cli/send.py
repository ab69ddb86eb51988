"""`jobico send`: events from the command line, without a key: whoever owns the data directory may send."""

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

    It is checked like one that comes over HTTP; `{"data": [...]}` is a batch. With --wait the exit code is 0
    only if it succeeded.

    Example: echo '{"customerId": 7}' | jobico send acme customer-registration --wait
    """
    from jobico.units import parse_duration_ms
    from protocol.messages import PostEvents

    timeout_ms = parse_duration_ms(timeout)
    payload = read_input(file, limits.BODY_BYTES_MAX)
    with connect(home) as session, session.suggesting(tenant=tenant, event=event):
        request = PostEvents(request_id=new_request_id(), tenant=tenant, event=event, body=payload)
        ids = session.ask("listener", request).ids
        if not wait:
            _accepted(tenant, ids)
            return
        done = [await_final(session, tenant, event_id, timeout_ms) for event_id in ids]
    from cli.timeline import draw_status

    for status in done:
        render.report(status, lambda status=status: draw_status(status))  # type: ignore[misc]
    if any(status.state != "done" for status in done):
        raise typer.Exit(1)


def _accepted(tenant: str, ids: tuple[str, ...]) -> None:
    if len(ids) == 1:
        text = f"Accepted {ids[0]}. See it with `jobico events show {tenant} {ids[0]}`."
        render.report({"id": ids[0]}, lambda: render.styled(text))
        return
    text = f"Accepted {len(ids)} events. See them with `jobico logs {tenant}`."
    render.report({"ids": ids}, lambda: render.styled(text))


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
