"""The executors of a listener: what each holds, how much more it may hold, where an event goes. Pure.

What an executor holds ahead is bounded by time: about HELD_AHEAD_MS of estimated work, at least one event.
A runtime that was never seen, a long one, and an event that may be poison go only to one that holds nothing;
behind the latter nothing goes. What an executor has parked (its module is on the way) is not in the way of
others, but another event of an unknown runtime goes elsewhere. Of two or more executors one is kept from slow
guests while others have quick work (`_may_be_slow`), so that no tenant's slow guests ever hold all.
"""

from collections import OrderedDict
from collections.abc import Collection
from enum import Enum, auto
from typing import Final

from jobico import limits
from jobico.ordering import Pending

__all__ = ["SLOW_US", "Crew", "Executor", "Place"]

SLOW_US: Final = 250_000
"""A run from here on is slow: what waits for an executor may wait so long unnoticed."""

_HELD_AHEAD_US: Final = limits.HELD_AHEAD_MS * 1_000
_RECENT_MS: Final = 60_000
_ALONE_DEATHS: Final = limits.DEATHS_MAX - 1


class Place(Enum):
    """Why an event cannot be leased now."""

    NO_ROOM = auto()  # until an executor has less to do
    NO_SLOW_ROOM = auto()  # until a slow guest ends; quick ones may still go


class Executor:
    """One executor process as its listener knows it.

    Attributes:
        instance: The run of the process; empty until its first Welcome.
        joined: True between a Welcome and the next loss of the connection.
        held: What it was sent and has not settled, by token, in the order that it was sent.
        reserved: What will be sent once its lease is stored, by token.
        parked: What it has put aside until the module is there, by token; the rest passes it.
        planned_us: The estimated work of what is held and reserved.
        since_ms: When the oldest of that came to be the oldest.
        running: The token that it said it is running; 0 is none that we know of.
        renewed_ms: When it last said what it holds.
        suspect_ms: With the connection lost: when it counts as dead; 0 with a connection.
        stalled: It has said that its guest takes longer than expected: no more until that one ends.
        draining: It is stopping.
        slow: Holds a slow guest.
        foreign: Has tokens that are no leases (any more), so what it runs may be one of those.
        alone: Holds an event that may be poison, so nothing else.
        expires_ms: No lease that it holds expires before this.
    """

    __slots__ = (
        "alone", "draining", "expires_ms", "foreign", "held", "instance", "joined", "name", "parked",
        "planned_us", "renewed_ms", "reserved", "running", "since_ms", "slow", "stalled", "suspect_ms",
    )  # fmt: skip

    def __init__(self, name: str) -> None:
        self.name = name
        self.instance = ""
        self.joined = False
        # PERF: the oldest is asked for at every turn; a plain dict walks over what was deleted before it.
        self.held: OrderedDict[int, Pending] = OrderedDict()
        self.reserved: dict[int, Pending] = {}
        self.parked: dict[int, Pending] = {}
        self.planned_us = 0.0
        self.since_ms = 0
        self.running = 0
        self.renewed_ms = 0
        self.suspect_ms = 0
        self.stalled = False
        self.foreign = False
        self.draining = False
        self.slow = False
        self.alone = False
        self.expires_ms = 0

    def reserve(self, item: Pending, expires_ms: int, *, alone: bool) -> None:
        """Keeps room for an event, which has its token, until it is sent."""
        if self.idle:
            self.expires_ms = expires_ms
        self.reserved[item.token] = item
        self.planned_us += item.planned_us
        self.slow = self.slow or item.slow
        self.alone = alone
        item.executor = self.name
        item.expires_ms = expires_ms

    def sent(self, item: Pending, now_ms: int) -> None:
        """Notes that an event with room is on its way."""
        if not self.held:
            self.since_ms = now_ms
        self.held[item.token] = self.reserved.pop(item.token)

    def release(self, item: Pending, now_ms: int) -> None:
        """Notes that it holds an event no longer."""
        held = self.held
        if held and next(iter(held)) == item.token:
            self.since_ms = now_ms
            self.stalled = self.foreign = False
        item.executor = ""
        if self.parked.pop(item.token, None) is None:
            if held.pop(item.token, None) is None:
                del self.reserved[item.token]
            self._unplan(item)
        if self.idle:
            self.alone = False

    def says(self, running: int, parked: Collection[int], now_ms: int) -> None:
        """Notes what it says of what it holds: which it runs, and which it has put aside."""
        self.running = running
        for token in [token for token in self.parked if token not in parked]:
            item = self.held[token] = self.parked.pop(token)  # its module is there: it goes first
            self.held.move_to_end(token, last=False)
            self.planned_us += item.planned_us
            self.slow = self.slow or item.slow
            self.since_ms = now_ms
        for token in parked:
            if token in self.held:
                if next(iter(self.held)) == token:
                    self.since_ms = now_ms
                item = self.parked[token] = self.held.pop(token)
                self._unplan(item)

    def _unplan(self, item: Pending) -> None:
        if not self.held and not self.reserved:
            self.planned_us, self.slow = 0.0, False
            return
        self.planned_us -= item.planned_us
        if item.slow:
            self.slow = any(other.slow for other in (*self.held.values(), *self.reserved.values()))

    def get(self, token: int) -> Pending | None:
        """The event that it was sent with that token."""
        return self.held.get(token) or self.parked.get(token)

    @property
    def has(self) -> list[Pending]:
        """What it was sent and has not settled."""
        return [*self.parked.values(), *self.held.values()]

    @property
    def idle(self) -> bool:
        """True if it has nothing and nothing is meant for it."""
        return not self.held and not self.reserved and not self.parked

    @property
    def size(self) -> int:
        """How many events it has or will be sent."""
        return len(self.held) + len(self.reserved) + len(self.parked)

    @property
    def head(self) -> Pending | None:
        """The oldest event that it holds: the one that it runs, unless it has said otherwise."""
        return next(iter(self.held.values()), None)

    def victim(self) -> Pending | None:
        """The event that its death is charged to: the one it runs; None where that is not known."""
        named = self.held.get(self.running)
        if named is not None:
            return named
        head = self.head
        if head is None or head.recovered or self.foreign or self.parked:
            return None
        return head

    def suspects(self) -> list[Pending]:
        """Those that it may have run, where `victim` is not known.

        NOTE: of what it was given before a restart of the listener only the ordered events are remembered, so
        it may have run something else; and the module of what it had parked may just have come.
        """
        head = self.head
        return [*self.parked.values(), *([] if head is None else [head])]

    def late(self, now_ms: int) -> bool:
        """True if what it runs takes longer than planned, so that nothing should wait behind it."""
        head = self.head
        if head is None:
            return False
        return self.stalled or now_ms - self.since_ms > limits.HELD_AHEAD_MS + head.planned_us / 1_000


