"""Following control's tables: a thread that subscribes, takes a snapshot, and keeps the last one on disk.

It owns the file of the last snapshot and one thread; what the tables mean is up to who follows.
`nodes.replica` decides when a snapshot is due.

The file: 32 bytes of SHA-256, then the msgpack of a `ControlSnapshot`. It is written beside, synced, and
renamed, so that it is whole whenever the machine stops; one that is not whole is as good as none.
"""

import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from jobico.errors import JobicoError
from jobico.logs import Action, get_logger
from jobico.settings import Settings
from nodes.replica import Replica
from protocol.client import Client
from protocol.messages import ControlChange, ControlSnapshot, GetSnapshot, HeartbeatSeen
from protocol.server import Reactor
from protocol.sockets import Wire, control_endpoint
from protocol.topics import CONTROL_TOPIC

__all__ = ["Follower", "Tables", "read_snapshot", "write_snapshot"]

Tables = Mapping[str, Mapping[str, Any]]
"""Rows by key, by table, as typed values (`nodes.replica.TABLES`)."""

_LOOK_MS: Final = 250
_CALL_TIMEOUT_MS: Final = 2_000
_REACH_MS: Final = 200
_DIGEST_BYTES: Final = 32


class Follower:
    """Keeps a node's view of control in step.

    Args:
        settings: Where control is.
        wire: Where its sockets come from.
        cache_path: Where the last snapshot is kept.
        on_change: Given each change as (table, key, value or None), in the follower's thread.
        on_snapshot: Given all tables when they are taken anew: in the follower's thread, and for the one on
        disk
            by `start` in its caller's. The tables are the follower's own: read them there and then, or copy.
    """

    def __init__(
        self,
        settings: Settings,
        wire: Wire,
        cache_path: Path,
        on_change: Callable[[str, str, Any], None],
        on_snapshot: Callable[[Tables], None],
    ) -> None:
        self._settings = settings
        self._wire = wire
        self._cache_path = cache_path
        self._on_change = on_change
        self._on_snapshot = on_snapshot
        self._replica = Replica()
        self._reactor = Reactor(wire)
        self._client = Client(wire, wire.name)
        self._known = threading.Event()
        self._asked = threading.Event()
        self._current = False
        self._seq = 0
        self._kept = (0, "")  # seq and epoch of what is on disk
        self._away = False
        self._log = get_logger()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)

    @property
    def known(self) -> bool:
        """True once there are tables to work from, be they old."""
        return self._known.is_set()

    @property
    def current(self) -> bool:
        """True once the tables are control's own; before, what was just changed may be missing from them."""
        return self._current

    def wait_asked(self, timeout_s: float) -> bool:
        """Waits until control has been asked once, whether it was there or not."""
        return self._asked.wait(timeout_s)

    @property
    def seq(self) -> int:
        """The number of the last change that was handed on."""
        return self._seq

    def wait_known(self, timeout_s: float) -> bool:
        """Waits for that."""
        return self._known.wait(timeout_s)

    def start(self) -> None:
        """Takes the snapshot on disk, if there is one, and begins to follow."""
        snapshot = read_snapshot(self._cache_path)
        if snapshot is not None:
            self._replica.restore(snapshot)
            self._kept = (snapshot.seq, snapshot.epoch)
            self._log.info("works from the last snapshot", action=Action.SNAPSHOT_STALE, seq=snapshot.seq)
            self._announce()
        self._thread.start()

    def seen(self, answer: HeartbeatSeen) -> None:
        """Compares with the answer to a heartbeat; from any thread."""
        self._reactor.call_soon_threadsafe(lambda: self._replica.observe(answer.seq, answer.epoch))

    def stop(self) -> None:
        """Ends the thread."""
        self._reactor.stop()
        if self._thread.is_alive():
            self._thread.join(timeout=_CALL_TIMEOUT_MS / 1_000 + 1)

    def _run(self) -> None:
        # NOTE: the subscription comes before the snapshot, so that no change falls between the two; the
        # little that can (it reaches control a moment after it is sent) is found by the next two heartbeats.
        socket = self._wire.sub(control_endpoint(self._settings, "pub"), [CONTROL_TOPIC])
        self._reactor.on_message(socket, {ControlChange: self._change}, topics=True)
        self._reactor.call_soon_threadsafe(self._look)
        self._reactor.every(_LOOK_MS, self._look)
        try:
            self._reactor.run()
        finally:
            self._keep()
            self._client.close()
            socket.close(linger=0)

    def _change(self, change: ControlChange) -> None:
        for done in self._replica.apply(change):
            if done.table == "peers":
                self._admit_peers()
            self._on_change(done.table, done.key, done.value)
        if self._replica.loading:
            self._look()
        else:
            self._seq = self._replica.seq

    def _look(self) -> None:
        if self._replica.loading:
            self._load()
        self._keep()

    def _load(self) -> None:
        try:
            snapshot = self._client.call(
                control_endpoint(self._settings, "rep"),
                GetSnapshot(),
                timeout_ms=_CALL_TIMEOUT_MS,
                reach_ms=_REACH_MS,
            )
        except JobicoError as error:
            if not self._away:
                self._log.warning(error.message, action=Action.CONTROL_AWAY, code=error.code)
            self._away = True
            self._asked.set()
            return
        self._away = False
        self._current = True
        self._replica.load(snapshot)
        self._log.info("snapshot taken", action=Action.SNAPSHOT_TAKEN, seq=self._replica.seq)
        self._announce()
        self._asked.set()

    def _announce(self) -> None:
        self._admit_peers()
        self._on_snapshot(self._replica.tables)
        self._seq = self._replica.seq
        self._known.set()

    def _admit_peers(self) -> None:
        if self._wire.keyring is not None:
            self._wire.keyring.replace(self._replica.tables["peers"])

    def _keep(self) -> None:
        now = (self._replica.seq, self._replica.epoch)
        if now == self._kept or self._replica.loading:
            return
        try:
            write_snapshot(self._cache_path, self._replica.snapshot())
        except OSError as error:
            self._log.warning(f"The snapshot is not kept: {error}.", action=Action.STORAGE_FAILED)
            return
        self._kept = now


def write_snapshot(path: Path, snapshot: ControlSnapshot) -> None:
    """Keeps a snapshot in a file, whole or not at all."""
    content = msgspec.msgpack.encode(snapshot)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    with open(beside, "wb") as file:
        file.write(hashlib.sha256(content).digest())
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def read_snapshot(path: Path) -> ControlSnapshot | None:
    """The snapshot in a file; None where there is none, or none that is whole."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(content[_DIGEST_BYTES:]).digest() != content[:_DIGEST_BYTES]:
        return None
    try:
        return msgspec.msgpack.decode(content[_DIGEST_BYTES:], type=ControlSnapshot)
    except msgspec.MsgspecError:
        return None
