"""How one event is drawn: what it is, a chart of its attempts, what guests logged, and its result."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cli import render
from jobico.units import format_duration_ms

if TYPE_CHECKING:
    from rich.console import RenderableType

    from jobico.event import EventStatus

__all__ = ["LEVEL_STYLES", "bars", "draw_status", "log_line"]

LEVEL_STYLES = {
    "debug": "dim",
    "warning": "yellow",
    "error": "red",
    "fatal": "bold red",
    "panic": "bold red",
}
_CHART_CHARS = 24  # fits 80 columns with the rest of the table


def draw_status(status: "EventStatus") -> None:
    """Prints an event."""
    for part in _parts(status):
        render.show(part)


def _parts(status: "EventStatus") -> "Iterator[RenderableType]":
    yield render.facts(_facts(status))
    if status.attempts:
        yield ""
        yield _chart(status)
    for attempt in status.attempts:
        logs: Any = attempt.get("logs") or ()
        if logs:
            yield ""
            yield render.styled(f"Logs of attempt {attempt.get('attempt')}", "bold")
            yield from (log_line(line) for line in logs)
    if status.result is not None:
        yield ""
        yield render.styled("Result", "bold")
        yield render.styled(render.pretty(status.result))


def _facts(status: "EventStatus") -> "list[tuple[str, RenderableType]]":
    outcome = f" {status.outcome}" if status.outcome else ""
    code = f", code {status.code}" if status.code else ""
    pairs: list[tuple[str, RenderableType]] = [
        ("Event", f"{status.tenant}/{status.event}  {status.id}"),
        ("State", render.styled(f"{status.state}{outcome}{code}", _style(status))),
        ("Job", f"{status.job}, revision {status.revision}" if status.revision else status.job),
        ("Accepted", f"{render.when(status.accepted_ms)} from {status.source}"),
    ]
    if status.finished_ms:
        pairs.append(("Took", format_duration_ms(status.finished_ms - status.accepted_ms)))
    if status.error:
        pairs.append(("Error", status.error))
    if status.reason:
        pairs.append(("Dead because", status.reason))
    if status.parent:
        pairs.append(("Follows", status.parent))
    if status.follow_ups:
        pairs.append(("Followed by", "\n".join(status.follow_ups)))
    return pairs


def _style(status: "EventStatus") -> str:
    if status.outcome and status.outcome != "ok":
        return "red"
    return render.STATE_STYLES.get(status.state, "")


def _chart(status: "EventStatus") -> "RenderableType":
    rows: list[tuple[RenderableType, ...]] = []
    last_ms = max(_ms(attempt, "settled_ms") for attempt in status.attempts)
    until_ms = max(status.finished_ms or 0, last_ms, status.accepted_ms + 1)
    for attempt in status.attempts:
        leased_ms, settled_ms = _ms(attempt, "leased_ms"), _ms(attempt, "settled_ms")
        run_ms = _ms(attempt, "run_us") / 1_000
        end_ms = settled_ms or until_ms
        rows.append(
            (
                str(attempt.get("attempt")),
                bars(status.accepted_ms, until_ms, leased_ms, end_ms),
                f"+{format_duration_ms(max(0, leased_ms - status.accepted_ms))}",
                format_duration_ms(run_ms) if run_ms else "-",
                render.state(str(attempt.get("outcome") or "running")),
                str(attempt.get("executor") or ""),
                str(attempt.get("error") or ""),
            )
        )
    columns: tuple[str, ...] = ("#", "ACCEPTED → DONE", "#LEASED", "#RAN", "OUTCOME", "EXECUTOR", "ERROR")
    if not any(row[-1] for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    return render.table(columns, rows, empty="")


def bars(from_ms: int, until_ms: int, begin_ms: int, end_ms: int) -> str:
    """A line of time: dots where the event waited, blocks where an executor had it."""
    scale = _CHART_CHARS / max(1, until_ms - from_ms)
    begin = min(_CHART_CHARS - 1, max(0, int((begin_ms - from_ms) * scale)))
    end = min(_CHART_CHARS, max(begin + 1, round((end_ms - from_ms) * scale)))
    return "·" * begin + "█" * (end - begin) + " " * (_CHART_CHARS - end)


def log_line(entry: Any) -> "RenderableType":
    """One line that a guest logged."""
    level, message = str(entry["level"]), str(entry["message"])
    return render.styled(f"  {level:<8}{message}", LEVEL_STYLES.get(level, ""))


def _ms(attempt: dict[str, Any], name: str) -> int:
    value = attempt.get(name)
    return value if isinstance(value, int) else 0
