"""One LMDB environment: opened once a process, checked for kind and schema version, closed once.

Owns the directory of a store (mode 0700), its map and its named tables. Never decides what is in a table, and
never writes after `open`: that is `Writer`'s alone.

    meta   b"kind"    -> which store this is, such as b"queue"
           b"schema"  -> the version of its layout, decimal

Crash safety is LMDB's: pages are copied on write and a commit syncs them before it syncs the root that makes
them visible, so what a killed process or a power cut leaves is the last committed transaction, whole.
"""

import errno
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import lmdb

from jobico import limits
from jobico.errors import StorageUnavailable, StoreVersion
from jobico.storage.layout import Layout
from jobico.storage.transaction import Txn

__all__ = ["META", "Environment", "unavailable"]

META: Final = "meta"

# More than the header and STORE_READERS_MAX slots of 64 bytes.
_LOCK_BYTES: Final = 8 * limits.KIB

_open_paths: set[tuple[int, str]] = set()  # (process, real path)


def unavailable(path: Path, error: Exception) -> StorageUnavailable:
    """The error to give a caller for what LMDB or the system said of the store at `path`."""
    if isinstance(error, lmdb.MapFullError):
        reason = "its map is full: let the backlog drain, or start it with a larger map"
    elif isinstance(error, lmdb.DiskError) or (isinstance(error, OSError) and error.errno == errno.ENOSPC):
        reason = "the disk is full: free some space, it goes on by itself"
    elif isinstance(error, lmdb.ReadonlyError | PermissionError):
        reason = (
            f"it is not writable by user {os.getuid()}: give it the directory, or choose another JOBICO_HOME"
        )
    else:
        reason = f"the system answered: {error}"
    return StorageUnavailable(f"The store at {path} cannot be used: {reason}.")


