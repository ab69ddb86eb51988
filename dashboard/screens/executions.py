"""Executions, live: follow, filter as you type, open one."""

from typing import Any, ClassVar

from textual import on
from textual.widget import Widget
from textual.widgets import DataTable, Input

from dashboard.model import EXECUTIONS_KEPT, Execution, Filter
from dashboard.screens.base import DashboardScreen
from dashboard.screens.execution import ExecutionScreen
from dashboard.widgets.texts import cell, clock_time, outcome_text
from jobico.units import format_duration_ms

__all__ = ["ExecutionsScreen"]

_ROWS_SHOWN = 100


class ExecutionsScreen(DashboardScreen):
    """What has run, newest first."""

    NAME = "Executions"
    BINDINGS: ClassVar = [
        ("f", "follow", "Follow/hold"),
        ("slash", "filter", "Filter"),
        ("escape", "leave_filter", "List"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._following = True
        self._shown: list[Execution] = []
        self._drawn: tuple[int, int, Filter] = (-1, -1, Filter())

    def content(self) -> list[Widget]:
        """The filter above the list."""
        table: DataTable[Any] = DataTable(id="executions", cursor_type="row")
        return [
            Input(placeholder="filter: tenant, job, event, outcome, id or error text", id="filter"),
            table,
        ]

    def on_mount(self) -> None:
        """Heads the table."""
        table = self.query_one(DataTable)
        table.add_columns("time", "outcome", "tenant", "event", "try", "ran", "total", "id")
        super().on_mount()
        table.focus()

    def note(self) -> str:
        """Whether the list follows, and whether it is a sample."""
        mode = "following" if self._following else "on hold, f goes on"
        if self.model.sampled(self.dashboard.now_s()):
            return f"{mode} · sampled: shows {_ROWS_SHOWN} of the newest {EXECUTIONS_KEPT}, counts are exact"
        return mode

    def redraw(self, now_s: float) -> None:
        """Draws the list anew where something came or the filter changed; keeps the cursor on its event."""
        wanted = Filter(text=self.query_one(Input).value)
        newest = self.model.executions[-1].row if self.model.executions else 0
        state = (newest if self._following else self._drawn[0], len(self.model.executions), wanted)
        if state == self._drawn or (not self._following and wanted == self._drawn[2]):
            return
        self._drawn = state
        table = self.query_one(DataTable)
        chosen = self._shown[table.cursor_row].row if table.cursor_row and self._shown else None
        self._shown = list(self.model.recent(wanted, _ROWS_SHOWN))
        table.clear()
        for execution in self._shown:
            table.add_row(*_row(execution), key=str(execution.row))
        if chosen is not None:
            for index, execution in enumerate(self._shown):
                if execution.row == chosen:
                    table.move_cursor(row=index)

    @on(Input.Changed)
    def _filter_changed(self) -> None:
        self.tick()

    @on(Input.Submitted)
    def _filter_done(self) -> None:
        self.query_one(DataTable).focus()

    def action_follow(self) -> None:
        """Follows what comes, or holds the list still."""
        self._following = not self._following
        self.tick()

    def action_filter(self) -> None:
        """Goes to the filter."""
        self.query_one(Input).focus()

    def action_leave_filter(self) -> None:
        """Goes back to the list."""
        self.query_one(DataTable).focus()

    @on(DataTable.RowSelected)
    def _open(self, message: DataTable.RowSelected) -> None:
        record = next((e.record for e in self._shown if str(e.row) == message.row_key.value), None)
        if record is not None:
            self.app.push_screen(ExecutionScreen(record.tenant, record.id))


def _row(execution: Execution) -> tuple[Any, ...]:
    record = execution.record
    return (
        clock_time(record.settled_ms),
        outcome_text(record.outcome),
        cell(record.tenant, 14),
        cell(record.event, 22),
        str(record.attempt),
        format_duration_ms(record.run_us / 1_000),
        format_duration_ms(max(0, record.settled_ms - record.accepted_ms)),
        record.id,
    )
