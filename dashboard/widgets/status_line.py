"""The line at the top of every screen: where one is, and which nodes are away."""

from rich.text import Text
from textual.widgets import Static

from jobico.text import tame

__all__ = ["StatusLine"]


class StatusLine(Static):
    """The name of the screen, then either that all is well or what is wrong."""

    DEFAULT_CSS = "StatusLine { dock: top; height: 1; background: $panel; padding: 0 1; }"

    def __init__(self, name: str) -> None:
        super().__init__(id="status-line")
        self._name = name

    def show(self, notices: dict[str, str], note: str = "") -> None:
        """Shows what is wrong, worst first, or `note` where nothing is."""
        line = Text.assemble((" Jobico ", "bold reverse"), f" {self._name}  ")
        if notices:
            line.append("● ", "bold red")
            line.append("  ".join(tame(text, chars_max=120) for text in notices.values()), "red")
        else:
            line.append("● ", "green")
            line.append(note or "live", "dim")
        self.update(line)
