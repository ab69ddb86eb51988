"""Shipping execution records to the recorder: a window, retransmission, and the recorder's word to let go.

It owns the PUSH to the recorder. Records are in the queue's store until the recorder has committed them, so
nothing here has to survive: after a loss or a restart what was not acknowledged is sent again, and the
recorder knows what it has.
"""

import asyncio
from collections import deque

from jobico import limits
from jobico.change import Acknowledge
from jobico.clock import Clock
from jobico.storage.queue import EventQueue
from protocol import codec
from protocol.messages import Recorded, Records
from protocol.sockets import Monitor, PeerEvent, Socket, Wire, watch
from protocol.watching import Watch

__all__ = ["Outbox"]


class Outbox:
    """The way of records from the queue to the recorder.

    Args:
        wire: Where the socket comes from.
        queue: Where records wait.
        listener: The name of this node.
        clock: For retransmission.
    """

    def __init__(self, wire: Wire, queue: EventQueue, listener: str, clock: Clock) -> None:
        self._wire = wire
        self._queue = queue
        self._listener = listener
        self._clock = clock
        self._address: tuple[str, str] | None = None
        self._socket: Socket | None = None
        self._watch: Watch | None = None
        self._monitor: Monitor | None = None
        self._monitor_watch: Watch | None = None
        self._sent = 0  # last row that was sent
        self._under_way: deque[tuple[int, int]] = deque()  # (first, last) of batches, oldest first
        self._rows_under_way = 0
        self._progress_ms = 0

    def set_recorder(self, endpoint: str, server_key: str) -> None:
        """Says where the recorder takes records."""
        if self._address != (endpoint, server_key):
            self._address = (endpoint, server_key)
            self._reopen()

    def ship(self) -> None:
        """Sends what the window has room for."""
        if self._watch is None:
            return
        while (
            self._rows_under_way < limits.OUTBOX_UNACKNOWLEDGED_MAX and self._sent < self._queue.outbox_newest
        ):
            rows = self._queue.outbox(
                self._sent, rows_max=limits.RECORDS_BATCH_MAX, bytes_max=limits.RECORDS_BATCH_BYTES_MAX
            )
            if not rows:
                return
            first, last = rows[0][0], rows[-1][0]
            message = Records(
                listener=self._listener, first=first, last=last, items=tuple(record for _, record in rows)
            )
            if not self._watch.send(codec.encode(message, sender=self._listener)):
                return
            if not self._under_way:
                self._progress_ms = self._clock.monotonic_ms()
            self._under_way.append((first, last))
            self._rows_under_way += last - first + 1
            self._sent = last

    def recorded(self, message: Recorded) -> None:
        """Lets go of what the recorder has.

        SAFETY: only of what joins up with what it had before: a recorder that died between two batches may
        have the second without the first, which is then sent again by `tick`.
        """
        upto = 0
        while self._under_way:
            first, last = self._under_way[0]
            if first < message.first or last > message.upto:
                break
            self._under_way.popleft()
            self._rows_under_way -= last - first + 1
            upto = last
        if upto:
            self._progress_ms = self._clock.monotonic_ms()
            self._queue.apply([Acknowledge(upto)], None)
            self.ship()

    def tick(self, now_ms: int) -> None:
        """Sends again what was not acknowledged for OUTBOX_RETRY_MS."""
        if self._under_way and now_ms - self._progress_ms >= limits.OUTBOX_RETRY_MS:
            self._rewind()
        self.ship()

    def close(self) -> None:
        """Disconnects; what was sent may still be taken."""
        if self._watch is not None and self._monitor is not None and self._socket is not None:
            assert self._monitor_watch is not None
            self._monitor_watch.close()
            self._monitor.close()
            self._watch.close()
            self._socket.close()
            self._watch = None

    def _reopen(self) -> None:
        assert self._address is not None
        self.close()
        loop = asyncio.get_running_loop()
        endpoint, server_key = self._address
        self._socket = self._wire.push(endpoint, server_key=server_key, linger_ms=0)
        self._monitor = Monitor(self._socket)
        self._watch = watch(loop, self._socket, on_writable=self.ship)
        self._monitor_watch = watch(loop, self._monitor.socket, self._heard)
        self._rewind()
        self.ship()

    def _heard(self, frames: list[bytes]) -> None:
        for event in Monitor.parse(frames):
            if event is PeerEvent.DISCONNECTED:
                self._reopen()
                return

    def _rewind(self) -> None:
        """Goes back to the oldest record that is not acknowledged."""
        if self._under_way:
            self._sent = self._under_way[0][0] - 1
            self._under_way.clear()
            self._rows_under_way = 0
        self._progress_ms = self._clock.monotonic_ms()
