"""A node's poll loop: requests, messages, timers and calls from other threads, one at a time in one thread.

It owns when a handler runs. No message and no handler can end it: garbage is counted (`gate.py`), an error of
a handler is the answer to its request, or a line in the log where no answer is due.
"""

import heapq
import itertools
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, Final

import zmq

from jobico import limits
from jobico.errors import NodeUnavailable
from jobico.logs import Action, get_logger
from protocol.authorisation import LOCAL, Caller
from protocol.gate import Gate, Incoming
from protocol.messages import Message
from protocol.publishing import Publisher
from protocol.sockets import Socket, Wire

__all__ = ["MessageHandler", "Publisher", "Reactor", "RequestHandler", "Timer"]

RequestHandler = Callable[[Any, Caller], "Message | Future[Any]"]
"""Answers a request: with the reply, a future of it where that takes long, or by raising a `JobicoError`."""
MessageHandler = Callable[[Any], None]
"""Takes a message that no answer is due for."""

_BURST: Final = 64
_PUBLISHERS_CHECK_MS: Final = 200


class Timer:
    """A callback that a `Reactor` will call."""

    def __init__(self, delay_s: float, callback: Callable[[], None], *, repeats: bool) -> None:
        self.delay_s = delay_s
        self.repeats = repeats
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        """Calls it no more; in the thread of the loop."""
        self.cancelled = True


