"""Hearing of what happens to a socket: messages on an asyncio loop, and peers that come and go."""

import struct
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import zmq

if TYPE_CHECKING:
    import asyncio  # PERF: 22 ms, and most processes have no loop

__all__ = ["Monitor", "PeerEvent", "Watch", "watch"]

_BURST: Final = 256


class PeerEvent(StrEnum):
    """What a monitor tells."""

    CONNECTED = "connected"  # handshake done: messages flow
    DISCONNECTED = "disconnected"  # the peer is gone; ZeroMQ tries to come back by itself
    REFUSED = "refused"  # the peer does not let this key in, or is not who it should be


_EVENTS: Final = {
    int(zmq.EVENT_HANDSHAKE_SUCCEEDED): PeerEvent.CONNECTED,
    int(zmq.EVENT_DISCONNECTED): PeerEvent.DISCONNECTED,
    int(zmq.EVENT_HANDSHAKE_FAILED_AUTH): PeerEvent.REFUSED,
    int(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL): PeerEvent.REFUSED,
}


class Monitor:
    """Tells when the peer of a connecting socket comes and goes; make it right after the socket.

    It belongs to the thread of its socket; `socket` is what to poll or `watch`.
    """

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._watched = socket
        self.socket: zmq.Socket[bytes] = socket.get_monitor_socket(sum(_EVENTS))

    def read(self) -> list[PeerEvent]:
        """What has happened since the last call, oldest first."""
        found: list[PeerEvent] = []
        while True:
            try:
                frames = self.socket.recv_multipart(flags=zmq.DONTWAIT)
            except zmq.Again:
                return found
            found.extend(self.parse(frames))

    @staticmethod
    def parse(frames: Sequence[bytes]) -> list[PeerEvent]:
        """The event in a message of a monitor's socket; empty where it is of no interest."""
        (number, _) = struct.unpack("=HI", frames[0])
        event = _EVENTS.get(number)
        return [] if event is None else [event]

    def close(self) -> None:
        """Stops telling; call it before its socket is closed."""
        if not self._watched.closed:
            self._watched.disable_monitor()
        self.socket.close(linger=0)


class Watch:
    """A socket on an asyncio loop: has each message read, and sends without losing a wake-up.

    NOTE: the file descriptor of a ZeroMQ socket tells of a change once, and any send or receive may take that
    notice away. So whatever touches the socket goes through here, and looks again afterwards.

    Args:
        loop: The loop; the socket lives in its thread.
        socket: What is watched.
        read_one: Reads and handles one message; False where there is none. None for a socket that only sends.
        on_writable: Called when a send may pass that did not before.
    """

    def __init__(
        self,
        loop: "asyncio.AbstractEventLoop",
        socket: zmq.Socket[bytes],
        read_one: Callable[[], bool] | None = None,
        on_writable: Callable[[], None] | None = None,
    ) -> None:
        self._loop = loop
        self._socket = socket
        self._read_one = read_one
        self._on_writable = on_writable
        self._wants_write = False
        self._scheduled = False
        self._closed = False
        self._fd = int(socket.getsockopt(zmq.FD))
        loop.add_reader(self._fd, self._look)
        self._schedule()

    def send(self, frames: Sequence[bytes]) -> bool:
        """Sends if the socket takes a message now; else False, and `on_writable` is called once it may."""
        try:
            self._socket.send_multipart(frames, flags=zmq.DONTWAIT)
        except zmq.Again:
            self._wants_write = True
            self._schedule()
            return False
        if self._read_one is not None:
            self._schedule()
        return True

    def look(self) -> None:
        """Looks at the socket soon: to be called after it was used otherwise than through here."""
        self._schedule()

    def close(self) -> None:
        """Watches no more; the socket stays open."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._fd)

    def _schedule(self) -> None:
        if not self._scheduled and not self._closed:
            self._scheduled = True
            self._loop.call_soon(self._scheduled_look)

    def _scheduled_look(self) -> None:
        self._scheduled = False
        self._look()

    def _look(self) -> None:
        if self._closed:
            return
        if self._read_one is not None:
            self._read(self._read_one)
        if self._closed or (self._read_one is not None and not self._wants_write):
            return
        # NOTE: asking for the events takes the notice off the descriptor too: act on all that it says.
        events = int(self._socket.getsockopt(zmq.EVENTS))
        if events & zmq.POLLIN and self._read_one is not None:
            self._schedule()
        if events & zmq.POLLOUT and self._wants_write:
            self._wants_write = False
            if self._on_writable is not None:
                self._on_writable()

    def _read(self, read_one: Callable[[], bool]) -> None:
        for _ in range(_BURST):
            try:
                if not read_one():
                    return
            except BaseException:
                self._schedule()  # what is behind the message that failed is still to be read
                raise
            if self._closed:
                return
        self._schedule()  # others on the loop have their turn first


def watch(
    loop: "asyncio.AbstractEventLoop",
    socket: zmq.Socket[bytes],
    on_message: Callable[[list[bytes]], None] | None = None,
    *,
    on_writable: Callable[[], None] | None = None,
) -> Watch:
    """Watches a socket on a loop, in whose thread it must live; what is there already is told too."""
    if on_message is None:
        return Watch(loop, socket, None, on_writable)

    def read_one() -> bool:
        try:
            frames = socket.recv_multipart(flags=zmq.DONTWAIT)
        except zmq.Again:
            return False
        on_message(frames)
        return True

    return Watch(loop, socket, read_one, on_writable)
