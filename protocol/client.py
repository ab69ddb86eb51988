"""Asking a node and hearing its answer: one deadline a call, an error of the peer raised here as itself."""

import math
import time
from typing import cast

import zmq

from jobico import limits
from jobico.errors import DeadlineExceeded, NodeUnavailable, ProtocolError, error_from_code
from protocol import codec
from protocol.messages import Failure, Message, ReplyT, Request
from protocol.sockets import Socket, Wire

__all__ = ["Client", "check_reply"]


class Client:
    """Calls nodes, one call at a time. It belongs to one thread.

    Args:
        wire: Where its sockets come from.
        sender: What its messages say of who sends them; for people.
    """

    def __init__(self, wire: Wire, sender: str) -> None:
        self._wire = wire
        self._sender = sender
        self._sockets: dict[tuple[str, str], Socket] = {}
        self._calls = 0

    def call(
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
            DeadlineExceeded: no answer came in time; it may have been carried out.
            ProtocolError: the answer is not one.
            JobicoError: what the peer answered.
        """
        deadline_s = time.monotonic() + timeout_ms / 1_000
        self._calls += 1
        correlation = str(self._calls)
        peer = (endpoint, server_key)
        socket = self._sockets.pop(peer, None) or self._wire.req(endpoint, server_key=server_key)
        try:
            if not socket.poll(_left_ms(deadline_s), zmq.POLLOUT):
                raise NodeUnavailable(
                    f"Nobody answers at {endpoint}: is the node running? See `jobico status`."
                )
            socket.send_multipart(codec.encode(message, correlation=correlation, sender=self._sender))
            if not socket.poll(_left_ms(deadline_s), zmq.POLLIN):
                raise DeadlineExceeded(
                    f"{endpoint} gave no answer to {message.TYPE} within {timeout_ms:.0f} ms."
                )
            header, reply = codec.decode(socket.recv_multipart(), bytes_max=limits.UPLOAD_MESSAGE_BYTES_MAX)
            if header.correlation != correlation:
                raise ProtocolError(f"{endpoint} answered another request than the one it was asked.")
        except BaseException:
            # NOTE: a REQ that missed its answer can neither send nor receive: the next call makes a new one.
            socket.close(linger=0)
            raise
        self._sockets[peer] = socket
        return check_reply(message, reply)

    def close(self) -> None:
        """Closes its sockets."""
        for socket in self._sockets.values():
            socket.close(linger=0)
        self._sockets.clear()


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
