"""Dead letters: reason, payload; replay or purge with a confirmation."""

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from rich.text import Text
from textual import on, work
from textual.containers import Horizontal, VerticalScroll
from textual.widget import Widget
from textual.widgets import DataTable, Static

from dashboard.screens.base import DashboardScreen
from dashboard.screens.confirmation import ConfirmationScreen
from dashboard.widgets.texts import age, cell, pretty
from jobico.change import DeadLetter
from jobico.errors import JobicoError
from jobico.text import tame

__all__ = ["DeadLettersScreen"]


class DeadLettersScreen(DashboardScreen):
    """What has failed for good."""

    NAME = "Dead letters"
    BINDINGS: ClassVar = [("r", "reload", "Reload"), ("y", "replay", "Replay"), ("x", "purge", "Purge")]

    def __init__(self) -> None:
        super().__init__()
        self._letters: dict[str, DeadLetter] = {}
        self._total = 0

    def content(self) -> list[Widget]:
        """The list at the left, the letter at the right."""
        table: DataTable[Any] = DataTable(id="letters", cursor_type="row")
        return [Horizontal(table, VerticalScroll(Static(id="detail")))]

    def on_mount(self) -> None:
        """Heads the table and asks for its rows."""
        self.query_one(DataTable).add_columns("age", "reason", "tries", "event", "tenant")
        super().on_mount()
        self.action_reload()

    def note(self) -> str:
        """How many there are."""
        return f"{self._total} dead letters"

    @work(exclusive=True, group="dead-letters")
    async def action_reload(self) -> None:
        """Asks the listeners for the newest."""
        try:
            letters, self._total = await self.feed.dead_letters()
        except JobicoError as error:
            self.complain(error)
            return
        self._letters = {letter.event.id: letter for letter in letters}
        table = self.query_one(DataTable)
        table.clear()
        now_ms = int(self.dashboard.now_s() * 1_000)
        for letter in letters:
            event = letter.event
            table.add_row(
                age(letter.buried_ms, now_ms),
                cell(letter.reason, 10),
                str(letter.attempts),
                cell(event.event, 24),
                cell(event.tenant, 16),
                key=event.id,
            )
        if not letters:
            self.query_one("#detail", Static).update("No dead letters. All that failed was retried in time.")
        self.tick()

    def _chosen(self) -> DeadLetter | None:
        table = self.query_one(DataTable)
        if not self._letters or table.cursor_row >= len(self._letters):
            return None
        return list(self._letters.values())[table.cursor_row]

    @on(DataTable.RowHighlighted)
    def _show(self) -> None:
        letter = self._chosen()
        if letter is not None:
            self.query_one("#detail", Static).update(_describe(letter))

    def action_replay(self) -> None:
        """Asks, then puts the chosen letter back into its queue."""
        self._ask("Replay", "It goes back into its queue and runs on the current revision.", self.feed.replay)

    def action_purge(self) -> None:
        """Asks, then deletes the chosen letter."""
        self._ask("Purge", "It is deleted for good.", self.feed.purge)

    def _ask(self, verb: str, consequence: str, act: Callable[[DeadLetter], Awaitable[int]]) -> None:
        letter = self._chosen()
        if letter is None:
            return
        chosen = letter

        def answered(yes: bool | None) -> None:
            if yes:
                self._act(verb, chosen, act)

        question = f"{verb} {chosen.event.event} {chosen.event.id}? {consequence}"
        self.app.push_screen(ConfirmationScreen(question), answered)

    @work(group="dead-letters-act")
    async def _act(self, verb: str, letter: DeadLetter, act: Callable[[DeadLetter], Awaitable[int]]) -> None:
        try:
            count = await act(letter)
        except JobicoError as error:
            self.complain(error)
            return
        self.notify(f"{verb}: {count} done.", markup=False)
        self.action_reload()


def _describe(letter: DeadLetter) -> Text:
    text = Text()
    text.append(f"{tame(letter.event.tenant)}/{tame(letter.event.event)}\n", "bold")
    text.append(f"{letter.event.id}\n", "dim")
    text.append(f"reason {tame(letter.reason)}, {letter.attempts} attempts, {letter.deaths} deaths\n")
    text.append(f"last outcome {tame(letter.outcome)}, code {letter.code}\n", "red")
    if letter.error:
        text.append(tame(letter.error, multiline=True) + "\n", "red")
    text.append("\nPayload\n", "bold")
    text.append(pretty(letter.event.payload))
    return text
