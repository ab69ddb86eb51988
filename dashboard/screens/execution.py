"""One event, opened: its timeline, logs by level, payload and result."""

from typing import ClassVar

import msgspec
from rich.text import Text
from textual import work
from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from dashboard.screens.base import DashboardScreen
from dashboard.widgets.texts import clock_time, outcome_text, pretty
from jobico.errors import JobicoError
from jobico.event import LogLevel, Record, Report
from jobico.text import tame
from jobico.units import format_duration_ms, format_size

__all__ = ["ExecutionScreen"]

_BAR_CHARS = 40
_LEVEL_STYLES = {
    LogLevel.DEBUG: "dim",
    LogLevel.WARNING: "yellow",
    LogLevel.ERROR: "red",
    LogLevel.FATAL: "bold red",
    LogLevel.PANIC: "bold red",
}


class ExecutionScreen(DashboardScreen):
    """All that is recorded of one event.

    Args:
        tenant: Whose it is.
        event_id: Which.
    """

    NAME = "Execution"
    BINDINGS: ClassVar = [("escape", "app.pop_screen", "Back"), ("r", "reload", "Reload")]

    def __init__(self, tenant: str, event_id: str) -> None:
        super().__init__()
        self._tenant = tenant
        self._event_id = event_id

    def content(self) -> list[Widget]:
        """One long page."""
        return [VerticalScroll(Static("asking the recorder …", id="detail"))]

    def on_mount(self) -> None:
        """Asks for it."""
        super().on_mount()
        self.action_reload()

    @work(exclusive=True, group="execution")
    async def action_reload(self) -> None:
        """Asks the recorder for all attempts."""
        try:
            records = await self.feed.attempts(self._tenant, self._event_id)
        except JobicoError as error:
            self.complain(error)
            return
        self.query_one("#detail", Static).update(describe(records))


def describe(records: list[Record]) -> Text:
    """All attempts of one event as a page."""
    if not records:
        return Text("The recorder has nothing of this event.")
    last = records[-1]
    text = Text()
    text.append(f"{tame(last.tenant)}/{tame(last.event)} ", "bold")
    text.append_text(outcome_text(last.state))
    text.append(f"  {last.id}\n", "dim")
    text.append(f"job {tame(last.job)} r{last.revision}, queue {tame(last.queue)}, source {last.source}")
    text.append(f", hop {last.hop}\n" if last.hop else "\n")
    if last.reason:
        text.append(f"dead letter: {tame(last.reason)}\n", "bold red")
    text.append("\nTimeline\n", "bold")
    _timeline(text, records)
    for record in records:
        _attempt(text, record, many=len(records) > 1)
    if records[0].payload:
        cut = len(records[0].payload) < records[0].payload_bytes
        size = format_size(records[0].payload_bytes)
        text.append(f"\nPayload ({size}{', cut' if cut else ''})\n", "bold")
        text.append(pretty(records[0].payload) + "\n")
    return text


def _timeline(text: Text, records: list[Record]) -> None:
    start = records[0].accepted_ms
    span = max(1, records[-1].settled_ms - start)
    text.append(f"  {clock_time(start)}  accepted\n")
    for record in records:
        waited = int((record.leased_ms - start) / span * _BAR_CHARS)
        ran = max(1, int((record.settled_ms - record.leased_ms) / span * _BAR_CHARS))
        text.append(f"  {clock_time(record.settled_ms)}  ")
        text.append("·" * waited, "dim")
        text.append("█" * min(ran, _BAR_CHARS - waited + 1), outcome_text(record.outcome).style)
        text.append(f" attempt {record.attempt} {record.outcome}, ")
        text.append(f"ran {format_duration_ms(record.run_us / 1_000)} on {tame(record.executor)}\n")


def _attempt(text: Text, record: Record, *, many: bool) -> None:
    report = msgspec.msgpack.decode(record.report, type=Report) if record.report else Report()
    which = f" of attempt {record.attempt}" if many else ""
    if record.error:
        text.append(f"\nError{which} (code {record.code})\n", "bold")
        text.append(tame(record.error, multiline=True) + "\n", "red")
    if report.logs:
        text.append(f"\nLogs{which}\n", "bold")
        for line in report.logs:
            text.append(f"  {line.level:<8}", _LEVEL_STYLES.get(line.level, ""))
            text.append(tame(line.message) + "\n")
        if report.logs_dropped:
            text.append(f"  {report.logs_dropped} lines past the bound were dropped\n", "dim")
    if record.result:
        text.append(f"\nResult{which}\n", "bold")
        text.append(pretty(record.result) + "\n")
