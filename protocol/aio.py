"""The protocol on an asyncio loop: calls to nodes, and requests and messages answered by coroutines."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from jobico import limits
from jobico.errors import JobicoError, ProtocolError
from jobico.logs import Action, get_logger
from protocol import codec
from protocol.authorisation import LOCAL, Caller
from protocol.client import check_reply, missed, unreachable
from protocol.gate import Gate, Incoming
from protocol.messages import Failure, Message, ReplyT, Request
from protocol.sockets import Socket, Wire
from protocol.watching import Monitor, PeerEvent, Watch, watch

__all__ = ["AsyncClient", "AsyncHandler", "AsyncServer"]

AsyncHandler = Callable[[Any, Caller], Awaitable[Message]]
"""Answers a request, or raises a `JobicoError`."""


class AsyncClient:
    """Calls nodes, any number of calls at once. It belongs to one loop.

    Args:
        wire: Where its sockets come from.
        sender: What its messages say of who sends them; for people.
    """

    def __init__(self, wire: Wire, sender: str) -> None:
        self._wire = wire
        self._sender = sender
        self._peers: dict[tuple[str, str], _Peer] = {}
        self._count = itertools.count(1)

    async def call(
        self,
        endpoint: str,
        message: Request[ReplyT],
        *,
        timeout_ms: float = limits.CALL_TIMEOUT_MS,
        server_key: str = "",
    ) -> ReplyT:
        """The reply to `message`, of its `REPLY` type.

        Raises:
            NodeUnavailable: nobody was there to take it; it was not carried out.
            Unauthenticated: the peer does not let this process in; it was not carried out.
            DeadlineExceeded: no answer came in time; it may have been carried out.
            ProtocolError: the answer is not one.
            JobicoError: what the peer answered.
        """
        key = (endpoint, server_key)
        peer = self._peers.get(key)
        if peer is None:
            socket = self._wire.dealer(endpoint, server_key=server_key)
            monitor = Monitor(socket) if self._wire.secure else None
            peer = self._peers[key] = _Peer(endpoint, socket, monitor)
        correlation = str(next(self._count))
        frames = [b"", *codec.encode(message, correlation=correlation, sender=self._sender)]
        sent = False
        try:
            async with asyncio.timeout(timeout_ms / 1_000):
                while not (sent := peer.watch.send(frames)):
                    await peer.writable()
                reply = await peer.reply(correlation)
        except TimeoutError as error:
            raise (missed(endpoint, message, timeout_ms) if sent else peer.unreachable()) from error
        return check_reply(message, reply)

    def close(self) -> None:
        """Closes its sockets; calls under way are cancelled."""
        for peer in self._peers.values():
            peer.close()
        self._peers.clear()


class _Peer:
    """One DEALER and the calls that wait on it."""

    def __init__(self, endpoint: str, socket: Socket, monitor: Monitor | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._endpoint = endpoint
        self._socket = socket
        self._monitor = monitor
        self._replies: dict[str, asyncio.Future[Message]] = {}
        self._writers: list[asyncio.Future[None]] = []
        self.watch = watch(self._loop, socket, self._received, on_writable=self._wake_writers)

    async def writable(self) -> None:
        """Returns when a send may pass."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._writers.append(future)
        await future

    async def reply(self, correlation: str) -> Message:
        """The reply to the call of that correlation id."""
        future: asyncio.Future[Message] = self._loop.create_future()
        self._replies[correlation] = future
        try:
            return await future
        finally:
            del self._replies[correlation]

    def unreachable(self) -> JobicoError:
        """Why a request could not be sent."""
        events = [] if self._monitor is None else self._monitor.read()
        return unreachable(self._endpoint, refused=PeerEvent.REFUSED in events)

    def close(self) -> None:
        """Gives up all that wait."""
        self.watch.close()
        if self._monitor is not None:
            self._monitor.close()
        self._socket.close(linger=0)
        for reply in self._replies.values():
            reply.cancel()
        self._wake_writers()

    def _wake_writers(self) -> None:
        writers, self._writers = self._writers, []
        for future in writers:
            if not future.done():
                future.set_result(None)

    def _received(self, frames: list[bytes]) -> None:
        try:
            header, message = codec.decode(frames[1:], bytes_max=limits.UPLOAD_MESSAGE_BYTES_MAX)
        except ProtocolError as error:
            get_logger().warning("message refused", action=Action.MESSAGE_REFUSED, error=error.message)
            try:
                header = codec.decode_header(frames[1])
            except (ProtocolError, IndexError):
                return
            message = Failure(code=error.code, message=error.message)
        future = self._replies.get(header.correlation)
        if future is not None and not future.done():
            future.set_result(message)


class AsyncServer:
    """Answers the requests that come on a `rep` with coroutines, many at once. It belongs to one loop.

    Args:
        wire: What the socket comes from.
        socket: A `rep`.
        handlers: By the type of the request.
        bytes_max: The most that a request may take.
    """

    def __init__(
        self,
        wire: Wire,
        socket: Socket,
        handlers: Mapping[type[Message], AsyncHandler],
        *,
        bytes_max: int = limits.MESSAGE_BYTES_MAX,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = socket
        self._handlers = handlers
        self._gate = Gate(socket, handlers.keys(), wire=wire, bytes_max=bytes_max)
        self._tasks: set[asyncio.Task[None]] = set()
        self._watch = Watch(self._loop, socket, self._read_one)

    @property
    def refused(self) -> int:
        """How many messages were not taken."""
        return self._gate.refused

    async def close(self) -> None:
        """Takes no more requests and cancels those under way; the socket stays open."""
        self._watch.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _read_one(self) -> bool:
        received = self._gate.receive()
        if received is None:
            return False
        request = self._gate.request(*received)
        if isinstance(request, list):
            self._gate.send(request, received[1] or LOCAL)
            self._watch.look()
        elif request is not None:
            task = self._loop.create_task(self._carry_out(request))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return True

    async def _carry_out(self, request: Incoming) -> None:
        caller = request.caller
        reply: Message | BaseException
        try:
            self._gate.begin(caller)
            try:
                reply = await self._handlers[type(request.message)](request.message, caller)
            finally:
                self._gate.end(caller)
        except Exception as error:
            reply = error
        self._gate.send(self._gate.answer(request, reply), caller)
        self._watch.look()
