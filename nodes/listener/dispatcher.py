"""The listener's dispatcher: what the HTTP side, the executors and the recorder see of the event queue.

It owns the queue of this node (one `EventQueue`), the links to executors and recorder, and the sockets that
the listener binds; it lives on one asyncio loop and is not thread-safe. It never decides anything about an
event: it gives inputs to `jobico.delivery` and has the instructions carried out. It never reads HTTP.
"""

import asyncio
import contextlib
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from jobico.change import Accept, AcceptResult, Change, Forget, IdempotencyKey
from jobico.clock import Clock, Now
from jobico.delivery import DeliveryMachine
from jobico.errors import Conflict, JobicoError, NotFound
from jobico.event import Event, EventStatus
from jobico.ids import new_event_id
from jobico.instruction import Step
from jobico.logs import Action, get_logger
from jobico.registry import NodeInfo
from jobico.routes import Routes
from jobico.settings import Settings
from jobico.storage.queue import Applied, EventQueue
from jobico.tenancy import Quotas
from nodes.listener.courier import Courier
from nodes.listener.mailbox import Mailbox
from nodes.listener.outbox import Outbox
from nodes.listener.payloads import Payloads
from nodes.listener.peers import Peers, executor_addresses
from nodes.listener.requests import RequestHandlers
from nodes.listener.tracking import Tracker
from nodes.peers import Peer
from nodes.peers import Peers as Registry
from protocol.aio import AsyncClient, AsyncHandler, AsyncServer
from protocol.messages import Message
from protocol.sockets import Wire, advertised, endpoint

__all__ = ["Dispatcher"]

_TICK_MS: Final = 20
_FORGET_MS: Final = 60_000
_CANCEL_WAIT_S: Final = 2.0


class _Accepting:
    """Events on their way to the store, and who waits for that."""

    __slots__ = ("entries", "future")

    def __init__(self, entries: tuple[Any, ...], future: "asyncio.Future[AcceptResult]") -> None:
        self.entries = entries
        self.future = future


