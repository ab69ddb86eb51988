"""Nodes: health, load, what they hold, version, how long they run."""

from typing import Any

from rich.text import Text
from textual.widget import Widget
from textual.widgets import DataTable

from dashboard.screens.base import DashboardScreen
from dashboard.widgets.texts import age, cell
from jobico.registry import NodeInfo
from jobico.text import tame
from jobico.units import format_size

__all__ = ["NodesScreen"]


class NodesScreen(DashboardScreen):
    """Who is there."""

    NAME = "Nodes"

    def content(self) -> list[Widget]:
        """One table."""
        table: DataTable[Any] = DataTable(id="nodes", cursor_type="row")
        return [table]

    def on_mount(self) -> None:
        """Heads the table."""
        self.query_one(DataTable).add_columns(
            "node", "state", "pid", "up", "memory", "load", "version", "host"
        )
        super().on_mount()

    def note(self) -> str:
        """How many of them are ready."""
        ready = sum(node.ready and not node.lost for node in self.feed.nodes)
        return f"{ready} of {len(self.feed.nodes)} nodes ready"

    def redraw(self, now_s: float) -> None:
        """Draws the table anew; the cursor stays."""
        table = self.query_one(DataTable)
        row = table.cursor_row
        table.clear()
        for node in self.feed.nodes:
            memory = node.load.get("rss_bytes", 0)
            table.add_row(
                cell(node.name, 20),
                _state(node),
                str(node.pid),
                age(node.started_ms, int(now_s * 1_000)),
                format_size(memory) if memory else "—",
                _load(node),
                cell(node.version, 10),
                cell(node.host, 20),
            )
        table.move_cursor(row=row)


def _state(node: NodeInfo) -> Text:
    if node.lost:
        return Text("lost", "bold red")
    if node.draining:
        return Text("draining", "yellow")
    return Text("ready", "green") if node.ready else Text("not ready", "red")


def _load(node: NodeInfo) -> Text:
    facts = (f"{name} {value:g}" for name, value in sorted(node.load.items()) if name != "rss_bytes")
    return Text(tame(", ".join(facts), chars_max=40))
