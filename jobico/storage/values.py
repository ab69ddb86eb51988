"""How a value rests in a table: with its checksum, in parts that each fit one page.

    key            -> crc32 of the whole value (4) | number of parts (2) | first part
    key | n (2)    -> part n, from 1 on

Keys are of one fixed length within a table, so parts sort directly behind their key. Parts of one page
need no run of neighbouring free pages: a map that is nearly full and fragmented still takes them (SAFETY:
settlements from the reserve rely on it), and LMDB never searches its free list for a run.
"""

import struct
from typing import TYPE_CHECKING, Final
from zlib import crc32

import lmdb

from jobico.errors import CorruptRecord

if TYPE_CHECKING:
    Cursor = lmdb.Cursor[bytes]
else:
    Cursor = lmdb.Cursor

__all__ = [
    "PART_BYTES",
    "Cursor",
    "Rows",
    "delete_value",
    "get_start",
    "get_value",
    "join_value",
    "pop_value",
    "put_value",
    "seal",
    "seal_parts",
    "size_of",
    "unseal",
]

PART_BYTES: Final = 4080  # a page of 4096 less its header

_HEAD = struct.Struct(">IH")
_SINGLE: Final = b"\x00\x01"
_PART = struct.Struct(">H")
_ROW_OVERHEAD_BYTES: Final = 32

Rows = list[tuple[bytes, bytes | memoryview]]
"""Keys and values to put."""


def seal(value: bytes) -> bytes:
    """`value` with its checksum in front: the form of a value that is always short."""
    return crc32(value).to_bytes(4) + value


def unseal(sealed: bytes) -> bytes:
    """What `seal` was given.

    Raises:
        CorruptRecord: it does not match its checksum.
    """
    value = sealed[4:]
    if len(sealed) < 4 or crc32(value).to_bytes(4) != sealed[:4]:
        raise CorruptRecord("A stored value does not match its checksum: it is set aside.")
    return value


def seal_parts(key: bytes, value: bytes, prefix: bytes = b"") -> Rows:
    """The rows that hold `prefix` and `value`, as one, under `key`; in key order."""
    checksum = crc32(value, crc32(prefix)) if prefix else crc32(value)
    size_bytes = _HEAD.size + len(prefix) + len(value)
    if size_bytes <= PART_BYTES:
        return [(key, b"".join((checksum.to_bytes(4), _SINGLE, prefix, value)))]
    starts = range(PART_BYTES, size_bytes, PART_BYTES)
    # PERF: views, not slices: the bytes of a part are copied once more, by LMDB.
    whole = memoryview(b"".join((_HEAD.pack(checksum, len(starts) + 1), prefix, value)))
    rows: Rows = [(key, whole[:PART_BYTES])]
    rows += [(key + _PART.pack(n), whole[at : at + PART_BYTES]) for n, at in enumerate(starts, 1)]
    return rows


def size_of(rows: Rows) -> int:
    """About how many bytes rows take in a store."""
    # PERF: nearly always one row.
    if len(rows) == 1:
        return len(rows[0][1]) + _ROW_OVERHEAD_BYTES
    return sum([len(row) + _ROW_OVERHEAD_BYTES for _, row in rows])


def get_value(cursor: Cursor, key: bytes) -> bytes | None:
    """The value under `key`, or None.

    Raises:
        CorruptRecord: it does not match its checksum.
    """
    first = cursor.get(key)
    return None if first is None else join_value(cursor, first)


def get_start(cursor: Cursor, key: bytes, bytes_max: int) -> bytes | None:
    """The value under `key` or, where it is longer, its first `bytes_max` bytes, unchecked; or None.

    Raises:
        CorruptRecord: it is not longer than that, and does not match its checksum.
    """
    first = cursor.get(key)
    if first is None:
        return None
    if int.from_bytes(first[4:6]) * PART_BYTES <= bytes_max:
        return join_value(cursor, first)
    start = bytearray(first[_HEAD.size :])
    while len(start) < bytes_max and cursor.next() and cursor.key().startswith(key):
        start += cursor.value()
    return bytes(start[:bytes_max])


def join_value(cursor: Cursor, first: bytes) -> bytes:
    """The value whose first row the cursor is on; leaves it on the last.

    Raises:
        CorruptRecord: it does not match its checksum, or a part is missing.
    """
    if len(first) < _HEAD.size:
        raise CorruptRecord("A stored value is cut short: it is set aside.")
    checksum, parts = _HEAD.unpack_from(first)
    value = first[_HEAD.size :]
    if parts > 1:
        pieces = [value]
        for _ in range(parts - 1):
            if not cursor.next():
                break
            pieces.append(cursor.value())
        value = b"".join(pieces)
    if crc32(value) != checksum:
        raise CorruptRecord("A stored value does not match its checksum: it is set aside.")
    return value


def put_value(cursor: Cursor, key: bytes, value: bytes) -> None:
    """Stores `value` under `key`, in place of what may be there."""
    delete_value(cursor, key)
    for row_key, row in seal_parts(key, value):
        cursor.put(row_key, row)


def pop_value(cursor: Cursor, key: bytes) -> bytes | None:
    """Deletes the value under `key`; answers its first row, for who needs to look at it, or None."""
    first = cursor.pop(key)
    if first is not None and first[4:6] != _SINGLE:
        _delete_parts(cursor, key)
    return first


def delete_value(cursor: Cursor, key: bytes) -> bool:
    """Deletes the value under `key`; False where there is none."""
    return pop_value(cursor, key) is not None


def _delete_parts(cursor: Cursor, key: bytes) -> None:
    """Deletes the parts behind `key`, whose first row is gone; trusts keys: counts may be damaged."""
    length = len(key) + _PART.size
    found = cursor.set_range(key)
    while found:
        part = cursor.key()
        if len(part) != length or not part.startswith(key):
            return
        cursor.delete()
        found = bool(cursor.key())
