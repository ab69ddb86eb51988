"""Where time comes from: an argument in pure code, a `Clock` at the rim."""

import time
from typing import NamedTuple, Protocol

__all__ = ["Clock", "ManualClock", "Now", "SystemClock"]


class Clock(Protocol):
    """A source of time; monotonic for durations and leases, wall for stamps."""

    def monotonic_ms(self) -> int:
        """Milliseconds that never go back; the origin means nothing."""
        ...

    def wall_ms(self) -> int:
        """Milliseconds since 1970-01-01T00:00:00Z; may jump."""
        ...


class SystemClock:
    """The clock of the machine."""

    def monotonic_ms(self) -> int:
        """Milliseconds of `CLOCK_MONOTONIC`."""
        return time.monotonic_ns() // 1_000_000

    def wall_ms(self) -> int:
        """Milliseconds of `CLOCK_REALTIME`."""
        return time.time_ns() // 1_000_000


class ManualClock:
    """A clock that moves when told to, for simulation and tests."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self.now_ms = now_ms

    def advance(self, ms: int) -> None:
        """Moves both times forward by `ms`, which is not negative."""
        assert ms >= 0
        self.now_ms += ms

    def monotonic_ms(self) -> int:
        """The time it was told."""
        return self.now_ms

    def wall_ms(self) -> int:
        """The time it was told."""
        return self.now_ms


class Now(NamedTuple):
    """One instant on both clocks."""

    ms: int  # monotonic
    wall_ms: int

    @classmethod
    def of(cls, clock: Clock) -> "Now":
        """What a clock shows."""
        return cls(clock.monotonic_ms(), clock.wall_ms())
