"""`jobico dead-letters`: events that ended without success; they stay until they are replayed or purged."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import render
from cli.options import Home, Json, Tenant, Yes
from cli.session import connect, new_request_id
from jobico.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from jobico.change import DeadLetter
    from protocol.messages import PurgeDeadLetters, ReplayDeadLetters

__all__ = ["app"]

app = typer.Typer(add_completion=False)

Ids = Annotated[
    list[str] | None,
    typer.Argument(metavar="ID", help="Of the events; none is all that match.", show_default=False),
]
OfEvent = Annotated[str, typer.Option("--event", metavar="EVENT", help="Only this event.")]
Reason = Annotated[
    str, typer.Option("--reason", metavar="REASON", help="Only with this: attempts, killed, loop, no-route.")
]
_PAGE = 1_000


@app.command("list")
def list_letters(
    tenant: Annotated[
        str, typer.Argument(metavar="TENANT", help="Only this tenant's.", show_default=False)
    ] = "",
    event: OfEvent = "",
    reason: Reason = "",
    limit: Annotated[
        int, typer.Option("-n", "--limit", min=1, max=1_000, metavar="N", help="How many.")
    ] = 100,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """List dead letters, newest first.

    Example: jobico dead-letters list acme --reason attempts
    """
    from protocol.messages import ListDeadLetters

    with connect(home) as session, session.suggesting(tenant=tenant):
        answer = session.ask(
            "listener", ListDeadLetters(tenant=tenant, event=event, reason=reason, limit=limit)
        )
    rows = [
        (
            item.event.id,
            f"{item.event.tenant}/{item.event.event}",
            item.reason,
            str(item.attempts),
            render.age(item.buried_ms),
            render.tame(item.error, chars_max=60),
        )
        for item in answer.items
    ]
    facts = {"items": [_facts(item) for item in answer.items], "total": answer.total}
    columns = ("ID", "EVENT", "REASON", "#ATTEMPTS", "DIED", "ERROR")
    render.report(facts, lambda: render.table(columns, rows, empty="There are no dead letters."))
    if answer.total > len(rows):
        render.line(f"{len(rows)} of {answer.total}.", "dim")


@app.command()
def show(
    tenant: Tenant,
    event_id: Annotated[str, typer.Argument(metavar="ID", help="Of the event.", show_default=False)],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show a dead letter with its payload.

    Example: jobico dead-letters show acme 0190c8b5-7e2a-7cc0-b1c9-3f0e6a1f2b3c
    """
    from protocol.messages import ListDeadLetters

    found = None
    with connect(home) as session, session.suggesting(tenant=tenant):
        before = ""
        while found is None:
            answer = session.ask("listener", ListDeadLetters(tenant=tenant, before=before, limit=_PAGE))
            found = next((item for item in answer.items if item.event.id == event_id), None)
            if found is None and len(answer.items) < _PAGE:
                raise NotFound(
                    f"{tenant} has no dead letter {event_id}: see `jobico dead-letters list {tenant}`."
                )
            before = answer.items[-1].event.id
    facts = _facts(found)
    pairs = [
        ("Event", f"{found.event.tenant}/{found.event.event}  {found.event.id}"),
        ("Reason", found.reason),
        ("Attempts", str(found.attempts)),
        ("Outcome", f"{found.outcome}, code {found.code}"),
        ("Error", found.error),
        ("Accepted", render.when(found.event.accepted_ms)),
        ("Died", render.when(found.buried_ms)),
        ("Payload", render.pretty(facts["payload"])),
    ]
    render.report(facts, lambda: render.facts(pairs))


@app.command()
def replay(
    tenant: Tenant,
    ids: Ids = None,
    event: OfEvent = "",
    reason: Reason = "",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Put dead letters back into the queue, with all their attempts before them.

    Example: jobico dead-letters replay acme --event customer-registration
    """
    from protocol.messages import ReplayDeadLetters

    request = ReplayDeadLetters(
        request_id=new_request_id(), tenant=tenant, ids=tuple(ids or ()), event=event, reason=reason
    )
    count = _all_of(tenant, request, home)
    render.report({"replayed": count}, lambda: render.styled(f"Replayed {count}."))


@app.command()
def purge(
    tenant: Tenant,
    ids: Ids = None,
    event: OfEvent = "",
    reason: Reason = "",
    yes: Yes = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Delete dead letters for good.

    Example: jobico dead-letters purge acme --reason no-route --yes
    """
    from protocol.messages import PurgeDeadLetters

    what = f"{len(ids)} dead letters" if ids else "all dead letters that match"
    if not yes and not render.confirm(f"Delete {what} of {tenant} for good?"):
        raise InvalidInput("Nothing was deleted: say --yes to do it without being asked.")
    request = PurgeDeadLetters(
        request_id=new_request_id(), tenant=tenant, ids=tuple(ids or ()), event=event, reason=reason
    )
    count = _all_of(tenant, request, home)
    render.report({"purged": count}, lambda: render.styled(f"Purged {count}."))


def _all_of(tenant: str, request: "ReplayDeadLetters | PurgeDeadLetters", home: str | None) -> int:
    """Asks again, a bounded number at a time, until none is left that matches."""
    import msgspec

    count = 0
    with connect(home) as session, session.suggesting(tenant=tenant), render.progress() as bars:
        task = bars.add_task("Dead letters", total=None)
        while True:
            answer = session.ask("listener", request, 30_000)
            count += answer.count
            bars.update(task, completed=count)
            if not answer.more or not answer.count:
                return count
            request = msgspec.structs.replace(request, request_id=new_request_id())


def _facts(letter: "DeadLetter") -> dict[str, Any]:
    return {
        "id": letter.event.id,
        "tenant": letter.event.tenant,
        "job": letter.event.job,
        "event": letter.event.event,
        "queue": letter.event.queue,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "deaths": letter.deaths,
        "outcome": letter.outcome,
        "code": letter.code,
        "error": letter.error,
        "accepted_ms": letter.event.accepted_ms,
        "buried_ms": letter.buried_ms,
        "payload": _json_or_text(letter.event.payload),
    }


def _json_or_text(content: bytes) -> Any:
    import json

    try:
        return json.loads(content)
    except ValueError:
        return content.decode("utf-8", "replace")
