"""An event that has not ended, and which event of its queue comes next. Pure; no payloads, no decisions.

A queue has a heap of the events that may be leased, by sequence number. Of an ordered queue only the head of
each lane can be there: a lane holds the events of one ordering key in order of acceptance (with `strict` all
events share one), and its head stays until it has ended, whatever happens to it in between.
"""

from collections import deque
from collections.abc import Callable, Mapping
from enum import Enum, auto
from heapq import heappop, heappush

import msgspec

from jobico.estimate import Estimate
from jobico.event import Event, State
from jobico.routes import Route

__all__ = ["Pending", "Phase", "Queue"]


class Phase(Enum):
    """How far it is on its way; `docs/delivery.md` draws the transitions."""

    WAITING = auto()  # another of its ordering key is before it
    DELAYED = auto()  # its time has not come
    READY = auto()  # may be leased
    LEASING = auto()  # its lease is being stored (ordered queues)
    LEASED = auto()  # pushed to an executor
    COMMITTING = auto()  # what came of it is being stored: no settlement counts any more
    GONE = auto()  # has ended


class Pending(msgspec.Struct, eq=False):
    """One event; times with `wall` are wall-clock, the others monotonic milliseconds."""

    seq: int
    event: Event  # its payload is empty
    size_bytes: int
    queue: "Queue"
    attempts: int  # finished ones
    deaths: int
    ready_wall_ms: int
    phase: Phase = Phase.READY
    cancelled: bool = False  # somebody has asked to withdraw it
    due_ms: int = 0
    token: int = 0
    executor: str = ""  # the name of the one that it is leased to
    expires_ms: int = 0
    lease_stored: bool = False
    suspect: bool = False  # it may have killed an executor: it runs alone, so that it is known
    recovered: bool = False  # its lease was given before this listener started
    leased_wall_ms: int = 0
    route: Route | None = None  # the one it was leased with
    estimate: Estimate | None = None
    planned_us: float = 0.0  # what its tenant was charged at the lease
    slow: bool = False

    @property
    def state(self) -> State:
        """Where it is, as people see it."""
        if self.phase in (Phase.LEASED, Phase.COMMITTING):
            return State.RUNNING
        return State.DELAYED if self.phase is Phase.DELAYED else State.QUEUED


Lane = deque[Pending]


class Queue:
    """One queue of a job of a tenant.

    Attributes:
        listed: True while the fair share knows that it has something to lease.
        parked: True while its next event must wait for an executor that may run slow guests.
        runs: How many of its events are leased.
        runs_max: The bound on that; 0 is none.
        count: How many events it has.
        delayed: How many of them wait for their time.
        size_bytes: Their payloads.
    """

    __slots__ = (
        "_lanes", "_ready", "count", "delayed", "job", "listed", "name", "parked", "runs", "runs_max",
        "size_bytes", "tenant",
    )  # fmt: skip

    def __init__(self, tenant: str, job: str, name: str) -> None:
        self.tenant = tenant
        self.job = job
        self.name = name
        self._ready: list[int] = []
        self._lanes: dict[str, Lane] = {}
        self.listed = False
        self.parked = False
        self.runs = 0
        self.runs_max = 0
        self.count = 0
        self.delayed = 0
        self.size_bytes = 0

    def add(self, item: Pending) -> bool:
        """Takes in a new event; True if it is at its turn, False if another of its key is before it."""
        self.count += 1
        self.size_bytes += item.size_bytes
        if not item.event.ordered:
            return True
        lane = self._lanes.get(item.event.order_key)
        if lane is None:
            lane = self._lanes[item.event.order_key] = deque()
        assert not lane or lane[-1].seq < item.seq, "a lane grows in order of acceptance"
        lane.append(item)
        if len(lane) == 1:
            return True
        item.phase = Phase.WAITING
        return False

    def ready(self, item: Pending) -> None:
        """Makes an event leasable, whose turn it is."""
        item.phase = Phase.READY
        heappush(self._ready, item.seq)

    def peek(self, items: Mapping[int, Pending]) -> Pending | None:
        """The next event to lease; `items` are all events by sequence number."""
        ready = self._ready
        while ready:
            item = items.get(ready[0])
            if item is not None and item.phase is Phase.READY:
                return item
            heappop(ready)  # withdrawn while it was ready
        return None

    def take(self) -> None:
        """Removes the event that `peek` has just given from the leasable ones."""
        heappop(self._ready)

    @property
    def may_lease(self) -> bool:
        """True if something is leasable and the queue's own bound lets it run."""
        return bool(self._ready) and (self.runs_max == 0 or self.runs < self.runs_max)

    @property
    def oldest_seq(self) -> int:
        """The sequence number of the first leasable event; 0 if there is none."""
        return self._ready[0] if self._ready else 0

    def remove(self, item: Pending, turn: Callable[[Pending], None]) -> None:
        """Lets go of an event that has ended; calls `turn` with the one whose turn it is now, if any."""
        item.phase = Phase.GONE
        self.count -= 1
        self.size_bytes -= item.size_bytes
        if not item.event.ordered:
            return
        lane = self._lanes[item.event.order_key]
        if lane[0] is not item:
            return  # withdrawn out of the middle: it is passed over when its turn comes
        while lane and lane[0].phase is Phase.GONE:
            lane.popleft()
        if not lane:
            del self._lanes[item.event.order_key]
        elif lane[0].phase is Phase.WAITING:
            turn(lane[0])
