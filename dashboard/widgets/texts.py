"""How things are written on the screens: outcomes, times, payloads; all text of strangers is tamed here."""

import contextlib
import json
import time

from rich.text import Text

from jobico.event import Outcome, State
from jobico.text import tame
from jobico.units import format_duration_ms

__all__ = ["age", "cell", "clock_time", "outcome_text", "pretty"]

_PAYLOAD_CHARS_MAX = 20_000
_STYLES: dict[str, str] = {
    Outcome.OK: "green",
    Outcome.FAILED: "yellow",
    Outcome.CANCELLED: "dim",
    State.DONE: "green",
    State.DEAD: "bold red",
    State.DELAYED: "yellow",
    State.RUNNING: "cyan",
    State.QUEUED: "blue",
}


def outcome_text(outcome: str) -> Text:
    """An outcome or state in its colour."""
    return Text(outcome, style=_STYLES.get(outcome, "red"))


def cell(text: str, chars_max: int = 60) -> Text:
    """A stranger's text as a table's cell: no markup, no control characters, one line."""
    return Text(tame(text, chars_max=chars_max), no_wrap=True, overflow="ellipsis")


def clock_time(wall_ms: int) -> str:
    """A wall-clock time of day in the reader's zone."""
    return time.strftime("%H:%M:%S", time.localtime(wall_ms / 1_000))


def age(wall_ms: int, now_ms: int) -> str:
    """How long ago a wall-clock time was."""
    return "—" if not wall_ms else format_duration_ms(max(0, now_ms - wall_ms))


def pretty(content: bytes, chars_max: int = _PAYLOAD_CHARS_MAX) -> str:
    """JSON indented, anything else as it is; tamed and cut."""
    text = content.decode("utf-8", "replace")
    with contextlib.suppress(ValueError, RecursionError):
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    return tame(text, multiline=True, chars_max=chars_max)