class Reactor:
    """Runs handlers on what comes in.

    All but `call_soon_threadsafe` and `stop` belong to the thread of `run`.

    Args:
        wire: Where the sockets come from.
    """

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self._poller = zmq.Poller()
        self._ready: dict[object, Callable[[], None]] = {}
        self._gates: list[Gate] = []
        self._timers: list[tuple[float, int, Timer]] = []
        self._count = itertools.count()
        self._calls: deque[Callable[[], None]] = deque()
        self._wakeup = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._stop_at: float | None = None
        self._log = get_logger()
        self._lock = threading.Lock()
        self._woken = False
        self._on_readable(self._wakeup, self._run_calls)

    @property
    def refused(self) -> int:
        """How many messages were not taken, on all sockets."""
        return sum(gate.refused for gate in self._gates)

    @property
    def under_way(self) -> int:
        """How many requests are waiting for their answer, on all sockets."""
        return sum(gate.under_way for gate in self._gates)

    def on_request(
        self,
        socket: Socket,
        handlers: Mapping[type[Message], RequestHandler],
        *,
        bytes_max: int = limits.MESSAGE_BYTES_MAX,
    ) -> None:
        """Answers the requests that come on a `rep` with the handler of their type."""
        gate = self._gate(socket, handlers, bytes_max, trusted=False)
        self._on_readable(socket, lambda: self._requests(gate, handlers))

    def on_message(
        self, socket: Socket, handlers: Mapping[type[Message], MessageHandler], *, topics: bool = False
    ) -> None:
        """Gives what comes on a `pull`, or with `topics` on a `sub`, to the handler of its type."""
        gate = self._gate(socket, handlers, limits.MESSAGE_BYTES_MAX, trusted=topics)
        self._on_readable(socket, lambda: self._messages(gate, handlers, 1 if topics else 0))

    def on_readable(self, socket: Socket, callback: Callable[[], None]) -> None:
        """Calls `callback` while there is something to read on another socket, such as a monitor's."""
        self._on_readable(socket, callback)

    def forget(self, socket: Socket) -> None:
        """Reads from that socket no more."""
        if self._ready.pop(socket, None) is not None:
            self._poller.unregister(socket)

    def publish_with(self, publisher: Publisher) -> None:
        """Answers the subscriptions to a publisher, and cuts off those whose key has left."""
        self._on_readable(publisher.socket, publisher.read_subscriptions)
        if self.wire.secure:

            def check() -> None:
                before = publisher.socket
                if publisher.cut_off_departed():
                    self.forget(before)
                    self._on_readable(publisher.socket, publisher.read_subscriptions)

            self.every(_PUBLISHERS_CHECK_MS, check)

    def every(self, interval_ms: float, callback: Callable[[], None]) -> "Timer":
        """Calls `callback` each `interval_ms`, the first time after that long, until it is cancelled."""
        timer = Timer(interval_ms / 1_000, callback, repeats=True)
        self._schedule(timer)
        return timer

    def later(self, delay_ms: float, callback: Callable[[], None]) -> "Timer":
        """Calls `callback` once, after `delay_ms`, unless it is cancelled."""
        timer = Timer(delay_ms / 1_000, callback, repeats=False)
        self._schedule(timer)
        return timer

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        """Calls `callback` in the thread of the loop; from any thread or signal handler."""
        self._calls.append(callback)
        # PERF: many calls while the loop is busy cost one write: the loop takes the mark off before them.
        if not self._woken:
            with self._lock:
                if self._wakeup >= 0:
                    self._woken = True
                    os.eventfd_write(self._wakeup, 1)

    def stop(self, *, drain_ms: float = 0) -> None:
        """Makes `run` return once requests under way are answered, or `drain_ms` over; from any thread."""
        stop_at = time.monotonic() + drain_ms / 1_000

        def mark() -> None:
            self._stop_at = stop_at

        self.call_soon_threadsafe(mark)

    def run(self) -> None:
        """Runs until `stop`."""
        try:
            while self._stop_at is None:
                self._turn()
            for socket in [one for one in self._ready if one != self._wakeup]:
                self._ready.pop(socket)
                self._poller.unregister(socket)
            while self.under_way and time.monotonic() < self._stop_at:
                self._turn()
        finally:
            with self._lock:
                os.close(self._wakeup)
                self._wakeup = -1

    def _gate(
        self, socket: Socket, handlers: Mapping[type[Message], Any], bytes_max: int, *, trusted: bool
    ) -> Gate:
        gate = Gate(socket, handlers.keys(), wire=self.wire, trusted=trusted, bytes_max=bytes_max)
        self._gates.append(gate)
        return gate

    def _on_readable(self, source: Socket | int, callback: Callable[[], None]) -> None:
        self._ready[source] = callback
        self._poller.register(source, zmq.POLLIN)

    def _turn(self) -> None:
        now_s = time.monotonic()
        wake_s = min(
            now_s + 1,
            self._timers[0][0] if self._timers else math.inf,
            math.inf if self._stop_at is None else self._stop_at,
        )
        for source, _ in self._poller.poll(max(0, math.ceil((wake_s - now_s) * 1_000))):
            callback = self._ready.get(source)
            if callback is not None:
                self._guarded(callback)
        now_s = time.monotonic()
        while self._timers and self._timers[0][0] <= now_s:
            timer = heapq.heappop(self._timers)[2]
            if timer.cancelled:
                continue
            self._guarded(timer.callback)
            if timer.repeats:
                self._schedule(timer)

    def _schedule(self, timer: "Timer") -> None:
        heapq.heappush(self._timers, (time.monotonic() + timer.delay_s, next(self._count), timer))

    def _run_calls(self) -> None:
        os.eventfd_read(self._wakeup)
        self._woken = False
        for _ in range(len(self._calls)):
            self._guarded(self._calls.popleft())

    def _guarded(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception as error:
            self._log.error("handler failed", action=Action.NODE_FAILED, exc_info=error)

    def _messages(self, gate: Gate, handlers: Mapping[type[Message], MessageHandler], skip: int) -> None:
        for _ in range(_BURST):
            received = gate.receive()
            if received is None:
                return
            message = gate.message(received[0][skip:], received[1])
            if message is not None:
                self._guarded(lambda message=message: handlers[type(message)](message))  # type: ignore[misc]

    def _requests(self, gate: Gate, handlers: Mapping[type[Message], RequestHandler]) -> None:
        for _ in range(_BURST):
            received = gate.receive()
            if received is None:
                return
            request = gate.request(*received)
            if isinstance(request, Incoming):
                self._carry_out(gate, request, handlers[type(request.message)])
            elif request is not None:
                gate.send(request, received[1] or LOCAL)

    def _carry_out(self, gate: Gate, request: Incoming, handler: RequestHandler) -> None:
        caller = request.caller
        reply: Message | Future[Message] | BaseException
        try:
            gate.begin(caller)
        except NodeUnavailable as error:
            gate.send(gate.answer(request, error), caller)
            return
        try:
            reply = handler(request.message, caller)
        except Exception as error:
            reply = error
        if not isinstance(reply, Future):
            gate.end(caller)
            gate.send(gate.answer(request, reply), caller)
            return

        def finish(future: "Future[Message]") -> None:
            gate.end(caller)
            error = future.exception() if not future.cancelled() else NodeUnavailable("The node is stopping.")
            gate.send(gate.answer(request, error or future.result()), caller)

        reply.add_done_callback(lambda future: self.call_soon_threadsafe(lambda: finish(future)))
