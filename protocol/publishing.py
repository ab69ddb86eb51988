"""Publishing to topics, with each subscription checked against the subscriber's key."""

import time
from typing import Final

import zmq

from jobico.errors import NodeUnavailable
from protocol import codec
from protocol.authorisation import LOCAL, may_subscribe
from protocol.messages import Message
from protocol.sockets import Socket, Wire, try_send

__all__ = ["Publisher"]

_TOPIC_BYTES_MAX: Final = 128
_REBIND_S: Final = 2.0
_SUBSCRIBE: Final = 1


class Publisher:
    """Sends messages to whoever may hear and wants to. It belongs to one thread.

    A `Reactor` must read its subscriptions (`publish_with`), else nobody hears anything.

    Args:
        wire: Where its socket comes from.
        endpoint: Where it is bound.
    """

    def __init__(self, wire: Wire, endpoint: str) -> None:
        self._wire = wire
        self.socket: Socket = wire.pub(endpoint)
        self._departures = wire.keyring.departures if wire.keyring else 0
        self.refused = 0

    def send(self, topic: str, message: Message) -> None:
        """Sends `message` to the subscribers of `topic`; who does not keep up loses it."""
        try_send(self.socket, [topic.encode(), *codec.encode(message, sender=self._wire.name)])

    def read_subscriptions(self) -> None:
        """Grants the subscriptions that have come in, each only if the subscriber's key may have it.

        SECURITY: the key is that of the connection (ZAP User-Id). In manual mode a subscription that is not
        granted here has no effect, and `setsockopt` acts on the peer whose message was read last.
        """
        while True:
            try:
                frame = self.socket.recv_multipart(flags=zmq.DONTWAIT, copy=False)[0]
            except zmq.Again:
                return
            wish = frame.bytes
            topic = wish[1:]
            if not wish or len(topic) > _TOPIC_BYTES_MAX:
                self.refused += 1
            elif wish[0] != _SUBSCRIBE:
                self.socket.setsockopt(zmq.UNSUBSCRIBE, topic)
            elif self._may_have(frame, topic):
                self.socket.setsockopt(zmq.SUBSCRIBE, topic)
            else:
                self.refused += 1

    def cut_off_departed(self) -> bool:
        """Where a key has left the list, drops all connections; those still let in come back by themselves.

        NOTE: ZeroMQ has no way to end one peer's connection.
        """
        keyring = self._wire.keyring
        if keyring is None or keyring.departures == self._departures:
            return False
        self._departures = keyring.departures
        bound = self.socket.getsockopt(zmq.LAST_ENDPOINT)
        assert isinstance(bound, bytes)
        self.socket.close(linger=0)
        deadline_s = time.monotonic() + _REBIND_S
        while True:
            try:
                self.socket = self._wire.pub(bound.rstrip(b"\0").decode())
            except NodeUnavailable:
                # NOTE: the old socket lets go of the port in ZeroMQ's own thread.
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.005)
            else:
                return True

    def _may_have(self, frame: zmq.Frame, topic: bytes) -> bool:
        if self._wire.keyring is None:
            return may_subscribe(LOCAL, topic)
        try:
            caller = self._wire.keyring.caller(str(frame.get("User-Id")))
        except zmq.ZMQError:
            return False
        return caller is not None and may_subscribe(caller, topic)