class Crew:
    """All executors of a listener."""

    def __init__(self) -> None:
        self.executors: dict[str, Executor] = {}
        self._quick_ms = -_RECENT_MS
        self._doubted: dict[str, int] = {}  # tenants that had a new runtime turn out slow, and when
        self._served: dict[str, int] = {}  # the two tenants that were served last, and when

    def member(self, name: str) -> Executor:
        """The executor of that name, made where it is new."""
        found = self.executors.get(name)
        if found is None:
            found = self.executors[name] = Executor(name)
        return found

    def place(self, item: Pending, us: float, now_ms: int) -> Executor | Place:
        """Where an event goes that is estimated to run for `us`; 0 is unknown."""
        alone = item.suspect or item.deaths >= _ALONE_DEATHS
        bulky = alone or us == 0.0 or us > _HELD_AHEAD_US
        unknown = us == 0.0
        if (unknown or us >= SLOW_US) and not self._may_be_slow(item.event.tenant, now_ms, unknown=unknown):
            return Place.NO_SLOW_ROOM
        best: Executor | None = None
        none = Place.NO_SLOW_ROOM if unknown else Place.NO_ROOM
        for executor in self.executors.values():
            if not executor.joined or executor.draining or executor.alone:
                continue
            if (unknown or alone) and executor.parked:
                continue
            none = Place.NO_ROOM
            if not executor.held and not executor.reserved and executor.size < limits.HELD_DELIVERIES_MAX:
                return executor
            if bulky or executor.planned_us + us > _HELD_AHEAD_US:
                continue
            if best is not None and best.planned_us <= executor.planned_us:
                continue
            if executor.size < limits.HELD_DELIVERIES_MAX and not executor.late(now_ms):
                best = executor
        return best or none

    def assign(self, executor: Executor, item: Pending, us: float, now_ms: int, expires_ms: int) -> None:
        """Gives an event, which has its token, to an executor that `place` has chosen."""
        item.slow = us == 0.0 or us >= SLOW_US
        item.planned_us = us or float(_HELD_AHEAD_US)
        executor.reserve(item, expires_ms, alone=item.suspect or item.deaths >= _ALONE_DEATHS)
        tenant = item.event.tenant
        if tenant not in self._served and len(self._served) > 1:
            del self._served[min(self._served, key=lambda name: self._served[name])]
        self._served[tenant] = now_ms

    def ran(self, item: Pending, run_us: int, now_ms: int) -> None:
        """Notes how long a guest took: quick work is about, or a runtime that was new has turned out slow."""
        if run_us < SLOW_US:
            self._quick_ms = now_ms
        elif item.slow and item.estimate is not None and item.estimate.us == 0.0:
            self._doubted = {name: at for name, at in self._doubted.items() if now_ms - at < _RECENT_MS}
            self._doubted[item.event.tenant] = now_ms

    def _may_be_slow(self, tenant: str, now_ms: int, *, unknown: bool) -> bool:
        """True if another slow guest, of that tenant, leaves an executor for those who would wait for it.

        With quick work in the last minute slow guests leave one executor to it, whoever they belong to. With
        other tenants served in the last minute, this tenant's leave one to them. A runtime that was never
        seen may turn out slow; it gets the benefit of the doubt, one at a time, unless one of its tenant
        turned out slow in the last minute and it has a slow guest now.
        """
        size = slow = own = doubts = 0
        for executor in self.executors.values():
            if executor.joined and not executor.draining:
                size += 1
                head = executor.head or next(iter(executor.reserved.values()), None)
                if head is not None and (executor.slow or executor.late(now_ms)):
                    slow += 1
                    if head.event.tenant == tenant:
                        own += 1
                        doubts += head.estimate is not None and head.estimate.us == 0.0
        if size < 2 or (unknown and (own == 0 or (doubts == 0 and not self._is_doubted(tenant, now_ms)))):
            return True
        if slow + 1 >= size and now_ms - self._quick_ms < _RECENT_MS:
            return False
        others = any(name != tenant and now_ms - at < _RECENT_MS for name, at in self._served.items())
        return not (others and own + 1 >= size)

    def _is_doubted(self, tenant: str, now_ms: int) -> bool:
        return now_ms - self._doubted.get(tenant, -_RECENT_MS) < _RECENT_MS
