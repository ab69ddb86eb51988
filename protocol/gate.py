"""What a server does to bytes before a handler sees a message, and to an answer before it is bytes.

Both servers (`server.py` on a poll loop, `aio.py` on asyncio) stand on it. Garbage is counted, and logged at
most once a second; it never raises.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import zmq

from jobico import limits
from jobico.errors import Internal, JobicoError, NodeUnavailable, ProtocolError, TooLarge, Unauthenticated
from jobico.logs import Action, get_logger
from protocol import codec
from protocol.authorisation import LOCAL, Caller, authorise
from protocol.messages import Failure, Message
from protocol.sockets import Socket, Wire, try_send

__all__ = ["Gate", "Incoming"]

_LOG_EACH_S: Final = 1.0
_ENVELOPE_FRAMES_MAX: Final = 4
_SLOW_S: Final = 1.0


class Incoming(NamedTuple):
    """A request that may be carried out, and the way back to who asked."""

    envelope: list[bytes]
    correlation: str
    message: Message
    caller: Caller
    begun_s: float


class Gate:
    """The checks on one socket.

    Args:
        socket: What messages come from.
        kinds: The types that it takes.
        wire: What the socket came from.
        trusted: True for a socket that connected: CURVE has proved who the peer is.
        bytes_max: The most that a payload may take.

    Attributes:
        refused: How many messages were no message, or not the sender's to send.
    """

    def __init__(
        self,
        socket: Socket,
        kinds: Collection[type[Message]],
        *,
        wire: Wire,
        trusted: bool = False,
        bytes_max: int = limits.MESSAGE_BYTES_MAX,
    ) -> None:
        self._socket = socket
        self._kinds = frozenset(kinds)
        self._sender = wire.name
        self._trusted = trusted
        self._keyring = None if trusted else wire.keyring
        self._bytes_max = bytes_max
        self._logged_s = -_LOG_EACH_S
        self._log = get_logger()
        self._under_way = 0
        self._tenants_under_way: Counter[str] = Counter()
        self._unread: dict[str, list[tuple[zmq.MessageTracker, int]]] = {}
        self.refused = 0

    def receive(self) -> tuple[list[bytes], Caller | None] | None:
        """The next message that is there and who sent it (None: a key that is not let in), or None."""
        try:
            if self._keyring is None:
                return self._socket.recv_multipart(flags=zmq.DONTWAIT), LOCAL
            frames = self._socket.recv_multipart(flags=zmq.DONTWAIT, copy=False)
        except zmq.Again:
            return None
        return [frame.bytes for frame in frames], self._caller_of(frames[-1])

    def message(self, frames: Sequence[bytes], caller: Caller | None) -> Message | None:
        """The message in frames that no answer is due for, or None."""
        try:
            return self._admit(frames, caller)
        except JobicoError as error:
            self.refuse(error)
            return None

    def request(self, frames: list[bytes], caller: Caller | None) -> Incoming | list[bytes] | None:
        """The request in frames with an envelope, or the frames that refuse it, or None: nothing to send."""
        begun_s = time.monotonic()
        try:
            end = frames.index(b"", 1, _ENVELOPE_FRAMES_MAX) + 1
        except ValueError:
            self.refuse(ProtocolError("A request has an envelope that ends with an empty frame."))
            return None
        envelope, content = frames[:end], frames[end:]
        try:
            message = self._admit(content, caller)
            correlation = codec.decode_header(content[0]).correlation
        except JobicoError as error:
            self.refuse(error)
            # SECURITY: a key that is not let in is cut off, so it hears nothing.
            return None if caller is None else self._failure(envelope, _correlation_of(content), error)
        return Incoming(envelope, correlation, message, caller or LOCAL, begun_s)

    def begin(self, caller: Caller) -> None:
        """Counts a request as under way, until `end`.

        Raises:
            NodeUnavailable: there are too many, on this socket or of this tenant.
        """
        if self._under_way >= limits.REQUESTS_UNDER_WAY_MAX:
            raise NodeUnavailable("The node has too many requests under way: ask again later.")
        if caller.tenant:
            if self._tenants_under_way[caller.tenant] >= limits.TENANT_REQUESTS_UNDER_WAY_MAX:
                raise NodeUnavailable("This tenant has too many requests under way: ask again later.")
            self._tenants_under_way[caller.tenant] += 1
        self._under_way += 1

    def end(self, caller: Caller) -> None:
        """Counts a request of that caller as done."""
        self._under_way -= 1
        if caller.tenant:
            self._tenants_under_way[caller.tenant] -= 1

    @property
    def under_way(self) -> int:
        """How many requests have begun and not ended."""
        return self._under_way

    def send(self, frames: list[bytes], caller: Caller) -> None:
        """Sends an answer, unless its peer is gone, does not read, or is let in no longer.

        SECURITY: ZeroMQ keeps what a connected peer does not read. What a tenant leaves unread is bounded
        here; nodes and operators are trusted to read.
        """
        if self._keyring is not None and self._keyring.caller(caller.key) != caller:
            return
        tenant = caller.tenant
        if not tenant:
            try_send(self._socket, frames)
            return
        unread = [one for one in self._unread.get(tenant, ()) if not one[0].done]
        if sum(size for _, size in unread) >= limits.TENANT_UNREAD_BYTES_MAX:
            self.refuse(TooLarge(f"The tenant {tenant!r} does not read the answers that it asked for."))
        else:
            with contextlib.suppress(zmq.Again):
                tracker = self._socket.send_multipart(frames, flags=zmq.DONTWAIT, copy=False, track=True)
                assert tracker is not None
                unread.append((tracker, len(frames[-1])))
        self._unread[tenant] = unread

    def answer(self, request: Incoming, reply: Message | BaseException) -> list[bytes]:
        """The frames that answer a request with what its handler returned or raised."""
        elapsed_s = time.monotonic() - request.begun_s
        facts = {
            "type": request.message.TYPE,
            "role": request.caller.role,
            "duration_ms": round(elapsed_s * 1e3, 3),
        }
        if isinstance(reply, Message):
            log = self._log.warning if elapsed_s > _SLOW_S else self._log.debug
            log("request answered", action=Action.REQUEST, **facts)
            frames = codec.encode(reply, correlation=request.correlation, sender=self._sender)
            if len(frames[1]) <= limits.UPLOAD_MESSAGE_BYTES_MAX:
                return request.envelope + frames
            reply = TooLarge(
                f"The answer has {len(frames[1])} bytes, over the bound of a message: ask for less."
            )
        error = reply if isinstance(reply, JobicoError) else None
        if error is None:
            self._log.error("request failed", action=Action.REQUEST_FAILED, exc_info=reply, **facts)
            error = Internal("The node met a fault that it did not foresee: its log has the reason.")
        else:
            self._log.info("request refused", action=Action.REQUEST_FAILED, code=error.code, **facts)
        return self._failure(request.envelope, request.correlation, error)

    def refuse(self, error: JobicoError) -> None:
        """Counts a message that is not taken."""
        self.refused += 1
        now_s = time.monotonic()
        if now_s - self._logged_s >= _LOG_EACH_S:
            self._logged_s = now_s
            self._log.warning(
                "message refused",
                action=Action.MESSAGE_REFUSED,
                code=error.code,
                error=error.message,
                refused=self.refused,
            )

    def _caller_of(self, frame: zmq.Frame) -> Caller | None:
        assert self._keyring is not None
        try:
            user_id = frame.get("User-Id")
        except zmq.ZMQError:
            return None
        return self._keyring.caller(str(user_id))

    def _admit(self, frames: Sequence[bytes], caller: Caller | None) -> Message:
        if caller is None:
            raise Unauthenticated("The sender's key is not let in.")
        _, message = codec.decode(frames, bytes_max=self._bytes_max, kinds=self._kinds)
        return message if self._trusted else authorise(caller, message)

    def _failure(self, envelope: list[bytes], correlation: str, error: JobicoError) -> list[bytes]:
        reply: Any = Failure(code=error.code, message=error.message, detail=error.detail)
        try:
            frames = codec.encode(reply, correlation=correlation, sender=self._sender)
        except (TypeError, ValueError, msgspec.MsgspecError):
            frames = codec.encode(
                Failure(code=error.code, message=error.message), correlation=correlation, sender=self._sender
            )
        return envelope + frames


def _correlation_of(content: Sequence[bytes]) -> str:
    try:
        return codec.decode_header(content[0]).correlation
    except (ProtocolError, IndexError):
        return ""
