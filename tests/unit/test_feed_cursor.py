"""A reader of the feed sees every record once, whatever the feed loses or repeats."""

import random

import pytest

from protocol.following import FeedCursor
from protocol.messages import Feed


def _rows(*numbers: int) -> list[tuple[int, bytes]]:
    return [(number, b"") for number in numbers]


def _feed(tenant: str, previous: int, *numbers: int) -> Feed:
    return Feed(tenant=tenant, previous=previous, rows=numbers, items=tuple(b"" for _ in numbers))


def test_rows_up_to_the_start_count_as_seen() -> None:
    assert FeedCursor(5).take(_rows(4, 5, 6)) == _rows(6)


def test_a_row_that_comes_twice_is_new_once() -> None:
    cursor = FeedCursor(0)
    cursor.take(_rows(2))
    assert cursor.take(_rows(1, 2, 3)) == _rows(1, 3)


def test_rows_of_other_tenants_close_the_gap_for_who_sees_all() -> None:
    cursor = FeedCursor(0)
    cursor.take(_rows(1, 3))
    assert cursor.gap
    cursor.take(_rows(2))
    assert not cursor.gap
    assert cursor.complete == 3


def test_a_tenant_knows_by_the_previous_row_that_it_missed_some() -> None:
    cursor = FeedCursor(10, "acme")
    assert cursor.follows(_feed("acme", 7, 12))
    cursor.take(_rows(12))
    assert not cursor.follows(_feed("acme", 15, 20))


def test_a_tenant_does_not_trust_a_recorder_that_just_started() -> None:
    assert not FeedCursor(10, "acme").follows(_feed("acme", 0, 12))


def test_rows_that_are_gone_for_good_leave_no_gap_after_catching_up() -> None:
    cursor = FeedCursor(0)
    cursor.take(_rows(5, 9))
    cursor.caught_up(7)
    assert cursor.complete == 7
    assert cursor.take(_rows(8)) == _rows(8)
    assert cursor.complete == 9


@pytest.mark.parametrize("seed", range(50))
def test_lost_repeated_and_mixed_feeds_with_catching_up_show_every_row_once(seed: int) -> None:
    """Seeded: messages are dropped and repeated at random; a final catching up finds the rest."""
    rng = random.Random(seed)
    cursor, seen = FeedCursor(0), []
    everything = list(range(1, 200))
    at = 0
    while at < len(everything):
        size = rng.randint(1, 9)
        batch = everything[at : at + size]
        at += size
        for part in (batch[0::2], batch[1::2]):
            for _ in range(rng.choice((0, 1, 1, 2))):
                seen += [row for row, _ in cursor.take(_rows(*part))]
    seen += [row for row, _ in cursor.take(_rows(*(row for row in everything if row > cursor.complete)))]
    cursor.caught_up(everything[-1])
    assert sorted(seen) == everything
