"""The delivery life cycle as a pure state machine: inputs in, instructions out (`jobico.instruction`).

It owns the decision on every event that was accepted and has not ended: when it is leased and to whom, what
becomes of it after an attempt, and which settlement counts. It reads no clock and touches no socket and no
store: time is an argument, chance and ids come from outside, payloads are looked up by a given function.
What it decides counts once the shell has stored it: until `committed` comes back an event is in `COMMITTING`,
where nothing else can happen to it.

Inputs are methods, those of executors are on `leasing`; each adds instructions that `take` hands over. `pump`
leases what can be leased and is called after a round of inputs. `docs/delivery.md` has the promises,
`tests/simulation` the proof.
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from jobico import limits
from jobico.backlog import Backlog
from jobico.change import Bury, Entry, Lease, Reschedule, Settle, StoreLease
from jobico.clock import Now
from jobico.crew import Executor, Place
from jobico.errors import NotFound
from jobico.estimate import Estimates
from jobico.event import Event, Outcome, Settlement
from jobico.fairness import Share
from jobico.instruction import Abort, Assignment, Commit, Instruction, Refused, Resolved, Send, Step
from jobico.leasing import Leasing
from jobico.ordering import Pending, Phase, Queue
from jobico.routes import Route, Routes
from jobico.settling import Settling
from jobico.tenancy import Quotas

__all__ = ["DeliveryMachine"]

_PUMP_MAX: Final = 1_024  # leases a call: others on the loop have their turn
_RETRY_COMMIT_MS: Final = 250
_RETRY_ROUTE_MS: Final = 1_000


class DeliveryMachine:
    """The state of all events of one listener.

    Args:
        incarnation: Of the queue's store, one more at each start: what makes a token unique for ever.
        next_seq: The first free sequence number.
        listener: The name of the node, for records.
        payload_of: Looks up the payload of a stored event by its sequence number.
        new_id: Makes an event id.
        rng: Where the jitter of retries comes from.
        lease_ms: How long an executor may hold an event without renewing it.

    Attributes:
        backlog: The events.
        leasing: The leases; takes the inputs that come from executors.
        draining: True to lease nothing more.
    """

    def __init__(
        self,
        incarnation: int,
        next_seq: int,
        *,
        listener: str,
        payload_of: Callable[[int], bytes],
        new_id: Callable[[], str],
        rng: random.Random,
        lease_ms: int = limits.LEASE_MS,
    ) -> None:
        self._out: list[Instruction] = []
        self._sends: dict[str, list[Assignment]] = {}
        self._parked: list[Queue] = []  # their next event waits for an executor that may run slow guests
        self._stuck: list[tuple[int, Step]] = []  # could not be stored; when to try again
        self._committing = 0
        self._estimates = Estimates()
        self._waiting: frozenset[tuple[str, str]] = frozenset()
        self._complete = True
        self.draining = False
        self.backlog = Backlog(next_seq)
        self._settling = Settling(listener, self.backlog, payload_of=payload_of, new_id=new_id, rng=rng)
        self.leasing = Leasing(
            incarnation,
            lease_ms,
            self.backlog,
            self._emit,
            killed=self._killed,
            taken_back=self._taken_back,
            freed=self._unpark,
        )

    def take(self) -> list[Instruction]:
        """The instructions since the last call, to be carried out in this order."""
        out, self._out = self._out, []
        if self._sends:
            out.extend(Send(executor, tuple(items)) for executor, items in self._sends.items())
            self._sends = {}
        return out

    @property
    def busy(self) -> bool:
        """True while anything is leased or being stored."""
        return bool(self.leasing.held or self._committing or self._stuck)

    # --- Senders ------------------------------------------------------------------------------------------

    def recover(self, entries: Iterable[tuple[Entry, int]], now: Now) -> None:
        """Takes in all stored events, by sequence number, each with the size of its payload."""
        for entry, size_bytes in entries:
            event = entry.event
            self.backlog.share(event.tenant, now.ms).use.enter(1, size_bytes)
            item = self.backlog.enter(entry, size_bytes)
            if entry.lease is None:
                self.backlog.settle_in(item, now)
                continue
            item.queue.add(item)
            item.token = entry.lease.token
            item.lease_stored = True
            self.leasing.recover(item, entry.lease.executor, entry.lease.instance, now)

    def admit(self, events: Sequence[Event], now: Now, *, forced: bool = False) -> tuple[Entry, ...]:
        """Numbers new events of one tenant and counts them; they are stored next, in the order of the calls.

        Args:
            events: What a sender wants to have queued.
            now: When.
            forced: For what may not be refused, such as a replay.

        Raises:
            QuotaExceeded, TooLarge: the tenant may not queue them.
        """
        share = self.backlog.share(events[0].tenant, now.ms)
        if not forced:
            share.use.admit(len(events), sum([len(event.payload) for event in events]), now.ms)
            return tuple([self.backlog.entry(event) for event in events])
        return self.backlog.number(events)

    def accepted(self, entries: Iterable[Entry], now: Now) -> None:
        """Takes in admitted events that are stored now."""
        for entry in entries:
            self.backlog.settle_in(self.backlog.enter(entry, len(entry.event.payload)), now)

    def not_accepted(self, entries: Sequence[Entry]) -> None:
        """Forgets admitted events that were not stored."""
        size_bytes = sum(len(entry.event.payload) for entry in entries)
        self.backlog.shares[entries[0].event.tenant].use.give_back(len(entries), size_bytes)

    def cancel(self, tenant: str, event_id: str, now: Now) -> bool:
        """Withdraws an event; True if its end is on its way to the store, False if it must end its run first.

        An attempt that succeeds all the same makes the event `ok`; any other end of it makes it `cancelled`.

        Raises:
            NotFound: the tenant has no such event that has not ended.
        """
        item = self.backlog.by_id.get(event_id)
        if item is None or item.event.tenant != tenant:
            raise NotFound(f"Tenant {tenant} has no event {event_id} under way.")
        item.cancelled = True
        if item.phase in (Phase.WAITING, Phase.DELAYED, Phase.READY):
            self.backlog.withdraw(item)
            self._commit(self._settling.cancelled(item, now))
        elif item.phase is Phase.LEASED:
            self._emit(Abort(item.executor, (item.token,)))
        return item.phase is Phase.COMMITTING

    # --- Settings -----------------------------------------------------------------------------------------

    def set_routes(
        self, routes: Routes, waiting: frozenset[tuple[str, str]] = frozenset(), *, complete: bool = True
    ) -> None:
        """Replaces the routing tables. Nothing is leased before the first ones.

        Args:
            routes: The current ones.
            waiting: (tenant, event) of events that will have a route soon: they stay queued.
            complete: False where newer ones may have more: no event is without a route then, it stays queued.
        """
        self._settling.routes = routes
        self._waiting = waiting
        self._complete = complete
        self.backlog.set_routes(routes)

    def route(self, tenant: str, event: str) -> Route | None:
        """Where an event goes now; None where no job defines it."""
        return self._settling.route(tenant, event)

    def set_quotas(self, quotas: Mapping[str, Quotas]) -> None:
        """Replaces what tenants may use."""
        self.backlog.set_quotas(quotas)

    # --- Leasing ------------------------------------------------------------------------------------------

    def pump(self, now: Now) -> bool:
        """Leases what can be leased; True if there may be more to do at once."""
        routes, fair = self._settling.routes, self.backlog.fair
        if routes is None or self.draining:
            return False
        for _ in range(_PUMP_MAX):
            share = fair.next()
            if share is None:
                return False
            queue = share.turns[0]
            item = queue.peek(self.backlog.items) if queue.may_lease else None
            if item is None:
                fair.drop(share)
                continue
            route = routes.find(share.tenant, item.event.event)
            if route is None and self._may_come(share.tenant, item.event.event):
                self._postpone_next(share, queue, item, now)
            elif route is None or item.event.hop > limits.HOPS_MAX:
                self._bury_next(share, queue, item, "no-route" if route is None else "loop", now)
            elif not self._lease_next(share, queue, item, route, now):
                return False
        return True

    def _may_come(self, tenant: str, event: str) -> bool:
        """True if an event that has no route may have one soon."""
        return not self._complete or (tenant, event) in self._waiting

    def _bury_next(self, share: Share, queue: Queue, item: Pending, reason: str, now: Now) -> None:
        queue.take()
        self.backlog.fair.drop(share)
        self._commit(self._settling.buried(item, reason, now))
        self.backlog.fair.offer(share, queue)

    def _postpone_next(self, share: Share, queue: Queue, item: Pending, now: Now) -> None:
        queue.take()
        self.backlog.fair.drop(share)
        self._put_back(item, now.ms + _RETRY_ROUTE_MS, now)
        self.backlog.fair.offer(share, queue)

    def _lease_next(self, share: Share, queue: Queue, item: Pending, route: Route, now: Now) -> bool:
        """Leases the next event of the tenant whose turn it is; False where no executor has room for it.

        NOTE: nothing overtakes an event that has no room, even what would fit: executors that hold a little
        work ahead are idle within HELD_AHEAD_MS if they are given no more, so its room comes at once.
        """
        estimate = self._estimates.of(route.runtime_spec)
        place = self.leasing.crew.place(item, estimate.us, now.ms)
        if place is Place.NO_ROOM:
            return False
        if place is Place.NO_SLOW_ROOM:
            self.backlog.fair.drop(share)
            queue.parked = True
            self._parked.append(queue)
            return True
        assert isinstance(place, Executor)
        queue.take()
        if route.queue.id == queue.name:
            queue.runs_max = route.queue.concurrency
        item.route, item.estimate = route, estimate
        self.leasing.grant(item, place, estimate.us, now)
        self.backlog.fair.leased(share, item.planned_us)
        if not item.event.ordered:
            self._send(item, now)
            return True
        # SAFETY: the lease of an ordered event is stored before the push. A listener that restarts then knows
        # that the event may be running, and runs neither it nor the next of its key beside it.
        item.phase = Phase.LEASING
        item.lease_stored = True
        lease = Lease(item.token, place.name, place.instance)
        self._commit(Step(item, StoreLease(item.seq, lease), token=item.token))
        return True

    def _send(self, item: Pending, now: Now) -> None:
        assert item.route is not None
        self.leasing.sent(item, now)
        self._sends.setdefault(item.executor, []).append(
            Assignment(
                item.seq,
                item.token,
                item.attempts + 1,
                item.event,
                item.route.revision.number,
                item.route.runtime_spec,
            )
        )

    # --- Settling -----------------------------------------------------------------------------------------

    def settled(self, executor: str, settlement: Settlement, now: Now) -> None:
        """Takes what came of an attempt; it counts only with the token of a lease that this executor has."""
        item = self.leasing.find(executor, settlement.token)
        if item is None:
            self._emit(Refused(executor, settlement.token))
            return
        if settlement.outcome is Outcome.CANCELLED and not item.cancelled:
            self.leasing.take_back(item, now)  # nobody has asked for that
            return
        item.suspect = False
        if item.estimate is not None and settlement.outcome not in (Outcome.CANCELLED, Outcome.KILLED):
            self.leasing.crew.ran(item, settlement.run_us, now.ms)
            item.estimate.observe(settlement.run_us)
        self.leasing.release(item, float(settlement.run_us), now)
        self._commit(self._settling.after_attempt(item, executor, settlement, now))

    def unreadable(self, executor: str, token: int, now: Now) -> None:
        """The payload of an event that was to be pushed cannot be read."""
        item = self.leasing.find(executor, token)
        if item is not None:
            self.leasing.release(item, 0.0, now)
            self._commit(self._settling.buried(item, "corrupt", now))

    def committed(self, step: Step, now: Now) -> None:
        """Goes on with an event whose change is stored."""
        self._committing -= 1
        item = step.item
        if isinstance(step.change, StoreLease):
            self._lease_stored(step, now)
        elif isinstance(step.change, Reschedule):
            item.attempts, item.deaths = step.change.attempts, step.change.deaths
            item.ready_wall_ms = step.change.ready_at_ms
            item.lease_stored = False
            self._put_back(item, step.due_ms, now)
        else:
            assert step.record is not None
            self.backlog.remove(item, now)
            self.accepted(step.follow_ups, now)
            self._emit(Resolved(step.record))

    def commit_failed(self, step: Step, now: Now) -> None:
        """Keeps what could not be stored and tries again; a lease that could not be stored is given up."""
        self._committing -= 1
        item = step.item
        if not isinstance(step.change, StoreLease):
            self._stuck.append((now.ms + _RETRY_COMMIT_MS, step))
        elif item.token == step.token and item.phase is Phase.LEASING:
            item.lease_stored = False
            self.leasing.release(item, 0.0, now)
            self._put_back(item, now.ms + _RETRY_COMMIT_MS, now)

    def tick(self, now: Now) -> None:
        """Does what is due: delayed events, lost executors, failed commits. Call it often: it is cheap."""
        self.backlog.wake(now)
        if self._stuck and self._stuck[0][0] <= now.ms:
            stuck, self._stuck = self._stuck, []
            for _, step in stuck:
                self._commit(self._renumbered(step))
        self.leasing.tick(now)
        self._unpark()

    def _lease_stored(self, step: Step, now: Now) -> None:
        item = step.item
        if item.token != step.token or item.phase is not Phase.LEASING:
            return  # its executor was lost meanwhile
        if item.cancelled:
            self.leasing.take_back(item, now)
        else:
            self._send(item, now)

    def _killed(self, item: Pending, executor: str, run_us: int, now: Now) -> None:
        error = f"Executor {executor} was lost while it ran the event."
        settlement = Settlement(item.token, Outcome.KILLED, error=error, run_us=run_us)
        self._commit(self._settling.after_attempt(item, executor, settlement, now))

    def _taken_back(self, item: Pending, now: Now) -> None:
        if item.lease_stored and not item.cancelled:
            item.lease_stored = False
            change = Reschedule(item.seq, item.attempts, item.deaths, item.ready_wall_ms, None)
            self._emit(Commit((change,)))
        self._put_back(item, now.ms, now)

    def _put_back(self, item: Pending, due_ms: int, now: Now) -> None:
        """Gives an event that is not leased its next turn, or ends it where somebody has withdrawn it."""
        if item.cancelled:
            self._commit(self._settling.cancelled(item, now))
            return
        item.due_ms = due_ms
        self.backlog.turn(item, now)

    def _renumbered(self, step: Step) -> Step:
        """The same step with new numbers for its follow-ups: others were stored since they were given."""
        if step.follow_ups:
            assert isinstance(step.change, Settle | Bury)
            step.follow_ups = tuple(self.backlog.entry(entry.event) for entry in step.follow_ups)
            step.change = msgspec.structs.replace(step.change, follow_ups=step.follow_ups)
        return step

    def _commit(self, step: Step) -> None:
        self._committing += 1
        self._emit(Commit((step.change,), step))

    def _emit(self, instruction: Instruction) -> None:
        self._out.append(instruction)

    def _unpark(self) -> None:
        """Lets queues whose next event is slow try again."""
        if self._parked:
            parked, self._parked = self._parked, []
            for queue in parked:
                queue.parked = False
                self.backlog.fair.offer(self.backlog.shares[queue.tenant], queue)
