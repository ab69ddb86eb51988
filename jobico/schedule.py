"""When a schedule fires: cron expressions in UTC. Pure: time is an argument, so is how far it has come."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, NamedTuple

from cronsim import CronSim

from jobico import limits

__all__ = ["ON_TIME_MS", "Due", "due", "stamp"]

ON_TIME_MS: Final = 60_000
"""A time that passed no longer ago than this is late, not missed: control was busy or just restarting."""


class Due(NamedTuple):
    """What is to fire now, oldest first, and up to when nothing is left to decide."""

    times_ms: tuple[int, ...]
    settled_ms: int


def due(expression: str, settled_ms: int, now_ms: int, missed: str) -> Due:
    """The times after `settled_ms` and not after `now_ms` (wall clock) at which an event is to be emitted.

    Args:
        expression: A cron expression of five fields, as a job definition has it.
        settled_ms: Everything up to it has fired or was passed over.
        now_ms: The time; where the clock was set back behind `settled_ms`, nothing is due.
        missed: What becomes of times older than ON_TIME_MS: `skip` none, `once` the newest, `all` each,
            SCHEDULE_MISSED_MAX a call.
    """
    if missed == "all":
        times = _times(expression, settled_ms, now_ms, limits.SCHEDULE_MISSED_MAX)
        more = len(times) == limits.SCHEDULE_MISSED_MAX
        return Due(times, times[-1] if more else max(settled_ms, now_ms))
    punctual_ms = max(settled_ms, now_ms - ON_TIME_MS)
    times = _times(expression, punctual_ms, now_ms, limits.SCHEDULE_MISSED_MAX)
    if missed == "once" and punctual_ms > settled_ms:
        # NOTE: backwards from now, since a schedule of every minute misses half a million times in a year.
        newest = next(_backwards(expression, punctual_ms), 0)
        times = ((newest,) if newest > settled_ms else ()) + times
    return Due(times, max(settled_ms, now_ms))


def _times(expression: str, after_ms: int, upto_ms: int, count: int) -> tuple[int, ...]:
    found: list[int] = []
    for at in CronSim(expression, _datetime(after_ms)):
        at_ms = int(at.timestamp() * 1_000)
        if at_ms > upto_ms or len(found) == count:
            break
        found.append(at_ms)
    return tuple(found)


def _backwards(expression: str, before_ms: int) -> Iterator[int]:
    """Times up to and with `before_ms`, newest first."""
    for at in CronSim(expression, _datetime(before_ms + 1_000), reverse=True):
        at_ms = int(at.timestamp() * 1_000)
        if at_ms <= before_ms:
            yield at_ms


def _datetime(wall_ms: int) -> datetime:
    return datetime.fromtimestamp(wall_ms / 1_000, UTC)


def stamp(at_ms: int) -> str:
    """A time of a schedule as RFC 3339 in UTC; it is part of the firing's key and of its payload."""
    return _datetime(at_ms).strftime("%Y-%m-%dT%H:%M:%SZ")
