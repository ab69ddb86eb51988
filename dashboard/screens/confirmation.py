"""A question that must be answered before something is done."""

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from jobico.text import tame

__all__ = ["ConfirmationScreen"]


class ConfirmationScreen(ModalScreen[bool]):
    """Asks, and ends with True or False; escape is no."""

    BINDINGS: ClassVar = [("y", "dismiss(True)", "Yes"), ("n,escape", "dismiss(False)", "No")]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """The question and two buttons; No has the focus."""
        with Vertical(id="confirmation"):
            yield Static(tame(self._question), markup=False)
            with Horizontal():
                yield Button("No (n)", id="no", variant="primary")
                yield Button("Yes (y)", id="yes", variant="error")

    @on(Button.Pressed)
    def _pressed(self, message: Button.Pressed) -> None:
        self.dismiss(message.button.id == "yes")
