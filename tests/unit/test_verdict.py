"""What becomes of an event after an attempt."""

import random

import pytest

from jobico import limits
from jobico.event import Outcome, State
from jobico.retry import RetryPolicy
from jobico.verdict import REASONS, Verdict, judge

POLICY = RetryPolicy(attempts=5, initial_ms=1_000, never=(400,))


def after(outcome: Outcome, *, code: int = 0, attempts: int = 1, deaths: int = 0) -> Verdict:
    return judge(POLICY, outcome, code, attempts=attempts, deaths=deaths, rng=random.Random(1))


@pytest.mark.parametrize("outcome", [Outcome.OK, Outcome.CANCELLED])
def test_success_and_cancelling_end_an_event(outcome: Outcome) -> None:
    assert after(outcome) == Verdict(State.DONE)


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome.FAILED,
        Outcome.TRAP,
        Outcome.TIMEOUT,
        Outcome.OUT_OF_FUEL,
        Outcome.OUT_OF_MEMORY,
        Outcome.ABI_ERROR,
    ],
)
def test_everything_else_is_tried_again_after_a_backoff(outcome: Outcome) -> None:
    verdict = after(outcome)
    assert verdict.state is State.DELAYED
    assert 500 <= verdict.delay_ms <= 1_000


def test_a_death_is_tried_again_at_once() -> None:
    assert after(Outcome.KILLED, deaths=1) == Verdict(State.QUEUED)


def test_the_bound_of_deaths_comes_before_that_of_attempts() -> None:
    assert after(Outcome.KILLED, attempts=5, deaths=limits.DEATHS_MAX).reason == "killed"
    assert after(Outcome.KILLED, attempts=5, deaths=1).reason == "attempts"


def test_a_code_under_never_is_final_for_failed_alone() -> None:
    assert after(Outcome.FAILED, code=400).reason == "final"
    assert after(Outcome.TRAP, code=400).state is State.DELAYED


def test_every_reason_is_explained() -> None:
    assert set(REASONS) == {"attempts", "final", "killed", "loop", "no-route", "corrupt"}
