"""One transaction on the named tables of a store: what is read and written by key.

Never begins nor commits anything: `Environment` begins, `Writer` commits.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import lmdb

from jobico.storage.values import Cursor

if TYPE_CHECKING:
    _Raw = lmdb.Transaction[bytes]
    _Table = lmdb._Database  # noqa: SLF001 - the name that its stubs give
else:
    _Raw = _Table = object

__all__ = ["Txn"]


class Txn:
    """One transaction on named tables; ends with its `with` block. A write is committed by `Writer` alone."""

    __slots__ = ("_tables", "raw")

    def __init__(self, raw: _Raw, tables: Mapping[str, _Table]) -> None:
        self.raw = raw
        self._tables = tables

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value of `key`, or None."""
        return self.raw.get(key, db=self._tables[table])

    def put(
        self, table: str, key: bytes, value: bytes, *, overwrite: bool = True, append: bool = False
    ) -> bool:
        """Stores `value`; False where the key is there and not to be overwritten. `append`: it sorts last."""
        return bool(self.raw.put(key, value, overwrite=overwrite, append=append, db=self._tables[table]))

    def delete(self, table: str, key: bytes) -> bool:
        """Deletes `key`; False where it is not there."""
        return bool(self.raw.delete(key, db=self._tables[table]))

    def pop(self, table: str, key: bytes) -> bytes | None:
        """Deletes `key` and answers what it held, or None."""
        return self.raw.pop(key, db=self._tables[table])

    def cursor(self, table: str) -> Cursor:
        """A cursor on `table`, not yet placed."""
        return self.raw.cursor(db=self._tables[table])

    def items(self, table: str, prefix: bytes = b"", *, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Keys that begin with `prefix`, in order, with their values; from `start` on where it is given."""
        cursor = self.cursor(table)
        if not cursor.set_range(start or prefix):
            return
        for key, value in cursor:
            if not key.startswith(prefix):
                return
            yield key, value

    def items_reversed(
        self, table: str, prefix: bytes = b"", *, before: bytes = b""
    ) -> Iterator[tuple[bytes, bytes]]:
        """Keys that begin with `prefix`, in reverse order; only those below `before` where it is given."""
        cursor = self.cursor(table)
        placed = cursor.set_range(before) if before else cursor.set_range(_after(prefix)) if prefix else False
        if not (cursor.prev() if placed else cursor.last()):
            return
        for key, value in cursor.iterprev():
            if not key.startswith(prefix):
                return
            yield key, value

    def used_pages(self) -> int:
        """Pages in use, the free list's own aside; all others of the map are free."""
        stats = [self.raw.stat(table) for table in self._tables.values()]
        return 2 + sum(each["branch_pages"] + each["leaf_pages"] + each["overflow_pages"] for each in stats)

    def count(self, table: str) -> int:
        """How many keys `table` has."""
        return int(self.raw.stat(self._tables[table])["entries"])


def _after(prefix: bytes) -> bytes:
    """The smallest key that sorts behind every key with that prefix."""
    head = prefix.rstrip(b"\xff")
    return head[:-1] + bytes([head[-1] + 1]) if head else prefix + b"\xff" * 8
