"""Answers to what is asked of the listener's REP socket: events, dead letters, queues, the clock's events.

It owns no state. The role of a caller has been checked against the type of the request; that a tenant's key
reaches its own things only is checked here.
"""

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from jobico import __version__, limits
from jobico.change import AcceptResult, Change, DeadLetter, Entry, IdempotencyKey, Purge, Replay
from jobico.clock import Clock, Now
from jobico.definition import Order
from jobico.delivery import DeliveryMachine
from jobico.errors import CallerError, InvalidInput, NotFound
from jobico.event import Event, EventStatus, Source
from jobico.ids import new_event_id
from jobico.ordering import Pending, Queue
from jobico.payload import order_key, parse_json
from jobico.routes import Route
from jobico.storage.queue import EventQueue
from protocol import messages as m
from protocol.aio import AsyncHandler
from protocol.authorisation import Caller

__all__ = ["Desk", "RequestHandlers"]

_SCANNED_MAX: Final = 100_000  # events that one question looks at
_CHUNK: Final = 100  # dead letters of one transaction


class Desk(Protocol):
    """The part of the dispatcher that requests use."""

    machine: DeliveryMachine

    def unready_reason(self) -> str:
        """Why events cannot be taken now; empty when they can."""
        ...

    async def accept(
        self, events: Sequence[Event], idempotency: IdempotencyKey | None = None
    ) -> AcceptResult:
        """Stores events of one tenant, all or none."""
        ...

    async def status(self, tenant: str, event_id: str) -> EventStatus:
        """What is known of an event."""
        ...

    async def cancel(self, tenant: str, event_id: str) -> None:
        """Withdraws an event."""
        ...

    async def change(self, changes: Sequence[Change]) -> Sequence[Any]:
        """Has changes stored; returns their results."""
        ...

    def touch(self) -> None:
        """Has what can be leased leased soon."""
        ...


class RequestHandlers:
    """The handlers by type of request.

    Args:
        name: Of this node.
        desk: Who does what is asked.
        queue: Where dead letters are.
        clock: For stamps.
    """

    def __init__(self, name: str, desk: Desk, queue: EventQueue, clock: Clock) -> None:
        self._name = name
        self._desk = desk
        self._queue = queue
        self._clock = clock

    def table(self) -> Mapping[type[m.Message], AsyncHandler]:
        """The handlers."""
        return {
            m.Ping: self._ping,
            m.ShowEvent: self._show,
            m.ListEvents: self._list,
            m.CancelEvent: self._cancel,
            m.EmitEvent: self._emit,
            m.ListDeadLetters: self._dead_letters,
            m.ReplayDeadLetters: self._replay,
            m.PurgeDeadLetters: self._purge,
            m.ListQueues: self._queues,
        }

    async def _ping(self, _request: m.Ping, _caller: Caller) -> m.Message:
        return m.Pong(node=self._name, ready=not self._desk.unready_reason(), version=__version__)

    # --- Events -------------------------------------------------------------------------------------------

    async def _show(self, request: m.ShowEvent, caller: Caller) -> m.Message:
        caller.check_tenant(request.tenant)
        return m.EventShown(status=await self._desk.status(request.tenant, request.id))

    async def _list(self, request: m.ListEvents, caller: Caller) -> m.Message:
        tenant = _own(request.tenant, caller)
        found: list[dict[str, Any]] = []
        total = 0
        for item in itertools.islice(self._desk.machine.backlog.items.values(), _SCANNED_MAX):
            if _matches(item, tenant, request):
                total += 1
                if len(found) < min(request.limit, limits.QUERY_ROWS_MAX):
                    found.append(_row(item))
        return m.Events(items=tuple(found), total=total)

    async def _cancel(self, request: m.CancelEvent, caller: Caller) -> m.Message:
        caller.check_tenant(request.tenant)
        await self._desk.cancel(request.tenant, request.id)
        return m.Done()

    async def _emit(self, request: m.EmitEvent, _caller: Caller) -> m.Message:
        route = self._desk.machine.route(request.tenant, request.event)
        if route is None:
            raise NotFound(f"Tenant {request.tenant} has no event {request.event}.")
        now = Now.of(self._clock)
        event = _scheduled(route, request.payload, now)
        key = IdempotencyKey(
            key=f"schedule/{request.tenant}/{request.event}/{request.key}",
            body_digest=hashlib.sha256(request.payload).digest(),
            now_ms=now.wall_ms,
            expires_ms=now.wall_ms + limits.IDEMPOTENCY_WINDOW_MS,
        )
        result = await self._desk.accept([event], key)
        return m.EventAccepted(id=result.ids[0])

    async def _queues(self, request: m.ListQueues, caller: Caller) -> m.Message:
        tenant = _own(request.tenant, caller)
        machine = self._desk.machine
        dead = {
            place: count for place, count in self._queue.dead_counts().items() if tenant in ("", place[0])
        }
        rows = []
        for place, queue in machine.backlog.queues.items():
            if tenant in ("", queue.tenant):
                rows.append(_depth(queue, machine.backlog.items, dead.pop(place, 0)))
        rows += [_depth(Queue(*place), {}, count) for place, count in dead.items()]
        # SECURITY: how much is recorded of others is not a tenant's to know.
        return m.Queues(items=tuple(rows), outbox=self._queue.outbox_rows if caller.trusted else 0)

    # --- Dead letters -------------------------------------------------------------------------------------

    async def _dead_letters(self, request: m.ListDeadLetters, caller: Caller) -> m.Message:
        tenant = _own(request.tenant, caller)
        limit = min(max(request.limit, 1), limits.QUERY_ROWS_MAX)
        letters = self._queue.dead_letters(tenant, request.event, request.reason, request.before, limit)
        total = self._queue.dead_count(tenant, request.event, request.reason)
        return m.DeadLetters(items=tuple(letters), total=total)

    async def _replay(self, request: m.ReplayDeadLetters, caller: Caller) -> m.Message:
        caller.check_tenant(request.tenant)
        ids, more = self._chosen(request)
        count = 0
        for chunk in _chunks(ids):
            count += await self._replay_chunk(request.tenant, chunk)
        return m.Counted(count=count, more=more)

    async def _replay_chunk(self, tenant: str, ids: Sequence[str]) -> int:
        machine = self._desk.machine
        now = Now.of(self._clock)
        letters = [letter for letter in map(self._queue.dead_letter, ids) if letter is not None]
        replayed = [_replayed(letter, machine.route(tenant, letter.event.event), now) for letter in letters]
        if not replayed:
            return 0
        entries = machine.admit(replayed, now, forced=True)
        changes = [Replay(letter.event.id, entry) for letter, entry in zip(letters, entries, strict=True)]
        try:
            results = await self._desk.change(changes)
        except BaseException:
            machine.not_accepted(entries)
            raise
        stored: list[Entry] = []
        for entry, done in zip(entries, results, strict=True):
            if done:
                stored.append(entry)
            else:
                machine.not_accepted((entry,))
        machine.accepted(stored, Now.of(self._clock))
        self._desk.touch()
        return len(stored)

    async def _purge(self, request: m.PurgeDeadLetters, caller: Caller) -> m.Message:
        caller.check_tenant(request.tenant)
        ids, more = self._chosen(request)
        count = 0
        for chunk in _chunks(ids):
            count += sum(await self._desk.change([Purge(event_id) for event_id in chunk]))
        return m.Counted(count=count, more=more)

    def _chosen(self, request: m.ReplayDeadLetters | m.PurgeDeadLetters) -> tuple[list[str], bool]:
        """The ids of the dead letters that a request is about, and whether more match."""
        if request.ids:
            for event_id in request.ids[: limits.QUERY_ROWS_MAX]:
                letter = self._queue.dead_letter(event_id)
                if letter is None or letter.event.tenant != request.tenant:
                    raise NotFound(f"Tenant {request.tenant} has no dead letter {event_id}.")
            return list(request.ids[: limits.QUERY_ROWS_MAX]), len(request.ids) > limits.QUERY_ROWS_MAX
        if request.limit < 1:
            raise InvalidInput("The limit must be at least 1.")
        limit = min(request.limit, limits.QUERY_ROWS_MAX)
        letters = self._queue.dead_letters(request.tenant, request.event, request.reason, "", limit)
        total = self._queue.dead_count(request.tenant, request.event, request.reason)
        return [letter.event.id for letter in letters], total > len(letters)


