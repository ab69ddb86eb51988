"""Modules with ABI, imports and exports, and schemas; who uses them."""

from typing import Any, ClassVar

from rich.text import Text
from textual import on, work
from textual.containers import Horizontal, VerticalScroll
from textual.widget import Widget
from textual.widgets import DataTable, Static

from dashboard.screens.base import DashboardScreen
from dashboard.widgets.texts import cell, clock_time
from jobico.artifact import ArtifactInfo
from jobico.definition import Revision
from jobico.errors import JobicoError
from jobico.text import tame
from jobico.units import format_size

__all__ = ["RepositoryScreen"]


class RepositoryScreen(DashboardScreen):
    """What was uploaded."""

    NAME = "Repository"
    BINDINGS: ClassVar = [("r", "reload", "Reload")]

    def __init__(self) -> None:
        super().__init__()
        self._artifacts: dict[str, ArtifactInfo] = {}
        self._revisions: tuple[Revision, ...] = ()

    def content(self) -> list[Widget]:
        """The list above, what is chosen in it below."""
        table: DataTable[Any] = DataTable(id="artifacts", cursor_type="row")
        return [Horizontal(table, VerticalScroll(Static(id="detail")))]

    def on_mount(self) -> None:
        """Heads the table and asks for its rows."""
        self.query_one(DataTable).add_columns("kind", "tenant", "name", "abi", "size")
        super().on_mount()
        self.action_reload()

    @work(exclusive=True, group="repository")
    async def action_reload(self) -> None:
        """Asks the repository for its list, and control for who uses what."""
        try:
            artifacts = await self.feed.artifacts()
            self._revisions = await self.feed.jobs()
        except JobicoError as error:
            self.complain(error)
            return
        table = self.query_one(DataTable)
        table.clear()
        self._artifacts = {f"{info.tenant}/{info.kind}/{info.name}": info for info in artifacts}
        for key, info in self._artifacts.items():
            abi = info.report.abi if info.report else "schema"
            table.add_row(
                info.kind,
                cell(info.tenant, 16),
                cell(info.name, 24),
                abi,
                format_size(info.size_bytes),
                key=key,
            )

    @on(DataTable.RowHighlighted)
    def _show(self, message: DataTable.RowHighlighted) -> None:
        info = self._artifacts.get(message.row_key.value or "") if message.row_key else None
        if info is not None:
            self.query_one("#detail", Static).update(_describe(info, self._users(info)))

    def _users(self, info: ArtifactInfo) -> list[str]:
        used = []
        for revision in self._revisions:
            digests = {pin.digest for pin in revision.modules.values()} | set(revision.schemas.values())
            if info.digest in digests and revision.definition.tenant == info.tenant:
                used.append(f"{revision.definition.id} r{revision.number}")
        return used


def _describe(info: ArtifactInfo, users: list[str]) -> Text:
    text = Text()
    text.append(tame(info.name) + "\n", "bold")
    text.append(f"{info.digest}\n", "dim")
    text.append(f"uploaded {clock_time(info.uploaded_ms)}, {format_size(info.size_bytes)}\n")
    text.append("used by " + (", ".join(users) if users else "no current job") + "\n")
    if info.report is not None:
        for title, lines in (
            ("problems", info.report.problems),
            ("exports", info.report.exports),
            ("imports", info.report.imports),
        ):
            text.append(f"\n{title}\n", "bold")
            for line in lines or ("none",):
                text.append(f"  {tame(line)}\n")
    return text
