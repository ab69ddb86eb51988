"""The deliveries that an executor holds, from arrival to settlement. No socket, no clock, no guest.

    take ──▶ waiting ──begin──▶ running ──finish──▶ settled ──collect──▶ gone
               │  ▲
               │  └─unpark─ parked (its module is on the way) ─┐
               └────────────────return_*───────────────────────┴──▶ gone (handed back, not begun)

Two threads share it: the one that runs guests calls `begin`, `park` and `finish`, the one that owns the
sockets everything else. One lock guards what both change; it is never held while a guest runs.
"""

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from queue import Empty, SimpleQueue
from typing import Final

from jobico.event import Delivery, Outcome, Settlement

__all__ = ["Held", "Holding", "TokensByListener"]

TokensByListener = dict[str, tuple[int, ...]]
"""Tokens by the name of the listener that gave them."""


class Held:
    """A delivery, who sent it, and since when it has been here (monotonic milliseconds)."""

    __slots__ = ("cancelled", "delivery", "listener", "since_ms")

    def __init__(self, listener: str, delivery: Delivery, since_ms: int) -> None:
        self.listener = listener
        self.delivery = delivery
        self.since_ms = since_ms
        self.cancelled = False


class Holding:
    """What an executor holds; tokens are unique only together with their listener."""

    def __init__(self) -> None:
        self.running: Held | None = None
        self.running_since_ms = 0
        self.draining = False
        self._lock: Final = threading.Lock()
        self._held: dict[tuple[str, int], Held] = {}
        self._waiting: deque[Held] = deque()
        self._parked: dict[str, list[Held]] = {}  # by digest
        self._settled: deque[tuple[str, Settlement]] = deque()
        # PERF: a put and a get of this queue cost 0.1 us each, a Condition's notify and wait 6 us.
        self._arrivals: SimpleQueue[None] = SimpleQueue()
        self._idle = False

    # --- The thread that runs guests

    def begin(self, now_ms: int) -> Held | None:
        """Takes the next waiting delivery as the running one; None if none waits."""
        with self._lock:
            if not self._waiting:
                self.running = None
                return None
            self.running = held = self._waiting.popleft()
            self.running_since_ms = now_ms
            return held

    def park(self, held: Held, digest: str) -> None:
        """Puts the running delivery aside until its module is here; what waits behind it goes on."""
        with self._lock:
            self.running = None
            self._parked.setdefault(digest, []).append(held)

    def finish(self, held: Held, settlement: Settlement) -> int:
        """Ends the running delivery; returns how many settlements wait to be collected."""
        with self._lock:
            self.running = None
            self._settled.append((held.listener, settlement))
            return len(self._settled)

    def wait(self, timeout_s: float) -> None:
        """Sleeps until a delivery arrives or `wake` is called; it may also return for nothing."""
        self._idle = True
        if not self._waiting:
            with contextlib.suppress(Empty):
                self._arrivals.get(timeout=timeout_s)
        self._idle = False

    # --- The thread that owns the sockets

    def take(self, listener: str, deliveries: Iterable[Delivery], now_ms: int) -> tuple[int, ...]:
        """Takes deliveries in their order, each token once; returns those to hand back because it drains."""
        refused = []
        with self._lock:
            for delivery in deliveries:
                key = (listener, delivery.token)
                if self.draining:
                    refused.append(delivery.token)
                elif key not in self._held:
                    self._held[key] = held = Held(listener, delivery, now_ms)
                    self._waiting.append(held)
        self.wake()
        return tuple(refused)

    def wake(self) -> None:
        """Wakes the thread that runs guests if it sleeps in `wait`."""
        if self._idle:
            self._idle = False
            self._arrivals.put(None)

    def collect(self) -> dict[str, list[Settlement]]:
        """Hands over all settlements, by listener; from now on their tokens are not held."""
        collected: dict[str, list[Settlement]] = {}
        with self._lock:
            while self._settled:
                listener, settlement = self._settled.popleft()
                self._held.pop((listener, settlement.token), None)
                collected.setdefault(listener, []).append(settlement)
        return collected

    def unpark(self, digest: str) -> None:
        """The module is here: what was parked for it goes first, in its order."""
        with self._lock:
            self._waiting.extendleft(reversed(self._parked.pop(digest, [])))
        self.wake()

    def return_parked(self, digest: str) -> TokensByListener:
        """The module cannot be had: what was parked for it is handed back."""
        with self._lock:
            return self._drop(self._parked.pop(digest, []))

    def return_overdue(self, now_ms: int, after_ms: int) -> TokensByListener:
        """Hands back what has waited `after_ms` behind a guest that has run that long.

        NOTE: the wait of the delivery itself counts too, else one that comes back at once to the same
        executor would be handed to and fro without a pause.
        """
        with self._lock:
            if self.running is None or now_ms - self.running_since_ms < after_ms:
                return {}
            overdue = [held for held in self._waiting if now_ms - held.since_ms >= after_ms]
            if overdue:
                self._waiting = deque(held for held in self._waiting if now_ms - held.since_ms < after_ms)
            return self._drop(overdue)

    def drain(self) -> TokensByListener:
        """Takes no more, and hands back all that has not begun."""
        with self._lock:
            self.draining = True
            dropped = [*self._waiting, *(held for parked in self._parked.values() for held in parked)]
            self._waiting.clear()
            self._parked.clear()
            return self._drop(dropped)

    def cancel(self, listener: str, tokens: Sequence[int]) -> None:
        """Settles what waits as cancelled, and marks what runs, which `interrupt` then ends."""
        with self._lock:
            for token in tokens:
                held = self._held.get((listener, token))
                if held is None:
                    continue
                if held is self.running:
                    held.cancelled = True
                elif self._remove(held):
                    self._settled.append((listener, Settlement(token=token, outcome=Outcome.CANCELLED)))

    def interrupt(self, abort: Callable[[], object]) -> None:
        """Calls `abort` if the running delivery is cancelled, which cannot end before that returns."""
        with self._lock:
            if self.running is not None and self.running.cancelled:
                abort()

    # --- Either thread

    def busy(self) -> bool:
        """True while anything is held."""
        return bool(self._held)

    def waiting(self) -> int:
        """How many deliveries have not begun, parked ones aside."""
        return len(self._waiting)

    def tokens(self) -> TokensByListener:
        """All tokens that are held, by listener: waiting, parked, running, or settled but not collected."""
        with self._lock:
            keys = list(self._held)
        tokens: dict[str, list[int]] = {}
        for listener, token in keys:
            tokens.setdefault(listener, []).append(token)
        return {listener: tuple(sorted(held)) for listener, held in tokens.items()}

    def parked_tokens(self, listener: str) -> tuple[int, ...]:
        """The tokens of that listener that wait for their module."""
        with self._lock:
            parked = [held for each in self._parked.values() for held in each]
        return tuple(sorted(held.delivery.token for held in parked if held.listener == listener))

    def running_token(self, listener: str) -> int:
        """The token of the running delivery if that listener gave it, else 0."""
        running = self.running
        return running.delivery.token if running is not None and running.listener == listener else 0

    def _drop(self, dropped: Iterable[Held]) -> TokensByListener:
        tokens: dict[str, list[int]] = {}
        for held in dropped:
            self._held.pop((held.listener, held.delivery.token), None)
            tokens.setdefault(held.listener, []).append(held.delivery.token)
        return {listener: tuple(given) for listener, given in tokens.items()}

    def _remove(self, held: Held) -> bool:
        if held in self._waiting:
            self._waiting.remove(held)
            return True
        for digest, parked in self._parked.items():
            if held in parked:
                parked.remove(held)
                if not parked:
                    del self._parked[digest]
                return True
        return False
