"""Schedules fire once for each of their times, and treat those that were missed as they say."""

import random

import pytest

from jobico import limits
from jobico.schedule import ON_TIME_MS, due, stamp

_MINUTE = 60_000
_NOON = 1_700_049_600_000  # 2023-11-15T12:00:00Z


@pytest.mark.parametrize("missed", ["skip", "once", "all"])
def test_a_time_fires_when_it_comes_and_not_again(missed: str) -> None:
    first = due("*/5 * * * *", _NOON - 1_000, _NOON + 10, missed)
    assert first.times_ms == (_NOON,)
    assert due("*/5 * * * *", first.settled_ms, _NOON + 20, missed).times_ms == ()


@pytest.mark.parametrize("missed", ["skip", "once", "all"])
def test_nothing_fires_before_its_time(missed: str) -> None:
    assert due("*/5 * * * *", _NOON - 10_000, _NOON - 1, missed).times_ms == ()


def test_what_was_missed_for_long_is_skipped() -> None:
    assert due("0 * * * *", _NOON - 5 * 60 * _MINUTE, _NOON - _MINUTE, "skip").times_ms == ()


def test_what_was_missed_fires_once_with_its_newest_time() -> None:
    result = due("0 * * * *", _NOON - 5 * 60 * _MINUTE, _NOON + 10 * _MINUTE, "once")
    assert result.times_ms == (_NOON,)


def test_what_was_missed_fires_for_each_time() -> None:
    result = due("0 * * * *", _NOON - 3 * 60 * _MINUTE, _NOON + 10 * _MINUTE, "all")
    assert result.times_ms == (_NOON - 2 * 60 * _MINUTE, _NOON - 60 * _MINUTE, _NOON)


def test_a_year_of_minutes_is_bounded_and_goes_on_where_it_stopped() -> None:
    start = _NOON - 365 * 24 * 60 * _MINUTE
    first = due("* * * * *", start, _NOON, "all")
    assert len(first.times_ms) == limits.SCHEDULE_MISSED_MAX
    assert due("* * * * *", first.settled_ms, _NOON, "all").times_ms[0] == first.times_ms[-1] + _MINUTE
    assert len(due("* * * * *", start, _NOON + 1, "once").times_ms) <= 1 + ON_TIME_MS // _MINUTE + 1


def test_a_clock_set_back_fires_nothing_twice() -> None:
    result = due("* * * * *", _NOON, _NOON - 10 * _MINUTE, "all")
    assert result == ((), _NOON)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("missed", ["once", "all"])
def test_looked_at_at_random_moments_every_punctual_time_fires_exactly_once(seed: int, missed: str) -> None:
    rng = random.Random(seed)
    settled = now = _NOON
    fired: list[int] = []
    while now < _NOON + 60 * _MINUTE:
        now += rng.randint(1, ON_TIME_MS)
        times, settled = due("*/2 * * * *", settled, now, missed)
        fired += times
    assert fired == list(range(_NOON + 2 * _MINUTE, now + 1, 2 * _MINUTE))


def test_stamps_are_rfc_3339() -> None:
    assert stamp(_NOON) == "2023-11-15T12:00:00Z"
