"""The way back from the recorder to the listeners: acknowledgements, which may be lost without harm.

A listener that hears nothing sends its rows again, and rows that come twice are stored once.
"""

from nodes.peers import Peer, Peers
from protocol import codec
from protocol.messages import Message
from protocol.sockets import Socket, Wire, try_send

__all__ = ["Listeners"]


class Listeners:
    """One PUSH a listener. It belongs to the thread of the recorder's loop."""

    def __init__(self, wire: Wire, peers: Peers) -> None:
        self._wire = wire
        self._peers = peers
        self._sockets: dict[str, tuple[Peer, Socket]] = {}

    def meet(self, listener: str) -> Socket | None:
        """Connects to a listener before there is something to tell it; None if nobody knows where it is."""
        peer = self._peers.named(listener, "settlements")
        known = self._sockets.get(listener)
        if peer is None or (known is not None and known[0] == peer):
            return known[1] if known else None
        if known is not None:
            known[1].close(linger=0)
        socket = self._wire.push(peer.endpoint, server_key=peer.server_key)
        self._sockets[listener] = (peer, socket)
        return socket

    def send(self, listener: str, message: Message) -> bool:
        """Sends if the listener is there."""
        socket = self.meet(listener)
        return socket is not None and try_send(socket, codec.encode(message, sender=self._wire.name))

    def close(self) -> None:
        """Closes the sockets."""
        for _, socket in self._sockets.values():
            socket.close()
        self._sockets.clear()
