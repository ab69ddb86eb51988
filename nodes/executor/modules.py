"""Getting a module that is not compiled here yet, without holding up the events of others.

It owns the threads that fetch from the repository and wait for the compiler's child. It never loads or runs
what they bring: that is the sandbox's, in the thread that runs guests.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from jobico.definition import RuntimeSpec
from jobico.errors import InvalidModule, JobicoError
from jobico.logs import Action, get_logger

__all__ = ["Modules", "module_key"]

Fetch = Callable[[str], bytes]
Prepare = Callable[[RuntimeSpec, Fetch], None]

_AT_ONCE_MAX: Final = 4
_TRIES: Final = 2
_TRY_AGAIN_S: Final = 0.25
_REST_S: Final = 2.0
_REMEMBERED_MAX: Final = 10_000


def module_key(spec: RuntimeSpec) -> str:
    """What is compiled once: a module for an engine, with or without fuel."""
    return f"{spec.digest}.{spec.engine}.{'fuel' if spec.limits.fuel else 'plain'}"


class Modules:
    """Knows which modules are compiled here.

    Args:
        prepare: Compiles a module if need be; may be called by several threads, and while a guest runs.
        fetch: Gives its bytes; raises a `JobicoError` where they cannot be had.
        on_here: Given the key of a module that is compiled, or known to be unusable, from now on.
        on_away: Given the key of one that cannot be had now.
    """

    def __init__(
        self,
        prepare: Prepare,
        fetch: Fetch,
        *,
        on_here: Callable[[str], None],
        on_away: Callable[[str], None],
    ) -> None:
        self._prepare = prepare
        self._fetch = fetch
        self._on_here = on_here
        self._on_away = on_away
        self._here: dict[str, str] = {}  # why it cannot run here; empty if it can
        self._coming: dict[str, threading.Thread] = {}
        self._rest_until_s: dict[str, float] = {}
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(_AT_ONCE_MAX)
        self._stopping = threading.Event()
        self._log = get_logger()

    def verdict(self, key: str) -> str | None:
        """Empty for a module that can run here, why it cannot, or None if it is not here."""
        return self._here.get(key)

    def want(self, key: str, spec: RuntimeSpec) -> None:
        """Begins to get a module, unless that is under way; `on_here` or `on_away` will tell."""
        with self._lock:
            if key in self._coming or self._stopping.is_set():
                return
            thread = threading.Thread(target=self._get, args=(key, spec), name="module", daemon=True)
            self._coming[key] = thread
        thread.start()

    def forget(self, key: str) -> None:
        """Hears that a module is not here after all: its cache was emptied."""
        self._here.pop(key, None)

    def stop(self, timeout_s: float) -> None:
        """Begins no more, and waits for what is under way, but not longer than that."""
        self._stopping.set()
        until_s = time.monotonic() + timeout_s
        for thread in list(self._coming.values()):
            thread.join(max(0.0, until_s - time.monotonic()))

    def _get(self, key: str, spec: RuntimeSpec) -> None:
        # NOTE: a module that could not be had a moment ago rests, so that a delivery which comes back at once
        # is not fetched for in a loop.
        self._stopping.wait(max(0.0, self._rest_until_s.get(key, 0.0) - time.monotonic()))
        with self._slots:
            here = not self._stopping.is_set() and self._try(key, spec)
        with self._lock:
            del self._coming[key]
            if here:
                self._rest_until_s.pop(key, None)
            else:
                self._rest_until_s[key] = time.monotonic() + _REST_S
        (self._on_here if here else self._on_away)(key)

    def _try(self, key: str, spec: RuntimeSpec) -> bool:
        for left in reversed(range(_TRIES)):
            begun_s = time.monotonic()
            try:
                self._prepare(spec, self._fetch)
            except InvalidModule as error:
                self._remember(key, error.message)
                return True
            except (JobicoError, OSError) as error:
                self._log.warning(str(error), action=Action.MODULE_AWAY, digest=spec.digest, tries_left=left)
                if not left or self._stopping.wait(_TRY_AGAIN_S):
                    return False
            else:
                took_ms = round((time.monotonic() - begun_s) * 1_000)
                self._log.info(
                    "module here", action=Action.MODULE_COMPILED, digest=spec.digest, duration_ms=took_ms
                )
                self._remember(key, "")
                return True
        return False

    def _remember(self, key: str, verdict: str) -> None:
        if len(self._here) >= _REMEMBERED_MAX:
            self._here.clear()
        self._here[key] = verdict