class Environment:
    """One store of this process; made by `open`, after any fork."""

    def __init__(self, path: Path, tables: Sequence[str], map_bytes: int) -> None:
        self.path = path
        self.map_bytes = map_bytes
        self._names = tables
        self._key = (os.getpid(), os.path.realpath(path))
        self._gate = threading.Condition()
        self._readers = 0
        assert self._key not in _open_paths, f"{path} is open in this process already"
        self._connect()
        _open_paths.add(self._key)

    @classmethod
    def open(cls, path: Path, layout: Layout, *, map_bytes: int) -> Self:
        """Opens the store in directory `path`, making it if it is not there.

        Args:
            path: The directory; it becomes mode 0700.
            layout: Which store it is; a directory that holds another kind or version is refused.
            map_bytes: The most it may ever take; address space, not disk.

        Raises:
            StorageUnavailable: the directory or its files cannot be made, read or written.
            StoreVersion: it holds another kind of store, or another version of the layout.
        """
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.chmod(0o700)
            env = cls(path, (META, *layout.names), map_bytes)
        except lmdb.VersionMismatchError as error:
            raise StoreVersion(
                f"The store at {path} was written by another LMDB: restore it from a backup."
            ) from error
        except (lmdb.Error, OSError) as error:
            raise unavailable(path, error) from error
        try:
            env._claim(layout.kind, layout.schema)
        except lmdb.Error as error:
            env.close()
            raise unavailable(path, error) from error
        except StoreVersion:
            env.close()
            raise
        return env

    def _connect(self) -> None:
        _allocate(self.path / "lock.mdb", _LOCK_BYTES)
        self.raw = lmdb.open(
            str(self.path),
            map_size=self.map_bytes,
            max_dbs=len(self._names),
            max_readers=limits.STORE_READERS_MAX,
            max_spare_txns=4,
            mode=0o600,
        )
        # NOTE: a reader that was killed pins the pages it read; its slot is freed here.
        self.raw.reader_check()
        self.tables = {name: self.raw.open_db(name.encode()) for name in self._names}

    def _claim(self, kind: str, schema: int) -> None:
        """Marks a new store as `kind` of `schema`, or checks the marks of an old one."""
        with self.raw.begin(write=True) as raw:
            txn = Txn(raw, self.tables)
            found = txn.get(META, b"kind")
            if found is None:
                txn.put(META, b"kind", kind.encode())
                txn.put(META, b"schema", b"%d" % schema)
                return
            version = int(txn.get(META, b"schema") or 0)
        if found != kind.encode():
            raise StoreVersion(
                f"{self.path} holds a store of kind {found.decode()!r}, not {kind!r}: "
                "choose another JOBICO_HOME or node name."
            )
        if version != schema:
            older = version < schema
            raise StoreVersion(
                f"The store at {self.path} has layout {version}, this Jobico reads {schema}: "
                + ("restore its backup with the version that made it." if older else "upgrade Jobico."),
                detail={"found": version, "supported": schema},
            )

    def read(self) -> "_Reading":
        """A snapshot to read from, for a `with` block; keep it short, it pins the pages that it sees."""
        return _Reading(self)

    def hold(self) -> None:
        """Keeps the environment from being closed for `recover`, until `release`."""
        with self._gate:
            self._readers += 1

    def release(self) -> None:
        """Ends a `hold`."""
        with self._gate:
            self._readers -= 1
            self._gate.notify_all()

    def begin(self) -> Txn:
        """A write transaction, for `Writer` alone."""
        return Txn(self.raw.begin(write=True), self.tables)

    @property
    def page_bytes(self) -> int:
        """The size of a page."""
        return self.raw.stat()["psize"]

    def used_bytes(self) -> int:
        """How far the data file is used; pages before that may be free."""
        return (self.raw.info()["last_pgno"] + 1) * self.page_bytes

    def recover(self, number: int) -> bool:
        """Makes the store usable after the commit of `number` failed; True if that is stored after all.

        SAFETY: when LMDB fails to write a root page it refuses all further work until it is opened again, and
        only then can be seen which root page is on disk.
        """
        try:
            self.raw.begin(write=True).abort()
        except lmdb.PanicError:
            with self._gate:
                self._gate.wait_for(lambda: not self._readers)
                self.raw.close()
                self._connect()
            if self.raw.info()["last_txnid"] < number:
                return False
            self.raw.sync(True)
            return True
        except lmdb.Error:
            return False
        return False

    def backup(self, target: Path) -> None:
        """Writes a compact, consistent copy into the new or empty directory `target`; others go on.

        Raises:
            StorageUnavailable: `target` is not empty, or cannot be written.
        """
        try:
            target.mkdir(mode=0o700, parents=True, exist_ok=True)
            if any(target.iterdir()):
                raise StorageUnavailable(f"{target} is not empty: name a new directory for the backup.")
            self.hold()
            try:
                self.raw.copy(str(target), compact=True)
            finally:
                self.release()
            _sync_directory(target)
        except (lmdb.Error, OSError) as error:
            raise unavailable(target, error) from error

    def close(self) -> None:
        """Closes the environment; nothing may use it any more."""
        self.raw.close()
        _open_paths.discard(self._key)


class _Reading:
    """A read transaction; a class, as a generator takes twice the time of a short read."""

    __slots__ = ("_env", "_txn")

    def __init__(self, env: Environment) -> None:
        self._env = env

    def __enter__(self) -> Txn:
        env = self._env
        env.hold()
        try:
            self._txn = Txn(env.raw.begin(), env.tables)
        except lmdb.Error as error:
            env.release()
            raise unavailable(env.path, error) from error
        return self._txn

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._txn.raw.abort()
        self._env.release()
        if isinstance(error, lmdb.Error):
            raise unavailable(self._env.path, error) from error


def _allocate(path: Path, size_bytes: int) -> None:
    """Makes sure that a file has its blocks on disk.

    SAFETY: LMDB writes its lock file through a map; where the disk is full that ends the process (SIGBUS).
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size_bytes)
    finally:
        os.close(descriptor)


def _sync_directory(path: Path) -> None:
    """Syncs a directory and the files in it, so that a copy survives a power cut."""
    for name in (*path.iterdir(), path):
        descriptor = os.open(name, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
