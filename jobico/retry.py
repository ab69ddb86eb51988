"""When a failed event is tried again: pure, seeded, no clock."""

import random
from enum import StrEnum

import msgspec

from jobico import limits
from jobico.event import Outcome

__all__ = ["Backoff", "RetryPolicy", "is_final", "next_delay_ms"]

_DOUBLINGS_MAX = 40  # 2**40 ms is 34 years, past any `max_ms`


class Backoff(StrEnum):
    """How the delay between attempts grows."""

    EXPONENTIAL = "exponential"
    FIXED = "fixed"


class RetryPolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """`retry:` of an event. `attempts` includes the first; a code in `never` is final."""

    attempts: int = limits.ATTEMPTS_DEFAULT
    backoff: Backoff = Backoff.EXPONENTIAL
    initial_ms: int = limits.BACKOFF_INITIAL_MS
    max_ms: int = limits.BACKOFF_MAX_MS
    never: tuple[int, ...] = ()


def next_delay_ms(policy: RetryPolicy, attempts: int, rng: random.Random) -> int:
    """How long to wait before the next attempt, with "equal jitter".

    The wait is drawn evenly from the upper half of the backoff: at least half of what was asked for, so that
    a service that is down gets its rest, and spread over the other half, so that events that failed together
    do not come back together. The backoff is `initial_ms`, with `exponential` doubled for each attempt after
    the first, and never more than `max_ms`.

    Args:
        policy: The event's.
        attempts: Attempts that are finished, the first included; from 1.
        rng: Where chance comes from; the same state gives the same delay.
    """
    assert attempts >= 1
    doublings = min(attempts - 1, _DOUBLINGS_MAX) if policy.backoff is Backoff.EXPONENTIAL else 0
    backoff_ms = min(policy.initial_ms << doublings, policy.max_ms)
    return backoff_ms - rng.randint(0, backoff_ms // 2)


def is_final(policy: RetryPolicy, outcome: Outcome, code: int, attempts: int) -> bool:
    """True if no other attempt follows this one.

    Args:
        policy: The event's.
        outcome: What came of the attempt.
        code: The guest's code; it means something only with `failed`.
        attempts: Attempts that are finished, this one included.
    """
    if outcome in (Outcome.OK, Outcome.CANCELLED) or attempts >= policy.attempts:
        return True
    return outcome is Outcome.FAILED and code in policy.never
