"""Asking a node and hearing its answer: one deadline a call, an error of the peer raised here as itself."""

import math
import time
from typing import cast

import zmq

from jobico import limits
from jobico.errors import (
    DeadlineExceeded,
    JobicoError,
    NodeUnavailable,
    ProtocolError,
    Unauthenticated,
    error_from_code,
)
from protocol import codec
from protocol.messages import Failure, Message, ReplyT, Request
from protocol.sockets import Wire
from protocol.watching import Monitor, PeerEvent

__all__ = ["Client", "check_reply", "missed", "unreachable"]


class Client:
    """Calls nodes, one call at a time. It belongs to one thread.

    Args:
        wire: Where its sockets come from.
        sender: What its messages say of who sends them; for people.
    """

    def __init__(self, wire: Wire, sender: str) -> None:
        self._wire = wire
        self._sender = sender
        self._peers: dict[tuple[str, str], _Peer] = {}
        self._calls = 0

    def call(
        self,
        endpoint: str,
        message: Request[ReplyT],
        *,
        timeout_ms: float = limits.CALL_TIMEOUT_MS,
        reach_ms: float = math.inf,
        server_key: str = "",
    ) -> ReplyT:
        """The reply to `message`, of its `REPLY` type.

        Args:
            endpoint: Of the peer.
            message: What to ask.
            timeout_ms: When to give up.
            reach_ms: When to give up, before that, on a peer that is not there.
            server_key: The peer's public key; on tcp, control's by default.

        Raises:
            NodeUnavailable: nobody was there to take it; it was not carried out.
            Unauthenticated: the peer does not let this process in; it was not carried out.
            DeadlineExceeded: no answer came in time; it may have been carried out.
            ProtocolError: the answer is not one.
            JobicoError: what the peer answered.
        """
        deadline_s = time.monotonic() + timeout_ms / 1_000
        self._calls += 1
        correlation = str(self._calls)
        key = (endpoint, server_key)
        peer = self._peers.pop(key, None) or _Peer(self._wire, endpoint, server_key)
        try:
            if not peer.socket.poll(math.ceil(min(reach_ms, _left_ms(deadline_s))), zmq.POLLOUT):
                raise peer.unreachable()
            peer.socket.send_multipart(codec.encode(message, correlation=correlation, sender=self._sender))
            if not peer.socket.poll(_left_ms(deadline_s), zmq.POLLIN):
                raise missed(endpoint, message, timeout_ms)
            frames = peer.socket.recv_multipart()
            header, reply = codec.decode(frames, bytes_max=limits.UPLOAD_MESSAGE_BYTES_MAX)
            if header.correlation != correlation and not isinstance(reply, Failure):
                raise ProtocolError(f"{endpoint} answered another request than the one it was asked.")
        except BaseException:
            # NOTE: a REQ that missed its answer can neither send nor receive: the next call makes a new one.
            peer.close()
            raise
        self._peers[key] = peer
        return check_reply(message, reply)

    def close(self) -> None:
        """Closes its sockets."""
        for peer in self._peers.values():
            peer.close()
        self._peers.clear()


class _Peer:
    """A REQ, and with `tcp` what has become of its handshake."""

    def __init__(self, wire: Wire, endpoint: str, server_key: str) -> None:
        self._endpoint = endpoint
        self.socket = wire.req(endpoint, server_key=server_key)
        self._monitor = Monitor(self.socket) if wire.secure else None

    def unreachable(self) -> JobicoError:
        """Why a request could not be sent."""
        events = [] if self._monitor is None else self._monitor.read()
        return unreachable(self._endpoint, refused=PeerEvent.REFUSED in events)

    def close(self) -> None:
        """Closes the socket; what it has not sent is dropped."""
        if self._monitor is not None:
            self._monitor.close()
        self.socket.close(linger=0)


def unreachable(endpoint: str, *, refused: bool) -> JobicoError:
    """The error of a request that nobody took; `refused` where the handshake failed."""
    if refused:
        return Unauthenticated(
            f"{endpoint} does not let this key in: it is not (or no longer) registered with control, "
            "or the server's key is not the expected one. See `jobico peers list`."
        )
    return NodeUnavailable(f"Nobody answers at {endpoint}: is the node running? See `jobico status`.")


def missed(endpoint: str, request: Message, timeout_ms: float) -> DeadlineExceeded:
    """The error of a request that was sent and not answered in time."""
    return DeadlineExceeded(f"{endpoint} gave no answer to {request.TYPE} within {timeout_ms:.0f} ms.")


def check_reply(request: Request[ReplyT], reply: Message) -> ReplyT:
    """Returns the reply if it is one to `request`.

    Raises:
        ProtocolError: it is of another type.
        JobicoError: it is the error that the peer met.
    """
    if isinstance(reply, Failure):
        raise error_from_code(reply.code, reply.message, reply.detail)
    if type(reply) is not request.REPLY:
        raise ProtocolError(f"The answer to {request.TYPE} is a {reply.TYPE}.")
    return cast("ReplyT", reply)


def _left_ms(deadline_s: float) -> int:
    return max(0, math.ceil((deadline_s - time.monotonic()) * 1_000))
