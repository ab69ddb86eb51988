"""The query of a POST: what each parameter means, and which are none."""

import pytest

from jobico import limits
from jobico.errors import InvalidInput
from nodes.listener.query import PostQuery, parse_post_query

DAY_MS = 86_400_000


@pytest.mark.parametrize(
    ("params", "query"),
    [
        ({}, PostQuery()),
        ({"wait": "10s"}, PostQuery(wait_ms=10_000)),
        ({"wait": f"{limits.WAIT_MS_MAX}ms"}, PostQuery(wait_ms=limits.WAIT_MS_MAX)),
        ({"delay": "2h"}, PostQuery(delay_ms=7_200_000)),
        ({"at": "1970-01-02T00:00:00Z"}, PostQuery(at_ms=DAY_MS)),
        ({"at": "1970-01-02t00:00:00.5z"}, PostQuery(at_ms=DAY_MS + 500)),
        ({"at": "1970-01-02T02:00:00 02:00"}, PostQuery(at_ms=DAY_MS)),  # a + that the sender did not escape
    ],
)
def test_good_parameters_are_read(params: dict[str, str | list[str]], query: PostQuery) -> None:
    assert parse_post_query(params) == query


@pytest.mark.parametrize(
    "params",
    [
        {"wait": f"{limits.WAIT_MS_MAX + 1}ms"},
        {"delay": f"{limits.DELAY_MS_MAX + 1}ms"},
        {"wait": ""},
        {"wait": ["1s", "2s"]},
        {"waits": "1s"},
        {"at": "2030-01-01"},
        {"at": "2030-01-01T00:00:00"},
        {"at": "2030-02-30T00:00:00Z"},
        {"at": "0000-01-01T00:00:00Z"},
    ],
)
def test_malformed_parameters_are_refused(params: dict[str, str | list[str]]) -> None:
    with pytest.raises(InvalidInput):
        parse_post_query(params)


def test_a_time_is_at_most_so_far_ahead() -> None:
    now_ms = 1_700_000_000_000
    assert PostQuery(at_ms=now_ms + limits.DELAY_MS_MAX).ready_at_ms(now_ms) == now_ms + limits.DELAY_MS_MAX
    with pytest.raises(InvalidInput):
        PostQuery(at_ms=now_ms + limits.DELAY_MS_MAX + 1).ready_at_ms(now_ms)


def test_a_time_that_has_passed_is_at_once() -> None:
    assert PostQuery(at_ms=5).ready_at_ms(6) == 0


def test_of_delay_and_time_the_later_counts() -> None:
    assert PostQuery(delay_ms=10, at_ms=105).ready_at_ms(100) == 110
    assert PostQuery(delay_ms=10, at_ms=115).ready_at_ms(100) == 115
