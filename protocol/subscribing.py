"""Hearing a PUB feed, and of the connection to it: what is missed while it was down must be asked for."""

import asyncio
import math

import zmq

from jobico.errors import ProtocolError
from jobico.logs import Action, get_logger
from protocol import codec
from protocol.messages import Message
from protocol.sockets import Wire
from protocol.watching import Monitor, PeerEvent

__all__ = ["AsyncSubscriber", "Subscriber"]


class Subscriber:
    """A subscription to topics of a feed. It belongs to one thread.

    Args:
        wire: Where its sockets come from.
        endpoint: Of the PUB.
        topics: What the topics begin with; what the key may not have never comes.
        server_key: With `tcp`, the public key of the node.
    """

    def __init__(self, wire: Wire, endpoint: str, topics: list[str], *, server_key: str = "") -> None:
        self._socket = wire.sub(endpoint, topics, server_key=server_key)
        self._monitor = Monitor(self._socket)
        self._events: list[PeerEvent] = []
        self._log = get_logger()

    def receive(self, timeout_ms: float) -> Message | PeerEvent | None:
        """The next message or change of the connection; None where there is none in time."""
        item = self.take()
        if item is None:
            poller = zmq.Poller()
            poller.register(self._socket, zmq.POLLIN)
            poller.register(self._monitor.socket, zmq.POLLIN)
            poller.poll(math.ceil(timeout_ms))
            item = self.take()
        return item

    def take(self) -> Message | PeerEvent | None:
        """The next message or change of the connection that is there already."""
        self._events.extend(self._monitor.read())
        if self._events:
            return self._events.pop(0)
        while True:
            try:
                frames = self._socket.recv_multipart(flags=zmq.DONTWAIT)
            except zmq.Again:
                return None
            try:
                return codec.decode(frames[1:])[1]
            except ProtocolError as error:
                self._log.warning("message refused", action=Action.MESSAGE_REFUSED, error=error.message)

    def descriptors(self) -> tuple[int, int]:
        """File descriptors that become readable when `take` may find something."""
        return int(self._socket.getsockopt(zmq.FD)), int(self._monitor.socket.getsockopt(zmq.FD))

    def close(self) -> None:
        """Ends the subscription."""
        self._monitor.close()
        self._socket.close(linger=0)


class AsyncSubscriber:
    """A `Subscriber` on an asyncio loop; one coroutine receives at a time."""

    def __init__(self, wire: Wire, endpoint: str, topics: list[str], *, server_key: str = "") -> None:
        self._subscriber = Subscriber(wire, endpoint, topics, server_key=server_key)
        self._loop = asyncio.get_running_loop()

    async def receive(self) -> Message | PeerEvent:
        """The next message or change of the connection."""
        while True:
            item = self._subscriber.take()
            if item is not None:
                return item
            await self._readable()

    def close(self) -> None:
        """Ends the subscription; nobody may be receiving."""
        self._subscriber.close()

    async def _readable(self) -> None:
        """Returns when there may be something to take.

        NOTE: a descriptor stays readable until its socket is read: it is watched only while somebody waits.
        """
        ready = self._loop.create_future()

        def wake() -> None:
            if not ready.done():
                ready.set_result(None)

        descriptors = self._subscriber.descriptors()
        for descriptor in descriptors:
            self._loop.add_reader(descriptor, wake)
        try:
            await ready
        finally:
            for descriptor in descriptors:
                self._loop.remove_reader(descriptor)
