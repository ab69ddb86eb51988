"""Backups of stores: proof that one is whole, and the way back from it.

A backup is what `backup` of a store or `copy_store` wrote: a directory with one LMDB data file, compact and
consistent. Never writes to a store that is in use: nodes are stopped for a restore.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import lmdb

from jobico import limits
from jobico.errors import CorruptRecord, StorageUnavailable, StoreVersion
from jobico.storage.artifact_rows import ARTIFACTS_LAYOUT
from jobico.storage.catalog_view import CATALOG_LAYOUT
from jobico.storage.environment import META, unavailable
from jobico.storage.execution_rows import EXECUTIONS_LAYOUT
from jobico.storage.layout import Form, Layout
from jobico.storage.queue_rows import QUEUE_LAYOUT
from jobico.storage.transaction import Txn
from jobico.storage.values import join_value, unseal

__all__ = ["LAYOUTS", "StoreReport", "check_store", "copy_store", "kind_of", "restore_store"]

LAYOUTS: Final = {
    layout.kind: layout for layout in (QUEUE_LAYOUT, CATALOG_LAYOUT, ARTIFACTS_LAYOUT, EXECUTIONS_LAYOUT)
}
"""The layouts of all stores by kind."""

_TABLES_MAX: Final = 32


class StoreReport(NamedTuple):
    """What was found in a store."""

    kind: str
    values: int
    damaged: int
    size_bytes: int


def kind_of(path: Path) -> str:
    """The kind of the store in directory `path`, which may be in use.

    Raises:
        StorageUnavailable: there is none, or it cannot be read.
        StoreVersion: it is of a kind or layout that this version does not read.
    """
    try:
        with _reading(path) as raw, raw.begin() as txn:
            return _layout_of(path, raw, txn).kind
    except lmdb.Error as error:
        raise unavailable(path, error) from error


def copy_store(source: Path, target: Path) -> StoreReport:
    """Copies one moment of the store in `source`, which may be in use, to a new directory; checks the copy.

    LMDB lets another process read beside the one that writes; neither waits for the other.

    Raises:
        StorageUnavailable, StoreVersion: see `check_store`; or the disk of `target` is full.
    """
    try:
        target.mkdir(mode=0o700, parents=True)
        with _reading(source) as raw:
            raw.copy(str(target), compact=True)
        (target / "data.mdb").chmod(0o600)
        with (target / "data.mdb").open("rb") as copied:
            os.fsync(copied.fileno())
        _sync_directory(target)
    except (lmdb.Error, OSError) as error:
        raise unavailable(target, error) from error
    return check_store(target)


def check_store(path: Path) -> StoreReport:
    """Reads every value of the store or backup in directory `path`, which nobody has open.

    Raises:
        StorageUnavailable: there is none, or it cannot be read.
        StoreVersion: it is of a kind or layout that this version does not read.
    """
    data = path / "data.mdb"
    if not data.is_file():
        raise StorageUnavailable(f"{path} holds no store: name a directory that a backup wrote.")
    try:
        # NOTE: nothing is written, not even a lock file: a backup may be on a read-only medium.
        with (
            lmdb.open(str(path), readonly=True, lock=False, max_dbs=_TABLES_MAX) as raw,
            raw.begin() as raw_txn,
        ):
            layout = _layout_of(path, raw, raw_txn)
            tables = {name: raw.open_db(name.encode(), txn=raw_txn, create=False) for name in layout.tables}
            txn = Txn(raw_txn, tables)
            found = [whole for table in layout.tables for whole in _values(txn, layout, table)]
    except lmdb.Error as error:
        raise unavailable(path, error) from error
    return StoreReport(layout.kind, len(found), found.count(False), data.stat().st_size)


def restore_store(source: Path, target: Path) -> StoreReport:
    """Puts a backup in the place of the store in directory `target`, after checking all of it.

    Raises:
        StorageUnavailable, StoreVersion: see `check_store`; or `target` has a store already.
    """
    if (target / "data.mdb").exists():
        raise StorageUnavailable(f"{target} has a store already: move it away first.")
    report = check_store(source)
    try:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = target / "data.mdb.restoring"
        shutil.copyfile(source / "data.mdb", unfinished)
        unfinished.chmod(0o600)
        with unfinished.open("rb") as copied:
            os.fsync(copied.fileno())
        unfinished.rename(target / "data.mdb")
        _sync_directory(target)
    except OSError as error:
        raise unavailable(target, error) from error
    return report


def _reading(path: Path) -> lmdb.Environment:
    """The store in `path`, for a process that only reads."""
    data = path / "data.mdb"
    if not data.is_file():
        raise StorageUnavailable(f"{path} holds no store.")
    # NOTE: what is mapped is address space; the writer may grow the file before the copy begins.
    map_bytes = data.stat().st_size + limits.GIB
    return lmdb.open(str(path), readonly=True, create=False, max_dbs=_TABLES_MAX, map_size=map_bytes)


def _layout_of(path: Path, raw: lmdb.Environment, txn: "lmdb.Transaction[bytes]") -> Layout:
    """The layout that a store says it has."""
    try:
        meta = raw.open_db(META.encode(), txn=txn, create=False)
        kind, schema = txn.get(b"kind", db=meta), txn.get(b"schema", db=meta)
    except lmdb.NotFoundError:
        kind = schema = None
    layout = LAYOUTS.get((kind or b"").decode("ascii", "replace"))
    if layout is None or schema != b"%d" % layout.schema:
        raise StoreVersion(f"{path} holds no store of Jobico, or one of another version.")
    return layout


def _values(txn: Txn, layout: Layout, table: str) -> Iterator[bool]:
    """For each value of a table, whether it is whole."""
    form = layout.tables[table]
    if form is Form.PARTS:
        yield from _values_in_parts(txn, table)
        return
    for _, sealed in txn.items(table):
        yield form is Form.PLAIN or _is_whole(sealed)


def _is_whole(sealed: bytes) -> bool:
    try:
        unseal(sealed)
    except CorruptRecord:
        return False
    return True


def _values_in_parts(txn: Txn, table: str) -> Iterator[bool]:
    # NOTE: keys of such a table are of one length; a longer one is a part, here of a damaged value.
    cursor = txn.cursor(table)
    placed = cursor.first()
    length = len(cursor.key())
    while placed:
        key, first = cursor.item()
        if len(key) == length:
            try:
                join_value(cursor, first)
                yield True
            except CorruptRecord:
                cursor.set_key(key)
                yield False
        placed = cursor.next()


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