def _own(tenant: str, caller: Caller) -> str:
    """The tenant that a question is about; a tenant's key asks about its own where it names none."""
    if tenant:
        caller.check_tenant(tenant)
    return tenant or caller.tenant


def _matches(item: Pending, tenant: str, request: m.ListEvents) -> bool:
    event = item.event
    return (
        tenant in ("", event.tenant)
        and request.event in ("", event.event)
        and request.state in ("", item.state)
    )


def _row(item: Pending) -> dict[str, Any]:
    event = item.event
    return {
        "id": event.id,
        "tenant": event.tenant,
        "event": event.event,
        "job": event.job,
        "queue": event.queue,
        "state": item.state.value,
        "attempts": item.attempts,
        "accepted_ms": event.accepted_ms,
        "ready_at_ms": item.ready_wall_ms,
        "executor": item.executor,
    }


def _depth(queue: Queue, items: Mapping[int, Pending], dead: int) -> dict[str, Any]:
    oldest = items.get(queue.oldest_seq)
    return {
        "tenant": queue.tenant,
        "job": queue.job,
        "queue": queue.name,
        "ready": queue.count - queue.runs - queue.delayed,
        "delayed": queue.delayed,
        "running": queue.runs,
        "bytes": queue.size_bytes,
        "oldest_ms": oldest.event.accepted_ms if oldest is not None else 0,
        "dead": dead,
    }


def _scheduled(route: Route, payload: bytes, now: Now) -> Event:
    order = route.queue.order
    key = order_key(parse_json(payload), route.queue.key) if order is Order.KEY else ""
    return Event(
        id=new_event_id(),
        tenant=route.tenant,
        event=route.event.id,
        job=route.job,
        queue=route.queue.id,
        payload=payload,
        accepted_ms=now.wall_ms,
        order_key=key,
        ordered=order is not Order.NONE,
        source=Source.SCHEDULE,
    )


def _replayed(letter: DeadLetter, route: Route | None, now: Now) -> Event:
    """A new event from a dead letter: a new id, so that the record of its end stays what it is."""
    old = letter.event
    fresh = msgspec.structs.replace(
        old,
        id=new_event_id(),
        accepted_ms=now.wall_ms,
        ready_at_ms=0,
        source=Source.REPLAY,
        parent=old.id,
        hop=0,
    )
    if route is None:
        return fresh
    order, key = route.queue.order, ""
    if order is Order.KEY:
        try:
            key = order_key(parse_json(old.payload), route.queue.key)
        except CallerError:
            key = ""
    return msgspec.structs.replace(
        fresh, job=route.job, queue=route.queue.id, ordered=order is not Order.NONE, order_key=key
    )


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _CHUNK):
        yield ids[start : start + _CHUNK]
