"""What every screen has: the status line, the footer, and a redraw twice a second."""

from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Footer

from dashboard.feed import Feed
from dashboard.model import Model
from dashboard.widgets.status_line import StatusLine
from jobico.errors import JobicoError

if TYPE_CHECKING:
    from dashboard.app import DashboardApp

__all__ = ["DashboardScreen"]

_REDRAW_S = 0.5


class DashboardScreen(Screen[None]):
    """A screen that draws what the model and the feed hold; it never waits for a node."""

    NAME: ClassVar[str] = ""

    def compose(self) -> ComposeResult:
        """The status line, what the screen shows, and the keys."""
        yield StatusLine(self.NAME)
        yield from self.content()
        yield Footer(show_command_palette=False)

    def content(self) -> list[Widget]:
        """What the screen shows."""
        raise NotImplementedError

    def redraw(self, now_s: float) -> None:
        """Draws what changed; called twice a second while the screen is seen."""

    def note(self) -> str:
        """What the status line says while all is well."""
        return ""

    def on_mount(self) -> None:
        """Begins to redraw."""
        self.set_interval(_REDRAW_S, self.tick)
        self.tick()

    def on_screen_resume(self) -> None:
        """Draws at once when the screen comes to the front."""
        self.tick()

    def tick(self) -> None:
        """Redraws if the screen is seen."""
        if self.is_current:
            self.redraw(self.dashboard.now_s())
            self.query_one(StatusLine).show(self.feed.notices, self.note())

    def complain(self, error: JobicoError) -> None:
        """Tells why something could not be done."""
        self.notify(error.message, severity="error", markup=False)

    @property
    def dashboard(self) -> "DashboardApp":
        """The application."""
        return cast("DashboardApp", self.app)

    @property
    def feed(self) -> Feed:
        """Where things are asked for."""
        return self.dashboard.feed

    @property
    def model(self) -> Model:
        """What is known."""
        return self.dashboard.model
