"""All events of a listener that have not ended: by id, by queue, by tenant, by when they are due. Pure.

It knows where everything is, and decides nothing: `jobico.delivery` does.
"""

from collections.abc import Mapping, Sequence
from heapq import heappop, heappush

import msgspec

from jobico.change import Entry
from jobico.clock import Now
from jobico.event import Event
from jobico.fairness import FairShare, Share
from jobico.ordering import Pending, Phase, Queue
from jobico.quota import TenantUse
from jobico.routes import Routes
from jobico.tenancy import Quotas

__all__ = ["Backlog"]


class Backlog:
    """The events of a listener.

    Attributes:
        items: All of them by sequence number, in order of acceptance.
        by_id: All of them by id.
        queues: By tenant, job and queue.
        shares: By tenant.
        fair: Whose turn it is.
    """

    def __init__(self, next_seq: int) -> None:
        self._next_seq = next_seq
        self.items: dict[int, Pending] = {}
        self.by_id: dict[str, Pending] = {}
        self.queues: dict[tuple[str, str, str], Queue] = {}
        self.shares: dict[str, Share] = {}
        self.fair = FairShare()
        self._quotas: Mapping[str, Quotas] = {}
        self._due: list[tuple[int, int]] = []  # (due_ms, seq); what is not delayed is passed over

    def set_quotas(self, quotas: Mapping[str, Quotas]) -> None:
        """Replaces what tenants may use."""
        self._quotas = quotas
        for tenant, share in self.shares.items():
            share.use.set(quotas.get(tenant, Quotas()))
        for queue in self.queues.values():
            self.fair.offer(self.shares[queue.tenant], queue)  # a bound may have been lifted

    def share(self, tenant: str, now_ms: int) -> Share:
        """The share of a tenant, made where it is new."""
        found = self.shares.get(tenant)
        if found is None:
            use = TenantUse(self._quotas.get(tenant, Quotas()), now_ms)
            found = self.shares[tenant] = Share(tenant, use)
        return found

    def entry(self, event: Event) -> Entry:
        """Numbers an event that is counted in its tenant's use."""
        seq = self._next_seq
        self._next_seq += 1
        return Entry(seq, event)

    def number(self, events: Sequence[Event]) -> tuple[Entry, ...]:
        """Numbers events of a known tenant that nobody can refuse, and counts them."""
        if not events:
            return ()
        use = self.shares[events[0].tenant].use
        use.enter(len(events), sum(len(event.payload) for event in events))
        return tuple(self.entry(event) for event in events)

    def enter(self, entry: Entry, size_bytes: int) -> Pending:
        """Takes in an event that is stored and counted; `settle_in` is to follow."""
        event = entry.event
        key = (event.tenant, event.job, event.queue)
        queue = self.queues.get(key)
        if queue is None:
            queue = self.queues[key] = Queue(*key)
        if event.payload:
            event = msgspec.structs.replace(event, payload=b"")
        item = Pending(entry.seq, event, size_bytes, queue, entry.attempts, entry.deaths, event.ready_at_ms)
        assert item.seq not in self.items
        assert event.id not in self.by_id
        self.items[item.seq] = self.by_id[event.id] = item
        return item

    def settle_in(self, item: Pending, now: Now) -> None:
        """Puts an event that has entered behind those before it, until it is due at least.

        NOTE: the wall time that it is ready at becomes monotonic here: a clock that jumps changes nothing.
        """
        wait_ms = item.event.ready_at_ms - now.wall_ms
        item.due_ms = now.ms + wait_ms if wait_ms > 0 else 0
        if item.queue.add(item):
            self.turn(item, now)

    def turn(self, item: Pending, now: Now) -> None:
        """Makes an event whose turn it is leasable, or has it wait for its time."""
        if item.due_ms > now.ms:
            item.phase = Phase.DELAYED
            item.queue.delayed += 1
            heappush(self._due, (item.due_ms, item.seq))
            return
        item.queue.ready(item)
        self.fair.offer(self.shares[item.event.tenant], item.queue)

    def withdraw(self, item: Pending) -> None:
        """Takes an event that is not leased out of the running; it still holds its place in its lane."""
        if item.phase is Phase.DELAYED:
            item.queue.delayed -= 1
        item.phase = Phase.COMMITTING

    def remove(self, item: Pending, now: Now) -> None:
        """Lets go of an event that has ended, and gives the next of its lane its turn."""
        del self.items[item.seq]
        del self.by_id[item.event.id]
        self.shares[item.event.tenant].use.leave(item.size_bytes, now.ms)
        item.queue.remove(item, lambda head: self.turn(head, now))

    def wake(self, now: Now) -> None:
        """Makes the events leasable whose time has come."""
        while self._due and self._due[0][0] <= now.ms:
            due_ms, seq = heappop(self._due)
            item = self.items.get(seq)
            if item is not None and item.phase is Phase.DELAYED and item.due_ms == due_ms:
                item.queue.delayed -= 1
                self.turn(item, now)

    def set_routes(self, routes: Routes) -> None:
        """Takes the bounds of queues from the current definitions; lets go of queues that have nothing."""
        self._forget_idle()
        for queue in self.queues.values():
            queue.runs_max = _runs_max(routes, queue)
            self.fair.offer(self.shares[queue.tenant], queue)

    def _forget_idle(self) -> None:
        for key in [key for key, queue in self.queues.items() if not queue.count and not queue.runs]:
            if not self.queues[key].listed and not self.queues[key].parked:
                del self.queues[key]


def _runs_max(routes: Routes, queue: Queue) -> int:
    """How many events of a queue may run at once, as its job says now."""
    for route in routes.of_tenant(queue.tenant).values():
        if route.job == queue.job and route.queue.id == queue.name:
            return route.queue.concurrency
    return 0
