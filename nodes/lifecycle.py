"""What every node has in common: start, signals, readiness, drain, and how it ends.

It owns the process (signals, umask, exit code, log lines of start and stop). It never knows what a node does:
that is the `serve` function that it is given.

    starting ──▶ ready ──SIGTERM, SIGINT, fault──▶ draining ──▶ stopped: exit 0, or 1 after a fault
"""

import os
import signal
import socket as os_socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from jobico import __version__
from jobico.clock import SystemClock
from jobico.errors import JobicoError
from jobico.ids import check_name, new_instance_id
from jobico.logs import Action, configure_logging, get_logger
from jobico.registry import NodeInfo
from jobico.settings import Settings
from protocol.authorisation import Caller
from protocol.messages import Message, Ping, Pong
from protocol.sockets import Wire

__all__ = ["Node", "process_load", "run_node"]

_EXIT_FAILED: Final = 1
_EXIT_INTERRUPTED: Final = 130
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class Node:
    """One node while it runs. All methods may be called by any thread.

    Attributes:
        name: In the registry.
        instance: Tells this run of the process from any other.
        wire: Its sockets.
        endpoints: Where others reach it, by socket; complete before it is ready.
        load: Facts about its work that `info` tells besides those of the process.
        seq: The last change of control's tables that it works by.
    """

    def __init__(self, settings: Settings, role: str, wire: Wire, name: str) -> None:
        self.settings = settings
        self.role = role
        self.name = name
        self.wire = wire
        self.instance = new_instance_id()
        self.started_ms = SystemClock().wall_ms()
        self.endpoints: dict[str, str] = {}
        self.load: Callable[[], Mapping[str, float]] = dict
        self.seq: Callable[[], int] = int
        self.log = get_logger()
        self.draining = threading.Event()
        self.failed = False
        self._ready = False
        self._store_available = True
        self._on_drain: list[Callable[[], None]] = []
        self._on_ready: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    @property
    def ready(self) -> bool:
        """True while it can do its work."""
        return self._ready and not self.draining.is_set()

    def set_ready(self, ready: bool = True) -> None:
        """Says whether it can do its work; the change is told to control at once."""
        if ready == self._ready:
            return
        self._ready = ready
        if ready:
            took_ms = SystemClock().wall_ms() - self.started_ms
            self.log.info("ready", action=Action.NODE_READY, duration_ms=took_ms, endpoints=self.endpoints)
        for callback in self._on_ready:
            callback()

    def set_store_available(self, available: bool) -> None:
        """Says whether its store takes writes; a node whose store does not is not ready."""
        if available == self._store_available:
            return
        self._store_available = available
        if available:
            self.log.info("the store takes writes again", action=Action.STORAGE_RECOVERED)
        else:
            self.log.error("the store takes no writes", action=Action.STORAGE_FAILED)
        self.set_ready(available)

    def on_ready_changed(self, callback: Callable[[], None]) -> None:
        """Has `callback` called when readiness changes."""
        self._on_ready.append(callback)

    def on_drain(self, callback: Callable[[], None]) -> None:
        """Has `callback` called once when the node is to stop; at once if it already is."""
        with self._lock:
            if not self.draining.is_set():
                self._on_drain.append(callback)
                return
        callback()

    def drain(self) -> None:
        """Begins to stop. Again is nothing new."""
        with self._lock:
            if self.draining.is_set():
                return
            self.draining.set()
        self.log.info("draining", action=Action.NODE_DRAINING)
        for callback in (*self._on_drain, *self._on_ready):
            callback()

    def fail(self, error: BaseException) -> None:
        """Ends the node with an exit code that is not zero: a part it cannot do without has died."""
        self.failed = True
        self.log.error(str(error), action=Action.NODE_FAILED, exc_info=error)
        self.drain()

    def spawn(self, name: str, target: Callable[[], None]) -> threading.Thread:
        """Starts a daemon thread whose death by an exception ends the node."""

        def guarded() -> None:
            try:
                target()
            except Exception as error:
                self.fail(error)

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        return thread

    def info(self) -> NodeInfo:
        """The node as it registers."""
        return NodeInfo(
            name=self.name,
            role=self.role,
            instance=self.instance,
            pid=os.getpid(),
            host=os_socket.gethostname(),
            version=__version__,
            endpoints=dict(self.endpoints),
            public_key=self.wire.keyring.own.public if self.wire.keyring else "",
            ready=self.ready,
            draining=self.draining.is_set(),
            started_ms=self.started_ms,
            load={**process_load(), **self.load()},
        )

    def pong(self, _message: Ping, _caller: Caller) -> Message:
        """Answers a `Ping`."""
        return Pong(node=self.name, ready=self.ready, version=__version__, seq=self.seq())


