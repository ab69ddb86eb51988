"""What a tenant may put into a queue: events a second, queued events, queued bytes. Pure.

A quota never slows anybody down: what is over it is refused, with the time after which the same request is
expected to pass.
"""

import math
from typing import Final

from jobico import limits
from jobico.errors import QuotaExceeded, TooLarge
from jobico.tenancy import Quotas
from jobico.units import format_size

__all__ = ["Drain", "TenantUse", "TokenBucket"]

_DRAIN_WINDOW_MS: Final = 10_000
_DRAIN_STEP_MS: Final = 50
_RETRY_AFTER_MS_MIN: Final = 1_000
_RETRY_AFTER_MS_MAX: Final = 300_000
_RETRY_AFTER_MS_UNKNOWN: Final = 60_000  # nothing has left the queue lately


class TokenBucket:
    """A rate with room for a burst of one second.

    NOTE: a request for more than a burst passes when the bucket is full and leaves it in debt. So every
    request passes some time, the rate holds over time, and the wait that is told is the wait that it takes.
    """

    __slots__ = ("_at_ms", "_level", "_rate")

    def __init__(self, rate_per_s: int, now_ms: int) -> None:
        self._rate = rate_per_s
        self._level = (
            rate_per_s * 1_000
        )  # thousandths of a token: a millisecond brings `rate` of them, exactly
        self._at_ms = now_ms

    def wait_ms(self, count: int, now_ms: int) -> int:
        """How long until `count` may be taken; 0 is now."""
        passed_ms = now_ms - self._at_ms
        if passed_ms > 0:
            self._level = min(self._rate * 1_000, self._level + self._rate * passed_ms)
            self._at_ms = now_ms
        missing = min(count, self._rate) * 1_000 - self._level
        return 0 if missing <= 0 else -(-missing // self._rate)

    def take(self, count: int) -> None:
        """Takes `count`, which `wait_ms` has let pass; a negative count gives back."""
        self._level = min(self._rate * 1_000, self._level - count * 1_000)

    def set_rate(self, rate_per_s: int) -> None:
        """Changes the rate; what is in the bucket stays, up to the new burst."""
        self._rate = rate_per_s
        self._level = min(self._level, rate_per_s * 1_000)


class Drain:
    """How fast something leaves, over about the last ten seconds."""

    __slots__ = ("_at_ms", "_began_ms", "_sum")

    def __init__(self, now_ms: int) -> None:
        self._began_ms = self._at_ms = now_ms
        self._sum = 0.0

    def add(self, amount: int, now_ms: int) -> None:
        """Counts what has left just now."""
        # PERF: an exponential for each event costs 1 us of the 16 that the machine takes for it.
        if now_ms - self._at_ms >= _DRAIN_STEP_MS:
            self._sum = self._decayed(now_ms)
            self._at_ms = now_ms
        self._sum += amount

    def wait_ms(self, amount: int, now_ms: int) -> int:
        """How long it takes until `amount` has left, within the bounds of an answer."""
        covered_ms = _DRAIN_WINDOW_MS * -math.expm1(-max(now_ms - self._began_ms, 1) / _DRAIN_WINDOW_MS)
        per_ms = self._decayed(now_ms) / covered_ms
        if per_ms <= 1e-9:
            return _RETRY_AFTER_MS_UNKNOWN
        return round(min(max(amount / per_ms, _RETRY_AFTER_MS_MIN), _RETRY_AFTER_MS_MAX))

    def _decayed(self, now_ms: int) -> float:
        return self._sum * math.exp(-max(now_ms - self._at_ms, 0) / _DRAIN_WINDOW_MS)


class TenantUse:
    """What a tenant has in the queue and may still put there.

    Attributes:
        events: Queued ones, with those that are being stored.
        size_bytes: Their payloads.
        weight: Its weight in the fair share.
        runs_max: How many of its events may be leased at once.
    """

    __slots__ = (
        "_bucket", "_bytes_max", "_drained_bytes", "_drained_events", "_events_max", "events", "runs_max",
        "size_bytes", "weight",
    )  # fmt: skip

    def __init__(self, quotas: Quotas, now_ms: int) -> None:
        self.events = 0
        self.size_bytes = 0
        self._bucket = TokenBucket(quotas.events_per_s or limits.TENANT_EVENTS_PER_S, now_ms)
        self._drained_events = Drain(now_ms)
        self._drained_bytes = Drain(now_ms)
        self.set(quotas)

    def set(self, quotas: Quotas) -> None:
        """Changes the quotas; what is queued stays queued."""
        self._bucket.set_rate(quotas.events_per_s or limits.TENANT_EVENTS_PER_S)
        self._events_max = quotas.queued_events or limits.TENANT_QUEUED_EVENTS
        self._bytes_max = quotas.queued_bytes or limits.TENANT_QUEUED_BYTES
        self.runs_max = quotas.concurrent_runs or limits.TENANT_CONCURRENT_RUNS
        self.weight = quotas.weight or limits.TENANT_WEIGHT

    def admit(self, events: int, size_bytes: int, now_ms: int) -> None:
        """Takes room for events of a sender.

        Raises:
            QuotaExceeded: not now; `retry_after_s` says when.
            TooLarge: they are more than the queue of this tenant may ever hold.
        """
        if events > self._events_max or size_bytes > self._bytes_max:
            raise TooLarge(
                f"{events} events of {format_size(size_bytes)} are more than the tenant's queue may hold "
                f"({self._events_max} events, {format_size(self._bytes_max)}): send fewer at once."
            )
        over_events = self.events + events - self._events_max
        if over_events > 0:
            wait_ms = self._drained_events.wait_ms(over_events, now_ms)
            queued = f"{self.events} events are queued of {self._events_max}"
            raise _exceeded("queued_events", queued, wait_ms)
        over_bytes = self.size_bytes + size_bytes - self._bytes_max
        if over_bytes > 0:
            wait_ms = self._drained_bytes.wait_ms(over_bytes, now_ms)
            queued = f"{format_size(self.size_bytes)} are queued of {format_size(self._bytes_max)}"
            raise _exceeded("queued_bytes", queued, wait_ms)
        wait_ms = self._bucket.wait_ms(events, now_ms)
        if wait_ms > 0:
            raise _exceeded("events_per_s", "events come faster than the tenant's rate", wait_ms)
        self._bucket.take(events)
        self.enter(events, size_bytes)

    def has_room(self, events: int, size_bytes: int) -> bool:
        """True where so much more may be queued; of the rate nothing is said."""
        return self.events + events <= self._events_max and self.size_bytes + size_bytes <= self._bytes_max

    def give_back(self, events: int, size_bytes: int) -> None:
        """Undoes an `admit` whose events were not stored after all."""
        self._bucket.take(-events)
        self.events -= events
        self.size_bytes -= size_bytes
        assert self.events >= 0
        assert self.size_bytes >= 0

    def enter(self, events: int, size_bytes: int) -> None:
        """Counts events that nobody can refuse: recovered ones and follow-ups."""
        self.events += events
        self.size_bytes += size_bytes

    def leave(self, size_bytes: int, now_ms: int) -> None:
        """Counts an event that has ended."""
        self.events -= 1
        self.size_bytes -= size_bytes
        assert self.events >= 0
        assert self.size_bytes >= 0
        self._drained_events.add(1, now_ms)
        self._drained_bytes.add(size_bytes, now_ms)


def _exceeded(quota: str, why: str, wait_ms: int) -> QuotaExceeded:
    after_s = wait_ms / 1_000
    return QuotaExceeded(
        f"The tenant is over its quota {quota}: {why}. Come back in {after_s:.1f} s.",
        retry_after_s=after_s,
        detail={"quota": quota},
    )
