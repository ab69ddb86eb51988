"""Retries wait longer and longer within their bounds, and end."""

import random

import pytest

from jobico.event import Outcome
from jobico.retry import Backoff, RetryPolicy, is_final, next_delay_ms

POLICY = RetryPolicy(attempts=5, initial_ms=1_000, max_ms=10_000, never=(422,))
FAILURES = [outcome for outcome in Outcome if outcome not in (Outcome.OK, Outcome.CANCELLED)]


@pytest.mark.parametrize(
    ("attempts", "backoff_ms"), [(1, 1_000), (2, 2_000), (4, 8_000), (5, 10_000), (99, 10_000)]
)
def test_the_wait_is_in_the_upper_half_of_a_backoff_that_doubles_up_to_its_bound(
    attempts: int, backoff_ms: int
) -> None:
    waits = [next_delay_ms(POLICY, attempts, random.Random(seed)) for seed in range(500)]
    assert backoff_ms // 2 <= min(waits) < backoff_ms * 0.6
    assert backoff_ms * 0.9 < max(waits) <= backoff_ms


def test_a_fixed_backoff_does_not_grow() -> None:
    policy = RetryPolicy(backoff=Backoff.FIXED, initial_ms=1_000)
    assert all(500 <= next_delay_ms(policy, 50, random.Random(seed)) <= 1_000 for seed in range(100))


def test_the_same_state_of_chance_gives_the_same_wait() -> None:
    assert next_delay_ms(POLICY, 3, random.Random(7)) == next_delay_ms(POLICY, 3, random.Random(7))


def test_the_shortest_backoff_waits() -> None:
    assert next_delay_ms(RetryPolicy(initial_ms=1), 1, random.Random(1)) == 1


@pytest.mark.parametrize("outcome", [Outcome.OK, Outcome.CANCELLED])
def test_success_and_withdrawal_are_final_at_once(outcome: Outcome) -> None:
    assert is_final(POLICY, outcome, 0, 1)


@pytest.mark.parametrize("outcome", FAILURES)
def test_any_failure_is_tried_again_until_attempts_are_used_up_the_first_included(outcome: Outcome) -> None:
    assert [is_final(POLICY, outcome, 1, attempts) for attempts in range(1, 7)] == [False] * 4 + [True] * 2


def test_one_attempt_means_no_retry() -> None:
    assert is_final(RetryPolicy(attempts=1), Outcome.FAILED, 1, 1)


def test_a_code_in_never_is_final_and_only_as_the_code_of_a_guest() -> None:
    assert is_final(POLICY, Outcome.FAILED, 422, 1)
    assert not is_final(POLICY, Outcome.FAILED, 423, 1)
    assert not is_final(POLICY, Outcome.TRAP, 422, 1)