def process_load() -> dict[str, float]:
    """What this process uses: resident memory, CPU time, threads, open files."""
    with open("/proc/self/statm", "rb") as file:
        resident = int(file.read().split()[1])
    times = os.times()
    return {
        "rss_bytes": float(resident * _PAGE_BYTES),
        "cpu_s": times.user + times.system,
        "threads": float(threading.active_count()),
        "files": float(len(os.listdir("/proc/self/fd"))),
    }


def run_node(
    settings: Settings,
    role: str,
    serve: Callable[[Node], None],
    *,
    prepare: Callable[[Settings], None] = lambda _settings: None,
) -> int:
    """Runs `serve` as a node of that role until it is told to stop; returns the exit code.

    `serve` opens what the node needs, calls `set_ready`, and returns once it is drained. It runs in the main
    thread, after the signals are set; `prepare` runs before the node has any socket.
    """
    os.umask(0o077)
    name = settings.node_name or role
    configure_logging(name, settings.log_level, settings.log_path(name))
    log = get_logger()
    log.info("started", action=Action.NODE_STARTED, role=role, pid=os.getpid(), version=__version__)
    begun_s = time.monotonic()
    try:
        prepare(settings)
        wire = Wire(settings, check_name("node", name))
    except (JobicoError, OSError) as error:
        log.error(str(error), action=Action.NODE_FAILED)
        return _EXIT_FAILED
    node = Node(settings, role, wire, name)
    try:
        with _Signals(node):
            serve(node)
    except JobicoError as error:
        node.failed = True
        log.error(error.message, action=Action.NODE_FAILED, code=error.code, detail=error.detail)
    except Exception as error:
        node.failed = True
        log.error("failed", action=Action.NODE_FAILED, exc_info=error)
    finally:
        wire.close()
    log.info(
        "stopped", action=Action.NODE_STOPPED, failed=node.failed, ran_s=round(time.monotonic() - begun_s, 3)
    )
    return _EXIT_FAILED if node.failed else 0


class _Signals:
    """SIGTERM and SIGINT drain the node; a second one ends the process at once.

    NOTE: Python runs a signal's handler in the main thread, between two of its instructions, but the main
    thread of an executor sits in a guest. So the handler does nothing: a thread hears of the signal through
    the wakeup descriptor, which the interpreter writes to at once.
    """

    _HANDLED: Final = (signal.SIGTERM, signal.SIGINT)

    def __init__(self, node: Node) -> None:
        self._node = node
        self._before: dict[int, object] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # a test runs the node in a thread: whoever started it calls `drain`
        self._heard, wakeup = os_socket.socketpair()
        wakeup.setblocking(False)
        self._wakeup = wakeup
        signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
        for number in self._HANDLED:
            self._before[number] = signal.signal(number, lambda *_: None)
        threading.Thread(target=self._listen, name="signals", daemon=True).start()

    def __exit__(self, *_: object) -> None:
        if not self._before:
            return
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        signal.set_wakeup_fd(-1)
        self._wakeup.close()

    def _listen(self) -> None:
        with self._heard:
            while number := self._heard.recv(1):
                if number[0] not in self._HANDLED:
                    continue
                if self._node.draining.is_set():
                    os._exit(_EXIT_INTERRUPTED)
                self._node.drain()
