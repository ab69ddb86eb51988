"""The way back to the listeners: one PUSH each, and what waits while a listener is away.

It owns those sockets and belongs to the thread of a node's loop. Settlements and acknowledgements wait in
order until their listener is back. How many is bounded: a listener that came back from a crash refuses most
settlements, and sends again what was not acknowledged.
"""

from collections import deque
from typing import Final

from jobico.logs import Action, get_logger
from nodes.peers import Peer, Peers
from protocol import codec
from protocol.messages import Message
from protocol.sockets import Socket, Wire, try_send

__all__ = ["Links"]

_WAITING_MAX: Final = 1_024


class _Link:
    def __init__(self) -> None:
        self.peer: Peer | None = None
        self.socket: Socket | None = None
        self.waiting: deque[list[bytes]] = deque(maxlen=_WAITING_MAX)
        self.dropped = 0


class Links:
    """Sends to listeners by name.

    Args:
        wire: Where the sockets come from.
        peers: Where listeners are.
    """

    def __init__(self, wire: Wire, peers: Peers) -> None:
        self._wire = wire
        self._peers = peers
        self._links: dict[str, _Link] = {}
        self._log = get_logger()

    @property
    def names(self) -> tuple[str, ...]:
        """The listeners that were ever met."""
        return tuple(self._links)

    @property
    def waiting(self) -> bool:
        """True while a message waits for its listener."""
        return any(link.waiting for link in self._links.values())

    def meet(self, listener: str) -> None:
        """Connects to a listener that has said something, so that the way back is open when it is needed."""
        self._connected(listener)

    def send(self, listener: str, message: Message) -> None:
        """Sends, or keeps until the listener is there."""
        link = self._connected(listener)
        if len(link.waiting) == _WAITING_MAX:
            link.dropped += 1
        link.waiting.append(codec.encode(message, sender=self._wire.name))
        self._flush(listener, link)

    def offer(self, listener: str, message: Message) -> bool:
        """Sends if the listener is there now; what is only true now is not kept."""
        link = self._connected(listener)
        frames = codec.encode(message, sender=self._wire.name)
        return not link.waiting and link.socket is not None and try_send(link.socket, frames)

    def flush(self) -> bool:
        """Sends what waits; True when nothing does any more."""
        for listener, link in self._links.items():
            if link.waiting:
                self._flush(listener, self._connected(listener))
        return not self.waiting

    def close(self) -> None:
        """Closes the sockets; what was given to them is still sent for as long as they linger."""
        for link in self._links.values():
            if link.socket is not None:
                link.socket.close()
                link.socket = None

    def _connected(self, listener: str) -> _Link:
        link = self._links.setdefault(listener, _Link())
        peer = self._peers.named(listener, "settlements")
        if peer is not None and peer != link.peer:
            if link.socket is not None:
                link.socket.close(linger=0)
            link.socket = self._wire.push(peer.endpoint, server_key=peer.server_key)
            link.peer = peer
        return link

    def _flush(self, listener: str, link: _Link) -> None:
        while link.waiting and link.socket is not None:
            if not try_send(link.socket, link.waiting[0]):
                return
            link.waiting.popleft()
        if link.dropped:
            self._log.warning(
                "messages to a listener were dropped while it was away",
                action=Action.PEER_LOST,
                listener=listener,
                messages=link.dropped,
            )
            link.dropped = 0
