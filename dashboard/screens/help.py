"""All keys, on one page."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

__all__ = ["HelpScreen"]

_TEXT = """\
[b]Screens[/b]
  1 Overview    2 Jobs    3 Repository    4 Executions    5 Dead letters    6 Nodes

[b]Everywhere[/b]
  ctrl+p   command palette         t   light or dark
  tab      next part               q   quit
  ?        this page               escape   back

[b]Executions[/b]
  /        filter as you type      enter   open the event
  f        follow or hold          escape  back to the list

[b]Jobs, Repository, Dead letters[/b]
  r        reload

[b]Dead letters[/b]
  y        replay the chosen one   x   purge it   (both ask first)

The mouse works too. Counts are exact; when events come faster than a list can
show, the list is a sample and the line at the top says so.
"""


class HelpScreen(ModalScreen[None]):
    """What the keys do."""

    BINDINGS: ClassVar = [("escape,q,question_mark", "dismiss", "Back")]

    def compose(self) -> ComposeResult:
        """The page."""
        with VerticalScroll(id="help"):
            yield Static(_TEXT)
