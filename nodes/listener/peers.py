"""Links to executors: one PUSH each, so that the listener knows who has what and learns at once who is gone.

It owns those sockets and their monitors. It decides nothing: it says Hello on every new connection and again
until the executor has answered, sends what it is told to, and tells when a connection is lost.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from jobico import limits
from jobico.logs import Action, get_logger
from jobico.registry import NodeInfo
from protocol import codec
from protocol.messages import Hello, Message
from protocol.sockets import Monitor, PeerEvent, Socket, Wire, watch
from protocol.watching import Watch

__all__ = ["Address", "Peers", "executor_addresses"]

_HELLO_MS: Final = 1_000


class Address(NamedTuple):
    """Where an executor takes deliveries; the key is empty on `ipc`."""

    endpoint: str
    server_key: str


def executor_addresses(nodes: Iterable[NodeInfo]) -> dict[str, Address]:
    """Where the executors of the registry are, by name."""
    return {
        node.name: Address(node.endpoints["deliveries"], node.public_key)
        for node in nodes
        if node.role == "executor" and "deliveries" in node.endpoints
    }


class _Link:
    """The PUSH to one executor; made anew after each loss, so nothing lies in a buffer for who comes next."""

    def __init__(self, wire: Wire, address: Address, on_event: Callable[[PeerEvent], None]) -> None:
        self.address = address
        self.greeting = True
        self.hello_ms = 0
        self.retired = False
        self._wire = wire
        self._on_event = on_event
        self._socket: Socket
        self._watch: Watch
        self._monitor: Monitor
        self._monitor_watch: Watch
        self._open()

    def send(self, frames: list[bytes]) -> bool:
        """Sends if the executor is there and takes it."""
        return self._watch.send(frames)

    def reopen(self) -> None:
        """Drops what was not taken, and connects again."""
        self.close()
        self._open()

    def close(self) -> None:
        """Disconnects."""
        self._monitor_watch.close()
        self._monitor.close()
        self._watch.close()
        self._socket.close(linger=0)

    def _open(self) -> None:
        loop = asyncio.get_running_loop()
        self._socket = self._wire.push(self.address.endpoint, server_key=self.address.server_key, linger_ms=0)
        self._monitor = Monitor(self._socket)
        self._watch = watch(loop, self._socket)
        self._monitor_watch = watch(loop, self._monitor.socket, self._heard)

    def _heard(self, frames: list[bytes]) -> None:
        for event in self._monitor.parse(frames):
            self._on_event(event)


class Peers:
    """The executors of a listener.

    Args:
        wire: Where sockets come from.
        listener: The name of this node.
        instance: Of this node.
        on_lost: Called with the name of an executor whose connection is gone.
    """

    def __init__(self, wire: Wire, listener: str, instance: str, on_lost: Callable[[str], None]) -> None:
        self._wire = wire
        self._hello = codec.encode(Hello(listener=listener, instance=instance), sender=listener)
        self._listener = listener
        self._on_lost = on_lost
        self._links: dict[str, _Link] = {}
        self._log = get_logger()

    @property
    def names(self) -> tuple[str, ...]:
        """Those that are linked."""
        return tuple(self._links)

    def replace(self, addresses: Mapping[str, Address]) -> None:
        """Links the executors that there are now; one that is gone stays linked until `retire` drops it."""
        for name, address in addresses.items():
            link = self._links.get(name)
            if link is not None and link.address == address:
                link.retired = False
                continue
            if link is not None:
                link.close()
                self._on_lost(name)
            self._links[name] = _Link(self._wire, address, self._handler(name))
        for name, link in self._links.items():
            link.retired = name not in addresses

    def retire(self, idle: Callable[[str], bool]) -> list[str]:
        """Lets go of executors that have left the registry and hold nothing; returns their names."""
        gone = [name for name, link in self._links.items() if link.retired and idle(name)]
        for name in gone:
            self._links.pop(name).close()
        return gone

    def send(self, name: str, message: Message) -> bool:
        """Sends to an executor; False where it is not there or takes no more."""
        link = self._links.get(name)
        return link is not None and link.send(codec.encode(message, sender=self._listener))

    def greet(self, name: str) -> None:
        """Says Hello to an executor, again and again until `welcomed`."""
        link = self._links.get(name)
        if link is not None:
            link.greeting = True

    def welcomed(self, name: str) -> None:
        """It has answered Hello."""
        link = self._links.get(name)
        if link is not None:
            link.greeting = False

    def tick(self, now_ms: int) -> None:
        """Says Hello where that is due."""
        for link in self._links.values():
            if link.greeting and now_ms - link.hello_ms >= _HELLO_MS:
                link.hello_ms = now_ms
                link.send(self._hello)

    def close(self) -> None:
        """Disconnects from all."""
        for link in self._links.values():
            link.close()
        self._links.clear()

    def _handler(self, name: str) -> Callable[[PeerEvent], None]:
        return lambda event: self._changed(name, event)

    def _changed(self, name: str, event: PeerEvent) -> None:
        link = self._links.get(name)
        if link is None:
            return
        if event is PeerEvent.CONNECTED:
            link.greeting = True
            link.send(self._hello)
        elif event is PeerEvent.DISCONNECTED:
            self._log.info("executor disconnected", action=Action.PEER_LOST, executor=name)
            link.reopen()
            link.greeting = True
            self._on_lost(name)
        else:
            self._log.warning("executor refuses this node's key", action=Action.PEER_LOST, executor=name)


assert _HELLO_MS <= limits.PEER_GRACE_MS
