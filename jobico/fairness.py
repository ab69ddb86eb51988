"""Whose turn it is: tenants share the executors by the run time they use, weighted. Pure.

Start-time fair queueing: each tenant has a virtual time, which grows by what it uses divided by its weight.
The tenant with the smallest one that has work is next. One that was idle starts at the virtual time of those
that were not, so idling saves nothing up. What a run will cost is charged at the lease as an estimate and put
right at the settlement, so a tenant cannot take everything before its first results are in.

Within a tenant its queues take turns.
"""

import itertools
from collections import deque
from heapq import heappop, heappush, heapreplace

from jobico.ordering import Queue
from jobico.quota import TenantUse

__all__ = ["FairShare", "Share"]


class Share:
    """A tenant's part.

    Attributes:
        use: Its quotas and what it has queued.
        virtual_us: What it has used, over its weight.
        used_us: What it has used.
        runs: How many of its events are leased.
        place: Its key in the heap of `FairShare`; negative where it is not in there.
    """

    __slots__ = ("place", "runs", "tenant", "turns", "use", "used_us", "virtual_us")

    def __init__(self, tenant: str, use: TenantUse) -> None:
        self.tenant = tenant
        self.use = use
        self.turns: deque[Queue] = deque()  # queues with something to lease, next first
        self.virtual_us = 0.0
        self.used_us = 0.0
        self.runs = 0
        self.place = -1.0

    @property
    def may_lease(self) -> bool:
        """True if it has work and may run more."""
        return bool(self.turns) and self.runs < self.use.runs_max


class FairShare:
    """All tenants that have work, by virtual time."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Share]] = []
        self._numbers = itertools.count()  # ties are broken by age; shares do not compare
        self._now_us = 0.0  # the virtual time of the last lease

    def offer(self, share: Share, queue: Queue) -> None:
        """Tells that a queue may have something to lease."""
        if not queue.listed and not queue.parked and queue.may_lease:
            queue.listed = True
            if not share.turns and share.virtual_us < self._now_us:
                share.virtual_us = self._now_us
            share.turns.append(queue)
        if share.place < 0.0 and share.may_lease:
            self._enlist(share)

    def next(self) -> Share | None:
        """The tenant whose turn it is; the queue is the first of its `turns`."""
        heap = self._heap
        while heap:
            key, _, share = heap[0]
            if key != share.place:
                heappop(heap)  # it has a better place
            elif not share.may_lease:
                heappop(heap)
                share.place = -1.0
            elif share.virtual_us > key:
                share.place = share.virtual_us
                heapreplace(heap, (share.virtual_us, next(self._numbers), share))
            else:
                return share
        return None

    def leased(self, share: Share, planned_us: float) -> None:
        """Charges a lease from the queue that is first in turn, and moves that queue to the end."""
        queue = share.turns.popleft()
        share.runs += 1
        queue.runs += 1
        self._now_us = max(self._now_us, share.virtual_us)
        self._charge(share, planned_us)
        if queue.may_lease:
            share.turns.append(queue)
        else:
            queue.listed = False

    def drop(self, share: Share) -> None:
        """Takes the queue that is first in turn off the list, until it is offered again."""
        share.turns.popleft().listed = False

    def released(self, share: Share, queue: Queue, planned_us: float, actual_us: float) -> None:
        """Ends a lease that was charged `planned_us` and took `actual_us`."""
        share.runs -= 1
        queue.runs -= 1
        assert share.runs >= 0
        assert queue.runs >= 0
        self._charge(share, actual_us - planned_us)
        self.offer(share, queue)

    def _charge(self, share: Share, us: float) -> None:
        share.used_us += us
        share.virtual_us = max(0.0, share.virtual_us + us / share.use.weight)
        if 0.0 <= share.virtual_us < share.place:
            self._enlist(share)

    def _enlist(self, share: Share) -> None:
        share.place = share.virtual_us
        heappush(self._heap, (share.virtual_us, next(self._numbers), share))
