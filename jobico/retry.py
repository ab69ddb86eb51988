"""When a failed event is tried again: pure, seeded, no clock."""

from enum import StrEnum

import msgspec

from jobico import limits

__all__ = ["Backoff", "RetryPolicy"]


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
