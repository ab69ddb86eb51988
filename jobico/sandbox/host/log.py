"""`env.log(level, pointer, size)`: one log line of the attempt."""

from typing import Final

from jobico.event import LogLevel, Outcome
from jobico.sandbox.attempt import Attempt, BadPointer, Stop
from jobico.sandbox.host.function import HostFunction, function_type

__all__ = ["LEVELS", "LOG"]

LEVELS: Final = tuple(LogLevel)
"""Levels by their number in the ABI."""


def log(attempt: Attempt, level: int, pointer: int, size: int) -> None:
    """Keeps a line; an unknown level is no level."""
    kept = min(size, attempt.logs.bytes_left)
    if not attempt.memory.holds(pointer, size):
        raise Stop(
            Outcome.ABI_ERROR,
            f"log was given {size} bytes at {pointer}, which is outside the guest's memory.",
        )
    try:
        text = attempt.memory.read(pointer, kept)
    except BadPointer as error:
        raise Stop(Outcome.ABI_ERROR, f"log: {error}.") from error
    attempt.logs.add(LEVELS[level] if level < len(LEVELS) else LogLevel.NONE, text, cut=kept < size)


LOG = HostFunction("env", "log", function_type("iii:"), log)
