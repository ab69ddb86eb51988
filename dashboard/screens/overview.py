"""The overview: events a second, latency, outcomes, backlog by tenant and queue."""

from rich.text import Text
from textual.containers import Horizontal
from textual.widget import Widget
from textual.widgets import DataTable, Static

from dashboard.model import percentile
from dashboard.screens.base import DashboardScreen
from dashboard.widgets.plots import LinePlot
from dashboard.widgets.texts import age, cell, outcome_text

__all__ = ["OverviewScreen"]

_BAR_CHARS = 18
_QUEUES_SHOWN = 50


class OverviewScreen(DashboardScreen):
    """Is it running, is it quick, does anything fail, does anything wait?"""

    NAME = "Overview"

    def content(self) -> list[Widget]:
        """Two plots above, outcomes and backlog below."""
        backlog: DataTable[Text | str] = DataTable(id="backlog", cursor_type="none")
        backlog.border_title = "Backlog by queue"
        outcomes = Static(id="outcomes")
        outcomes.border_title = "Outcomes, last minute"
        return [
            Horizontal(
                LinePlot("Events/s ended", id="rate"), LinePlot("Latency ms", "p50", "p99", id="latency")
            ),
            Horizontal(outcomes, backlog),
        ]

    def on_mount(self) -> None:
        """Heads the table, then begins to redraw."""
        self.query_one("#backlog", DataTable).add_columns("tenant", "queue", "ready", "run", "late", "oldest")
        super().on_mount()

    def note(self) -> str:
        """The figures of the last whole seconds."""
        last = self.model.window(self.dashboard.now_s())[-5:]
        rate = sum(second.final for second in last) / 5
        return f"{rate:.0f} events/s · {self.model.records} seen · outbox {self.feed.queues.outbox}"

    def redraw(self, now_s: float) -> None:
        """Draws all four."""
        window = self.model.window(now_s)
        self.query_one("#rate", LinePlot).show([second.final for second in window])
        self.query_one("#latency", LinePlot).show(
            [percentile(second.latencies_ms, 0.5) for second in window],
            [percentile(second.latencies_ms, 0.99) for second in window],
        )
        counts: dict[str, int] = {}
        for second in window:
            for outcome, count in second.outcomes.items():
                counts[outcome] = counts.get(outcome, 0) + count
        self.query_one("#outcomes", Static).update(_bars(counts))
        self._draw_backlog(int(now_s * 1_000))

    def _draw_backlog(self, now_ms: int) -> None:
        table = self.query_one("#backlog", DataTable)
        table.clear()
        rows = sorted(self.feed.queues.items, key=lambda row: -int(row.get("ready", 0)))
        for row in rows[:_QUEUES_SHOWN]:
            table.add_row(
                cell(str(row.get("tenant", "")), 16),
                cell(str(row.get("queue", "")), 16),
                str(row.get("ready", 0)),
                str(row.get("running", 0)),
                str(row.get("delayed", 0)),
                age(int(row.get("oldest_ms", 0)), now_ms),
            )


def _bars(counts: dict[str, int]) -> Text:
    if not counts:
        return Text("Nothing has run yet. Try `jobico send`.", style="dim")
    most = max(counts.values())
    text = Text()
    for outcome, count in sorted(counts.items(), key=lambda item: -item[1]):
        bar = "█" * max(1, round(count / most * _BAR_CHARS))
        text.append_text(outcome_text(f"{outcome}"))
        text.append(" " * (14 - len(outcome)))
        text.append_text(Text(bar, style=outcome_text(outcome).style))
        text.append(f" {count}\n")
    return text
