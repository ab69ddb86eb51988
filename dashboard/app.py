"""The dashboard: screens, keys and themes. All I/O is in `dashboard.feed`."""

import time
from collections.abc import Callable, Iterable
from typing import ClassVar

from textual.app import App, SystemCommand
from textual.screen import Screen

from dashboard.feed import Feed, LiveFeed
from dashboard.model import Model
from dashboard.screens.dead_letters import DeadLettersScreen
from dashboard.screens.executions import ExecutionsScreen
from dashboard.screens.help import HelpScreen
from dashboard.screens.jobs import JobsScreen
from dashboard.screens.nodes import NodesScreen
from dashboard.screens.overview import OverviewScreen
from dashboard.screens.repository import RepositoryScreen
from jobico.event import Record
from jobico.settings import Settings

__all__ = ["DashboardApp", "run_dashboard"]

_DARK, _LIGHT = "textual-dark", "textual-light"


class DashboardApp(App[None]):
    """What an operator, or a tenant with a read key, looks at.

    Args:
        feed: Where everything shown comes from.
        now_s: The wall clock, in seconds.
    """

    TITLE = "Jobico"
    CSS_PATH = "dashboard.tcss"
    MODES: ClassVar = {
        "overview": OverviewScreen,
        "jobs": JobsScreen,
        "repository": RepositoryScreen,
        "executions": ExecutionsScreen,
        "dead_letters": DeadLettersScreen,
        "nodes": NodesScreen,
    }
    BINDINGS: ClassVar = [
        ("1", "switch_mode('overview')", "Overview"),
        ("2", "switch_mode('jobs')", "Jobs"),
        ("3", "switch_mode('repository')", "Repo"),
        ("4", "switch_mode('executions')", "Runs"),
        ("5", "switch_mode('dead_letters')", "Dead"),
        ("6", "switch_mode('nodes')", "Nodes"),
        ("t", "toggle_theme", "Theme"),
        ("question_mark", "help", "Help"),
        ("q", "quit", "Quit"),
    ]

    def __init__(self, feed: Feed, now_s: Callable[[], float] = time.time) -> None:
        super().__init__()
        self.feed = feed
        self.now_s = now_s
        self.model = Model()

    def on_mount(self) -> None:
        """Begins to listen and shows the overview."""
        self.theme = _DARK
        self.feed.start(self._records)
        self.switch_mode("overview")

    async def on_unmount(self) -> None:
        """Ends the feed."""
        await self.feed.close()

    def _records(self, rows: list[tuple[int, Record]]) -> None:
        self.model.add(rows, self.now_s())

    def action_toggle_theme(self) -> None:
        """Light or dark."""
        self.theme = _LIGHT if self.theme == _DARK else _DARK

    def action_help(self) -> None:
        """All keys."""
        self.push_screen(HelpScreen())

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The command palette: Textual's own commands, and one a screen."""
        yield from super().get_system_commands(screen)
        for mode in self.MODES:
            title = mode.replace("_", " ")
            yield SystemCommand(f"Go to {title}", f"Shows the screen {title}", self._go_to(mode))

    def _go_to(self, mode: str) -> Callable[[], None]:
        def go() -> None:
            self.switch_mode(mode)

        return go


def run_dashboard(settings: Settings, tenant: str = "", key_name: str = "operator") -> None:
    """Runs the dashboard on this terminal until the user quits."""
    DashboardApp(LiveFeed(settings, tenant, key_name)).run()
