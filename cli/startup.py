"""Starting a platform and knowing when it is ready, or why it is not. It prints nothing."""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec

from cli.ports import free_port
from cli.session import Session
from cli.supervision import NodeProcess, Supervision, expected_nodes, last_lines
from jobico.errors import JobicoError, NodeUnavailable
from jobico.settings import Settings, Transport
from protocol.key_files import make_missing_key_pairs
from protocol.sockets import Wire

if TYPE_CHECKING:
    import subprocess

__all__ = ["Started", "resolve_port", "start"]

_READY_S = 30.0
_FAILING_S = 5.0  # a node that keeps ending is given up after this long
_ASK_MS = 500.0
_POLL_S = 0.05
_LINES_SHOWN = 5


class Started(msgspec.Struct, frozen=True):
    """A platform that is ready."""

    process: "subprocess.Popen[bytes]"
    settings: Settings
    supervision: Supervision
    url: str
    took_ms: float


def resolve_port(settings: Settings) -> Settings:
    """The settings with a port that stays the same when the listener restarts: 0 becomes one that is free."""
    if settings.http_port:
        return settings
    return msgspec.structs.replace(settings, http_port=free_port(settings.http_host))


def start(settings: Settings, on_ready: Callable[[str, float], None]) -> Started:
    """Starts the platform and returns once every node is ready.

    Args:
        settings: Of the platform.
        on_ready: Told of each node as it becomes ready, with the milliseconds since the start.

    Raises:
        AlreadyExists: one runs in that data directory.
        NodeUnavailable: a node did not become ready; everything is stopped again.
    """
    settings = resolve_port(settings)
    supervision = Supervision(settings)
    if settings.transport is Transport.TCP:
        roles = dict.fromkeys(expected_nodes(settings), "node") | {"operator": "operator"}
        make_missing_key_pairs(settings.keys_dir, roles)
    begun_ms, begun_s = time.time_ns() // 1_000_000, time.monotonic()
    process = supervision.start()
    try:
        with Wire(settings, "operator") as wire:
            session = Session(settings, wire)
            try:
                _await_ready(session, supervision, begun_ms, on_ready)
                url = session.url()
            finally:
                session.close()
    except BaseException:
        supervision.stop()
        process.wait()
        raise
    return Started(process, settings, supervision, url, (time.monotonic() - begun_s) * 1_000)


def _await_ready(
    session: Session, supervision: Supervision, begun_ms: int, on_ready: Callable[[str, float], None]
) -> None:
    waiting = dict.fromkeys(expected_nodes(session.settings))
    begun_s = time.monotonic()
    while True:
        for name in _ready(session, begun_ms):
            if name in waiting:
                del waiting[name]
                on_ready(name, (time.monotonic() - begun_s) * 1_000)
        if not waiting:
            return
        passed_s = time.monotonic() - begun_s
        processes = {item.name: item for item in supervision.processes()} if passed_s > _FAILING_S else {}
        failing = [
            name for name in waiting if name in processes and processes[name].state in ("BACKOFF", "FATAL")
        ]
        if failing or passed_s > _READY_S or supervision.pid() is None:
            raise _not_ready(session.settings, failing or list(waiting), processes)
        time.sleep(_POLL_S)


def _ready(session: Session, begun_ms: int) -> list[str]:
    """Nodes of this start that are ready, as far as control knows."""
    try:
        nodes = session.nodes(_ASK_MS, fresh=True)
    except JobicoError:
        return []  # control is not there yet
    return [node.name for node in nodes if node.ready and not node.lost and node.started_ms >= begun_ms]


def _not_ready(settings: Settings, names: list[str], processes: Mapping[str, NodeProcess]) -> JobicoError:
    reasons = []
    for name in names:
        process = processes.get(name)
        said = f": {process.said}" if process and process.said else ""
        log = settings.logs_dir / f"{name}.log"
        lines = "".join(f"\n    {line}" for line in last_lines(log, _LINES_SHOWN))
        reasons.append(f"\n  {name}{said}, {log} ends with{lines}" if lines else f"\n  {name}{said}")
    return NodeUnavailable(
        f"{', '.join(names)} did not become ready, so everything was stopped again.{''.join(reasons)}",
        detail={"nodes": names},
    )
