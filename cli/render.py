"""What the command line prints, and the only code that does: text for people, or JSON for programs.

In text mode rich draws tables that fit the terminal, in colour where stdout is one and NO_COLOR is not set.
In JSON mode stdout has JSON alone. Whatever strangers wrote goes through `tame` before it gets here, or here.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from cli.jsontext import dumps
from jobico.errors import JobicoError
from jobico.text import tame

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress

__all__ = [
    "STATE_STYLES",
    "age",
    "as_json",
    "clear",
    "clock",
    "confirm",
    "facts",
    "fail",
    "line",
    "note",
    "pretty",
    "progress",
    "report",
    "show",
    "state",
    "styled",
    "table",
    "tame",
    "use_json",
    "verbatim",
    "when",
]

STATE_STYLES = {
    "ok": "green",
    "done": "green",
    "ready": "green",
    "live": "green",
    "running": "cyan",
    "queued": "blue",
    "delayed": "yellow",
    "starting": "yellow",
    "draining": "yellow",
    "cancelled": "yellow",
    "revoked": "dim",
    "dead": "red",
    "lost": "red",
    "down": "red",
}
"""How a state or an outcome is coloured; an outcome that is not here failed and is red."""

_PIPE_WIDTH = 120
_consoles: dict[bool, "Console"] = {}


class _Mode:
    json = False


def use_json(value: bool) -> bool:
    """Chooses the mode of this process; the callback of `--json`."""
    _Mode.json = value
    return value


def as_json() -> bool:
    """True if stdout is for a program."""
    return _Mode.json


def _console(*, error: bool = False) -> "Console":
    if error not in _consoles:
        from rich.console import Console

        stream = sys.stderr if error else sys.stdout
        width = None if stream.isatty() or "COLUMNS" in os.environ else _PIPE_WIDTH
        # SECURITY: no markup, emoji codes or links are read out of what is printed.
        _consoles[error] = Console(
            file=stream, width=width, markup=False, emoji=False, highlight=False, soft_wrap=False
        )
    return _consoles[error]


def report(value: Any, text: "Callable[[], RenderableType | None]") -> None:
    """Prints what a command found out.

    Args:
        value: It, as JSON shows it; documented in `docs/operating.md`.
        text: Makes what people see; None if that was printed already.
    """
    if _Mode.json:
        sys.stdout.write(dumps(value) + "\n")
        sys.stdout.flush()
        return
    renderable = text()
    if renderable is not None:
        _print(renderable)


def line(text: str = "", style: str = "") -> None:
    """Prints a line for people; nothing in JSON mode."""
    if not _Mode.json:
        _print(styled(text, style))


def show(renderable: "RenderableType") -> None:
    """Prints something drawn for people; nothing in JSON mode."""
    if not _Mode.json:
        _print(renderable)


def verbatim(text: str) -> None:
    """Prints text as it is, neither wrapped nor drawn, for another program to read."""
    sys.stdout.write(text + "\n")


def clear() -> None:
    """Empties the terminal, for what is shown again and again; nothing where stdout is none."""
    if not _Mode.json and sys.stdout.isatty():
        _console().clear()


def note(text: str, style: str = "") -> None:
    """Prints a line about the work itself, to stderr: it is not what was asked for."""
    _print(styled(text, style), error=True)


def fail(error: JobicoError, *, hint: str = "") -> None:
    """Prints an error: what is wrong, with which thing, what to do next; in JSON mode as JSON too."""
    from rich.text import Text

    message = tame(error.message, multiline=True)
    text = Text.assemble(("Error: ", "bold red"), message)
    for problem in _problems(error):
        text.append(f"\n  {problem}")
    for violation in error.detail.get("violations") or ():
        text.append(
            f"\n  {tame(str(violation.get('pointer') or '(root)'))}: {tame(str(violation.get('message')))}"
        )
    if hint:
        text.append(f"\n{tame(hint)}", "dim")
    _print(text, error=True)
    if _Mode.json:
        detail = {"code": error.code, "message": error.message, "detail": error.detail}
        sys.stdout.write(dumps({"error": detail}) + "\n")
        sys.stdout.flush()


def _problems(error: JobicoError) -> list[str]:
    """What the message of the error does not say yet."""
    problems = list(error.detail.get("problems") or ())
    if len(problems) != 1 or not isinstance(problems[0], dict):
        return [text for text in map(_problem, problems) if len(problems) > 1 or text not in error.message]
    only = problems[0]
    line = f"line {only.get('line')}"
    if str(only.get("message")) not in error.message:
        return [_problem(only)]
    return [line] if only.get("line") and line not in error.message else []


def _problem(problem: Any) -> str:
    if not isinstance(problem, dict):
        return tame(str(problem))
    where = f"line {problem['line']}: " if problem.get("line") else ""
    path = f"{problem['path']}: " if problem.get("path") else ""
    return tame(f"{where}{path}{problem.get('message', '')}")


def _print(renderable: "RenderableType", *, error: bool = False) -> None:
    console = _console(error=error)
    console.print(renderable, soft_wrap=_is_text(renderable))


def _is_text(renderable: "RenderableType") -> bool:
    from rich.text import Text

    return isinstance(renderable, str | Text)


def styled(text: str, style: str = "") -> "RenderableType":
    """Tamed text in a style."""
    from rich.text import Text

    return Text(tame(text, multiline=True), style)


def state(text: str) -> "RenderableType":
    """A state or an outcome, coloured by what it means."""
    return styled(text, STATE_STYLES.get(text, "red" if text else ""))


def table(
    columns: Sequence[str], rows: "Iterable[Sequence[RenderableType]]", *, empty: str
) -> "RenderableType":
    """A table; the names of columns that hold numbers begin with `#`.

    Args:
        columns: Their names.
        rows: Cells; plain strings are tamed.
        empty: What to say where there are no rows.
    """
    from rich import box
    from rich.table import Table

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        drawn.add_column(
            column.lstrip("#"), justify="right" if column.startswith("#") else "left", overflow="fold"
        )
    for row in rows:
        drawn.add_row(*(tame(cell) if isinstance(cell, str) else cell for cell in row))
    return drawn if drawn.row_count else styled(empty, "dim")


def facts(pairs: "Iterable[tuple[str, RenderableType]]") -> "RenderableType":
    """Names and values, one pair a line."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    for name, value in pairs:
        grid.add_row(name, tame(value, multiline=True) if isinstance(value, str) else value)
    return grid


