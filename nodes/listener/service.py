"""The listener as a whole: it makes the parts, and ends them in order.

It owns the life of the parts, and what is behind the routes of HTTP and behind the requests on the node's own
socket that are not the dispatcher's.
"""

import asyncio
import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from jobico import __version__
from jobico.clock import SystemClock
from jobico.errors import DeadlineExceeded, NodeUnavailable
from jobico.event import EventStatus
from jobico.logs import Action, configure_logging, get_logger
from jobico.settings import Settings
from nodes.beat import Beat
from nodes.lifecycle import Node
from nodes.listener.dispatcher import Dispatcher
from nodes.listener.intake import Intake
from nodes.listener.knowledge import Knowledge
from nodes.listener.query import PostQuery
from nodes.metrics import ListenerMetrics
from nodes.secrets import SecretTable, opening
from protocol.authorisation import Caller
from protocol.messages import EventsPosted, Message, Ping, Pong, PostEvents
from protocol.sockets import Wire

__all__ = ["Service"]

_READY_POLL_S: Final = 0.25


class Service:
    """Everything behind the HTTP routes."""

    def __init__(self, settings: Settings, url: str) -> None:
        self.settings = settings
        self.url = url
        self.name = settings.node_name or "listener"
        data_dir = settings.data_dir(self.name)
        configure_logging(self.name, settings.log_level, settings.log_path(self.name))
        self._wire = Wire(settings, self.name)
        self._node = Node(settings, "listener", self._wire, self.name)
        self._dispatcher = Dispatcher(
            settings,
            self._wire,
            data_dir / "queue",
            SystemClock(),
            self.name,
            self._node.instance,
            handlers={Ping: self._ping, PostEvents: self._post},
        )
        secrets = SecretTable(opening(settings.keys_dir))
        self.intake = Intake(self._dispatcher, secrets)
        self._knowledge = Knowledge(self._node, data_dir, self.intake, self._dispatcher, secrets)
        self.metrics = ListenerMetrics(self._dispatcher.load, self._knowledge.nodes)
        self._beat = Beat(settings, self._wire, self._node.info, self._knowledge.seen)
        self._draining = asyncio.Event()

    @property
    def failed(self) -> bool:
        """True where it stops because a part of it has died."""
        return self._node.failed

    async def start(self, stop: Callable[[], None]) -> None:
        """Opens the queue, follows control, and serves from the last snapshot where control is away.

        Args:
            stop: Called on the loop when the node is to stop.

        Raises:
            JobicoError: the queue cannot be opened or a socket cannot be bound.
        """
        loop = asyncio.get_running_loop()
        self._node.log.info("started", action=Action.NODE_STARTED, role="listener", url=self.url)
        await self._dispatcher.start()
        self._node.endpoints = {**self._dispatcher.endpoints, "http": self.url}
        self._node.load = self._dispatcher.load
        self._node.on_ready_changed(self._beat.nudge)
        self._node.on_drain(functools.partial(_call_soon, loop, stop))
        await self._knowledge.start()
        self._beat.start()
        self._watching = asyncio.create_task(self._watch_readiness())

    def begin_drain(self) -> None:
        """Answers those who wait for an outcome, and is not ready from now on."""
        self._draining.set()
        self._node.drain()

    async def stop(self) -> None:
        """Lets what runs settle, then closes all parts."""
        self._watching.cancel()
        await self._dispatcher.drain()
        # NOTE: each may sit out a call to a node that is away, so they sit it out together.
        await asyncio.gather(*map(asyncio.to_thread, (self._beat.stop, self._knowledge.stop)))
        await self._dispatcher.close()
        self._wire.close()
        self._node.log.info("stopped", action=Action.NODE_STOPPED)

    def unready_reason(self) -> str:
        """Why events cannot be taken now, for people; empty when they can."""
        if self._draining.is_set():
            return "The listener is stopping."
        return self._knowledge.unready_reason() or self._dispatcher.unready_reason()

    async def status(self, tenant: str, event_id: str) -> EventStatus:
        """What is known of an event.

        Raises:
            NotFound: the tenant has no such event.
            NodeUnavailable: it has left the queue, and the recorder is away.
        """
        with _recorder_away():
            return await self._dispatcher.status(tenant, event_id)

    async def cancel(self, tenant: str, event_id: str) -> None:
        """Withdraws an event.

        Raises:
            NotFound: the tenant has no such event.
            Conflict: it has ended.
        """
        with _recorder_away():
            await self._dispatcher.cancel(tenant, event_id)

    async def wait(self, event_id: str, wait_ms: int) -> EventStatus | None:
        """Waits for the outcome of an event; None where it does not come in time or the node is stopping."""
        outcome = asyncio.ensure_future(self._dispatcher.wait(event_id, wait_ms / 1_000))
        stopping = asyncio.ensure_future(self._draining.wait())
        try:
            await asyncio.wait({outcome, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return outcome.result() if outcome.done() else None
        finally:
            outcome.cancel()
            stopping.cancel()

    def schemas_of(self, tenant: str) -> Mapping[str, object]:
        """The schema of each event that senders may post, by event; None where it takes any JSON."""
        return self._knowledge.schemas_of(tenant)

    # --- Requests on the node's own socket ---

    async def _ping(self, _request: Ping, _caller: Caller) -> Message:
        """Tells up to which change of control's tables requests are judged by."""
        seq = await self._knowledge.reached()
        return Pong(node=self.name, ready=self._node.ready, version=__version__, seq=seq)

    async def _post(self, request: PostEvents, caller: Caller) -> Message:
        """Takes events from whom the socket has let in."""
        caller.check_tenant(request.tenant)
        admission = self.intake.admit_trusted(request.tenant, request.event)
        accepted = await self.intake.take(admission, request.body, PostQuery(), request.request_id)
        return EventsPosted(ids=accepted.ids)

    async def _watch_readiness(self) -> None:
        while True:
            self._node.set_ready(not self.unready_reason())
            await asyncio.sleep(_READY_POLL_S)


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    loop.call_soon_threadsafe(callback)


@contextlib.contextmanager
def _recorder_away() -> Iterator[None]:
    """SECURITY: where our sockets are is not for strangers."""
    try:
        yield
    except (NodeUnavailable, DeadlineExceeded) as error:
        get_logger().warning(error.message, action=Action.REQUEST_FAILED, code=error.code)
        raise NodeUnavailable(
            "What came of events that have ended cannot be looked up now; ask again."
        ) from error