class Dispatcher:
    """Takes events in, sees them through, and tells how they are doing.

    Args:
        settings: Where sockets are, and how long leases last.
        wire: The sockets of this process.
        path: The directory of the queue.
        clock: Where time comes from.
        node_name: Of this listener.
        instance: Of this run of it.
        rng: Where the jitter of retries comes from.
        handlers: Of requests on the listener's REP that others answer; they win over its own.
    """

    def __init__(  # noqa: PLR0917 - made in one place
        self,
        settings: Settings,
        wire: Wire,
        path: Path,
        clock: Clock,
        node_name: str,
        instance: str,
        *,
        rng: random.Random | None = None,
        handlers: Mapping[type[Message], AsyncHandler] | None = None,
    ) -> None:
        self._settings = settings
        self._wire = wire
        self._path = path
        self._clock = clock
        self._name = node_name
        self._instance = instance
        self._rng = rng or random.Random()  # noqa: S311 - jitter is no secret
        self._handlers = dict(handlers or {})
        self._registry = Registry(settings)
        self._log = get_logger()
        self._endpoints: dict[str, str] = {}
        self._started = False
        self._advancing = False
        self._forgot_ms = 0
        self._idle = asyncio.Event()

    # --- Life ---------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Opens and recovers the queue, binds the sockets; call it once, on the loop that runs everything.

        Raises:
            StorageUnavailable, StoreVersion: the queue cannot be opened.
            AlreadyExists, NodeUnavailable: a socket cannot be bound.
        """
        self._loop = asyncio.get_running_loop()
        self._queue = EventQueue.open(
            self._path, map_bytes=self._settings.queue_map_bytes, on_commit=self._on_commit
        )
        self._payloads = Payloads(self._queue)
        self.machine = DeliveryMachine(
            self._queue.incarnation,
            self._queue.next_seq,
            listener=self._name,
            payload_of=self._payloads.of,
            new_id=new_event_id,
            rng=self._rng,
            lease_ms=self._settings.lease_ms,
        )
        self.machine.recover(self._queue.recover(), self._now())
        self._client = AsyncClient(self._wire, self._name)
        self.tracker = Tracker(
            self.machine, self._queue, self._client, lambda: self._registry.of_role("recorder", "rep")
        )
        self._outbox = Outbox(self._wire, self._queue, self._name, self._clock)
        self._peers = Peers(self._wire, self._name, self._instance, self._lost)
        self._courier = Courier(
            self._name,
            self.machine,
            self._queue,
            self._payloads,
            self._peers,
            resolved=self.tracker.resolved,
            now=self._now,
        )
        self._bind()
        self._started = True
        self.set_nodes(())
        self._ticking = self._loop.create_task(self._tick_forever())

    def _bind(self) -> None:
        pull = self._wire.pull(endpoint(self._settings, self._name, "settlements"))
        self._mailbox = Mailbox(
            self._wire, pull, self.machine, self._peers, self._outbox, now=self._now, touch=self.touch
        )
        rep = self._wire.rep(endpoint(self._settings, self._name, "rep"))
        handlers = RequestHandlers(self._name, self, self._queue, self._clock).table()
        self._server = AsyncServer(self._wire, rep, {**handlers, **self._handlers})
        self._sockets = (pull, rep)
        self._endpoints = {
            "settlements": advertised(self._settings, pull),
            "rep": advertised(self._settings, rep),
        }

    async def drain(self) -> None:
        """Stops leasing and waits for what runs, `drain_ms` at most; accepting is the caller's to stop."""
        self.machine.draining = True
        if self.machine.busy:
            self._idle.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), self._settings.drain_ms / 1_000)

    async def close(self) -> None:
        """Closes sockets and queue; what is unsettled stays in the store."""
        if not self._started:
            return
        self._started = False
        self._ticking.cancel()
        await asyncio.gather(self._ticking, return_exceptions=True)
        await self._server.close()
        self._mailbox.close()
        self._peers.close()
        self._outbox.close()
        self._client.close()
        for socket in self._sockets:
            socket.close(linger=0)
        await asyncio.to_thread(self._queue.close)

    # --- State --------------------------------------------------------------------------------------------

    @property
    def endpoints(self) -> Mapping[str, str]:
        """What this node binds, by socket name (`rep`, `settlements`), for the registry; after `start`."""
        return self._endpoints

    def unready_reason(self) -> str:
        """Why events cannot be taken now, for people; empty when they can."""
        if not self._started:
            return "The event queue is not open."
        if not self._queue.available:
            return "The event queue cannot store: its disk or its map is full, or fails."
        return ""

    def load(self) -> dict[str, float]:
        """What the registry shows of this node."""
        if not self._started:
            return {}
        queues = self.machine.backlog.queues.values()
        running = sum(queue.runs for queue in queues)
        delayed = sum(queue.delayed for queue in queues)
        return {
            "queued": len(self.machine.backlog.items) - running - delayed,
            "running": running,
            "delayed": delayed,
            "outbox": self._queue.outbox_rows,
            "dead": self._queue.dead_count(),
            "executors": sum(one.joined for one in self.machine.leasing.crew.executors.values()),
            "refused": self._mailbox.refused + self._server.refused,
        }

    def set_routes(
        self, routes: Routes, waiting: frozenset[tuple[str, str]] = frozenset(), *, complete: bool = True
    ) -> None:
        """Replaces the routing tables; the next delivery of an event uses them.

        Args:
            routes: The current ones.
            waiting: (tenant, event) of events whose job is known but not ready: they stay queued.
            complete: False where they may be older than events in the queue.
        """
        self.machine.set_routes(routes, waiting, complete=complete)
        self.touch()

    def set_quotas(self, quotas: Mapping[str, Quotas]) -> None:
        """Replaces what tenants may use, by tenant."""
        self.machine.set_quotas(quotas)
        self.touch()

    def set_nodes(self, nodes: Sequence[NodeInfo]) -> None:
        """Replaces what is known of other nodes: executors are linked, the recorder is found."""
        self._registry.replace({node.name: node for node in nodes})
        self._peers.replace(executor_addresses(nodes))
        with contextlib.suppress(JobicoError):
            recorder: Peer = self._registry.of_role("recorder", "records")
            self._outbox.set_recorder(recorder.endpoint, recorder.server_key)

    # --- Events -------------------------------------------------------------------------------------------

    async def accept(
        self, events: Sequence[Event], idempotency: IdempotencyKey | None = None
    ) -> AcceptResult:
        """Stores events of one tenant, all or none, and returns when they are synced to disk.

        Raises:
            QuotaExceeded: the tenant is over a quota; `retry_after_s` tells when the call should pass.
            TooLarge: the batch can never fit the tenant's quota.
            Conflict: the idempotency key was used with another body.
            StorageUnavailable: the queue cannot store now; nothing was stored.
        """
        self._courier.carry_out()  # numbers that were given are stored in their order
        entries = self.machine.admit(events, self._now())
        future: asyncio.Future[AcceptResult] = self._loop.create_future()
        self._queue.apply([Accept(entries, idempotency)], _Accepting(entries, future))
        return await future

    async def wait(self, event_id: str, timeout_s: float) -> EventStatus | None:
        """Waits for the outcome of an event; None where it does not come in time, or the event is unknown."""
        return await self.tracker.wait(event_id, timeout_s)

    async def status(self, tenant: str, event_id: str) -> EventStatus:
        """What is known of an event, from the queue or from the recorder.

        Raises:
            NotFound: the tenant has no such event.
            NodeUnavailable: the queue no longer has it and the recorder is away.
        """
        return await self.tracker.status(tenant, event_id)

    async def cancel(self, tenant: str, event_id: str) -> None:
        """Withdraws an event; returns when that is stored or, where it runs, when its executor was told.

        Raises:
            NotFound: the tenant has no such event.
            Conflict: it has ended already.
        """
        try:
            ending = self.machine.cancel(tenant, event_id, self._now())
        except NotFound:
            ended = await self.tracker.status(tenant, event_id)
            raise Conflict(f"Event {event_id} has ended already: it is {ended.state}.") from None
        self._courier.carry_out()
        if ending:
            await self.tracker.end_of(event_id, _CANCEL_WAIT_S)

    async def change(self, changes: Sequence[Change]) -> Sequence[Any]:
        """Has changes stored that are not about an event under way; returns their results.

        Raises:
            StorageUnavailable: the queue cannot store now.
        """
        self._courier.carry_out()
        future: asyncio.Future[Sequence[Any]] = self._loop.create_future()
        self._queue.apply(changes, future)
        return await future

    # --- The store's answers ------------------------------------------------------------------------------

    def _on_commit(self, applied: Sequence[Applied]) -> None:
        """Called in the thread of the queue's writer."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._committed, applied)

    def _committed(self, applied: Sequence[Applied]) -> None:
        now = self._now()
        for one in applied:
            try:
                self._take_answer(*one, now)
            except Exception:  # a fault with one event must not be one with those that were stored beside it
                self._log.exception("an answer of the store was not taken", action=Action.NODE_FAILED)
        self._advance()
        self._outbox.ship()

    def _take_answer(
        self, tag: object, results: tuple[Any, ...], error: JobicoError | None, now: Now
    ) -> None:
        if isinstance(tag, _Accepting):
            self._stored(tag, results, error, now)
        elif isinstance(tag, Step):
            if error is None:
                self._take_step(tag, now)
            else:
                self.machine.commit_failed(tag, now)
        elif isinstance(tag, asyncio.Future) and not tag.done():
            if error is None:
                tag.set_result(results)
            else:
                tag.set_exception(error)

    def _take_step(self, step: Step, now: Now) -> None:
        if step.final:
            self._payloads.drop(step.item.seq)
            self._payloads.keep(step.follow_ups)
        self.machine.committed(step, now)

    def _stored(self, tag: _Accepting, results: tuple[Any, ...], error: JobicoError | None, now: Now) -> None:
        if error is None and results[0].fresh:
            self._payloads.keep(tag.entries)
            self.machine.accepted(tag.entries, now)
        else:
            self.machine.not_accepted(tag.entries)
        if tag.future.done():
            return  # the sender has gone away; its event stays
        if error is None:
            tag.future.set_result(results[0])
        else:
            tag.future.set_exception(error)

    # --- Instructions -------------------------------------------------------------------------------------

    def touch(self) -> None:
        """Has what can be leased leased, once after the inputs of this turn of the loop."""
        if not self._advancing:
            self._advancing = True
            self._loop.call_soon(self._advance)

    def _advance(self) -> None:
        self._advancing = False
        if not self._started:
            return
        if self.machine.pump(self._now()):
            self.touch()
        self._courier.carry_out()
        if self.machine.draining and not self.machine.busy:
            self._idle.set()

    def _lost(self, executor: str) -> None:
        self.machine.leasing.disconnected(executor, self._now())
        self.touch()

    # --- Time ---------------------------------------------------------------------------------------------

    async def _tick_forever(self) -> None:
        while True:
            await asyncio.sleep(_TICK_MS / 1_000)
            try:
                self._tick()
            except Exception:  # the tick must go on: leases depend on it
                self._log.exception("a tick failed", action=Action.NODE_FAILED)

    def _tick(self) -> None:
        now = self._now()
        self.machine.tick(now)
        self._peers.tick(now.ms)
        for name in self._peers.retire(self._holds_nothing):
            self.machine.leasing.removed(name, now)
        self._outbox.tick(now.ms)
        if now.ms - self._forgot_ms >= _FORGET_MS:
            self._forgot_ms = now.ms
            self._queue.apply([Forget(now.wall_ms)], None)
        self._advance()

    def _holds_nothing(self, executor: str) -> bool:
        member = self.machine.leasing.crew.executors.get(executor)
        return member is None or member.idle

    def _now(self) -> Now:
        return Now.of(self._clock)