def pretty(value: Any) -> str:
    """A value of JSON over several lines, tamed; text stays text."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    return tame(text, multiline=True)


def clock(wall_ms: int) -> str:
    """The time of day in the reader's zone, with milliseconds."""
    moment = time.localtime(wall_ms / 1_000)
    return f"{time.strftime('%H:%M:%S', moment)}.{wall_ms % 1_000:03d}"


def age(wall_ms: int, now_ms: int | None = None) -> str:
    """How long ago that was."""
    from jobico.units import format_duration_ms

    passed_ms = (time.time_ns() // 1_000_000 if now_ms is None else now_ms) - wall_ms
    return f"{format_duration_ms(passed_ms)} ago" if passed_ms >= 1_000 else "now"


def when(wall_ms: int) -> str:
    """A time in the reader's zone with its age; `-` for none."""
    if not wall_ms:
        return "-"
    moment = time.localtime(wall_ms / 1_000)
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', moment)} ({age(wall_ms)})"


def confirm(question: str) -> bool:
    """Asks before something that cannot be undone; no answer is no."""
    if not sys.stdin.isatty():
        return False
    note(f"{question} [y/N]")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def progress() -> "AbstractContextManager[Progress]":
    """Bars for work that takes a while, on stderr; silent where that is no terminal, or in JSON mode."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=_console(error=True),
        transient=True,
        disable=_Mode.json or not sys.stderr.isatty(),
    )
