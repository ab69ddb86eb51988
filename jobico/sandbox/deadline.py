"""When a guest must end: a deadline on the monotonic clock, kept by a thread that moves wasmtime's epoch.

Owns the time limit of the guest under way and its abortion. Compiled code compares the engine's epoch with
the store's deadline at every loop and function entry; each store is given one epoch, and the thread moves
the epoch on exactly when the running guest's time is over, so the limit is real time even where the machine
is late.
"""

import threading
import time
from typing import Final

from jobico import limits
from jobico.sandbox.bindings import api

__all__ = ["Deadline"]

_TICK_S: Final = limits.EPOCH_TICK_MS / 1_000
_IDLE_TICKS_MAX: Final = 100


class Deadline:
    """The deadline of whatever guest runs; one guest at a time.

    The thread looks every EPOCH_TICK_MS while guests run, and sleeps after a second without any.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._resume = threading.Event()
        self._over = threading.Event()
        self._engine = 0
        self._deadline_ns = 0  # 0 while no guest runs
        self._aborted = False
        self._parked = False
        self._closed = False
        self._thread: threading.Thread | None = None

    def begin(self, engine: int, context: int, time_ms: int) -> None:
        """Starts the time of a guest in that store; both are 0 for a guest of another engine."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="jobico-deadline", daemon=True)
            self._thread.start()
        # SAFETY: under the lock, so that the epoch cannot move between reading it and being due.
        with self._lock:
            if context:
                api.set_epoch_deadline(context, 1)
            self._engine = engine
            self._aborted = False
            self._over.clear()
            self._deadline_ns = time.monotonic_ns() + time_ms * 1_000_000
        if self._parked:
            self._resume.set()

    def end(self) -> None:
        """The guest has ended: its deadline can't hit the next one."""
        with self._lock:
            self._deadline_ns = 0

    @property
    def passed(self) -> bool:
        """True once the running guest must end: its time is over or it was aborted."""
        return self._aborted or time.monotonic_ns() >= self._deadline_ns

    @property
    def fired(self) -> bool:
        """True once the running guest was told to end; it may have been in a host call that ended later."""
        return self._over.is_set()

    @property
    def aborted(self) -> bool:
        """True if the guest that runs, or ran last, was aborted."""
        return self._aborted

    def sleep(self, duration_ns: int) -> None:
        """Sleeps for a guest: until the duration is over, or its deadline."""
        left_ns = max(0, self._deadline_ns - time.monotonic_ns())
        self._over.wait(min(duration_ns, left_ns) / 1e9)

    def abort(self) -> bool:
        """Ends the running guest from another thread; False if none runs."""
        with self._lock:
            if not self._deadline_ns:
                return False
            self._aborted = True
            self._end_guest()
            return True

    def _end_guest(self) -> None:
        self._over.set()
        if self._engine:
            api.increment_epoch(self._engine)

    def left_ms(self) -> int:
        """How much time the running guest has left; negative once it is over."""
        return (self._deadline_ns - time.monotonic_ns()) // 1_000_000

    def overdue_ms(self) -> int:
        """How long the running guest is past its deadline; 0 if it isn't, or none runs."""
        deadline_ns = self._deadline_ns
        return max(0, time.monotonic_ns() - deadline_ns) // 1_000_000 if deadline_ns else 0

    def close(self) -> None:
        """Ends the thread; no guest may run."""
        self._closed = True
        self._resume.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        idle_ticks = 0
        while not self._closed:
            time.sleep(_TICK_S)
            with self._lock:
                running = self._deadline_ns != 0
                if running and not self._over.is_set() and time.monotonic_ns() >= self._deadline_ns:
                    self._end_guest()
            idle_ticks = 0 if running else idle_ticks + 1
            if idle_ticks > _IDLE_TICKS_MAX:
                self._park()
                idle_ticks = 0

    def _park(self) -> None:
        # SAFETY: `_parked` is set before the last look at `_deadline_ns`, and `begin` sets the latter before
        # it looks at the former, so one of the two sees the other and no guest runs unwatched.
        self._resume.clear()
        self._parked = True
        if not self._deadline_ns and not self._closed:
            self._resume.wait()
        self._parked = False
