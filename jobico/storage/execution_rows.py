"""The tables of the recorder's store, and what is done to them within one transaction.

    records     row (8)                        -> parts: msgpack of Record, as the listener sent it
    attempts    id | 0 | attempt (4)           -> row (8): what makes a record that comes twice one
    by_tenant   tenant | 0 | row (8)           -> nothing
    by_job      tenant | 0 | job | 0 | row     -> nothing
    by_event    tenant | 0 | event | 0 | row   -> nothing
    by_outcome  tenant | 0 | outcome | 0 | row -> nothing
    marks       ms (8) | row (8)               -> nothing: no record up to that row was settled after ms
    tallies     tenant, or nothing for all     -> sealed: Tally
    meta        b"newest"                      -> number of the newest row there ever was, decimal
                b"latest"                      -> when the latest of all records was settled, decimal ms

Rows are numbered in the order of their commits, so a range of rows is a range of time but for what came
late; `marks` says how late.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from jobico.errors import CorruptRecord
from jobico.event import Outcome, Record
from jobico.storage.environment import META
from jobico.storage.layout import Form, Layout
from jobico.storage.quarantine import set_aside
from jobico.storage.transaction import Txn
from jobico.storage.values import Rows, get_value, pop_value, seal, seal_parts, unseal

__all__ = [
    "EXECUTIONS_LAYOUT",
    "Brief",
    "Item",
    "Stored",
    "Tally",
    "append_records",
    "attempt_prefix",
    "decode_brief",
    "first_row_since",
    "get_tally",
    "index_keys",
    "row_key",
    "trim_records",
]

EXECUTIONS_LAYOUT: Final = Layout(
    kind="executions",
    schema=1,
    tables={
        "records": Form.PARTS,
        "attempts": Form.PLAIN,
        "by_tenant": Form.PLAIN,
        "by_job": Form.PLAIN,
        "by_event": Form.PLAIN,
        "by_outcome": Form.PLAIN,
        "marks": Form.PLAIN,
        "tallies": Form.SEALED,
    },
)


class Brief(msgspec.Struct, frozen=True):
    """What of a record the indexes and filters need."""

    id: str
    attempt: int
    tenant: str
    job: str
    event: str
    outcome: Outcome
    settled_ms: int


class Tally(msgspec.Struct, frozen=True):
    """Counts: final records by outcome and all records since the store was made, and bytes kept now."""

    final: dict[str, int] = {}
    records: int = 0
    kept_bytes: int = 0


class Item(NamedTuple):
    """A record that came, and its bytes."""

    record: Record
    content: bytes


class Stored(NamedTuple):
    """A record that was stored just now."""

    row: int
    record: Record
    content: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode_tally = msgspec.msgpack.Decoder(Tally).decode
decode_brief = msgspec.msgpack.Decoder(Brief).decode


def row_key(row: int) -> bytes:
    """The key of a row."""
    return row.to_bytes(8)


def attempt_prefix(event_id: str) -> bytes:
    """What the keys of all attempts of an event begin with."""
    return event_id.encode() + b"\0"


def index_keys(brief: Brief | Record, row: bytes) -> tuple[tuple[str, bytes], ...]:
    """The tables and keys that lead to a row."""
    tenant = brief.tenant.encode() + b"\0"
    return (
        ("by_tenant", tenant + row),
        ("by_job", tenant + brief.job.encode() + b"\0" + row),
        ("by_event", tenant + brief.event.encode() + b"\0" + row),
        ("by_outcome", tenant + brief.outcome.value.encode() + b"\0" + row),
    )


def append_records(txn: Txn, items: Sequence[Item]) -> list[Stored]:
    """Stores those records that are not stored yet, under new rows; answers them."""
    row = int(txn.get(META, b"newest") or 0)
    stored: list[Stored] = []
    rows: Rows = []
    indexes: dict[str, list[tuple[bytes, bytes]]] = {}
    for record, content in items:
        attempt = attempt_prefix(record.id) + record.attempt.to_bytes(4)
        if not txn.put("attempts", attempt, row_key(row + 1), overwrite=False):
            continue
        row += 1
        key = row_key(row)
        rows += seal_parts(key, content)
        for table, index in index_keys(record, key):
            indexes.setdefault(table, []).append((index, b""))
        stored.append(Stored(row, record, content))
    if not stored:
        return []
    # PERF: one call a table: see `Writer` on what a call costs while another thread computes.
    txn.cursor("records").putmulti(rows, append=True)
    for table, keys in indexes.items():
        txn.cursor(table).putmulti(keys)
    _mark(txn, row, max(each.record.settled_ms for each in stored))
    _count(txn, stored)
    return stored


def trim_records(txn: Txn, before_ms: int, bytes_max: int, count_max: int) -> int:
    """Deletes the oldest rows: those settled before `before_ms`, or past `bytes_max`; counts them."""
    kept_bytes = get_tally(txn, "").kept_bytes
    freed: Counter[str] = Counter()
    count = 0
    cursor = txn.cursor("records")
    while count < count_max and cursor.first():
        key = cursor.key()
        try:
            content = get_value(cursor, key) or b""
        except CorruptRecord:
            set_aside(txn, EXECUTIONS_LAYOUT, "records", key[:8])
            count += 1
            continue
        brief = decode_brief(content)
        if brief.settled_ms >= before_ms and kept_bytes <= bytes_max:
            break
        pop_value(cursor, key)
        txn.delete("attempts", attempt_prefix(brief.id) + brief.attempt.to_bytes(4))
        for table, index in index_keys(brief, key):
            txn.delete(table, index)
        kept_bytes -= len(content)
        freed[brief.tenant] += len(content)
        count += 1
    _uncount(txn, freed)
    _drop_marks(txn)
    return count


def get_tally(txn: Txn, tenant: str) -> Tally:
    """The counts of a tenant, or of all; damaged ones start anew."""
    sealed = txn.get("tallies", _tally_key(tenant))
    try:
        return Tally() if sealed is None else _decode_tally(unseal(sealed))
    except CorruptRecord:
        return Tally()


def first_row_since(txn: Txn, since_ms: int) -> int:
    """A row before which no record was settled at `since_ms` or later."""
    cursor = txn.cursor("marks")
    found = cursor.set_range(since_ms.to_bytes(8))
    placed = cursor.prev() if found else cursor.last()
    return int.from_bytes(cursor.key()[8:]) + 1 if placed else 0


def _mark(txn: Txn, row: int, settled_ms: int) -> None:
    latest_ms = max(int(txn.get(META, b"latest") or 0), settled_ms)
    txn.put(META, b"newest", b"%d" % row)
    txn.put(META, b"latest", b"%d" % latest_ms)
    txn.put("marks", latest_ms.to_bytes(8) + row_key(row), b"")


def _drop_marks(txn: Txn) -> None:
    """Drops marks of rows that are gone, the last of them aside."""
    records = txn.cursor("records")
    first = records.key() if records.first() else row_key(int(txn.get(META, b"newest") or 0))
    for key, _ in list(txn.items("marks")):
        if key[8:] >= first:
            return
        txn.delete("marks", key)


def _count(txn: Txn, stored: Sequence[Stored]) -> None:
    by_tenant: dict[str, list[Stored]] = {"": list(stored)}
    for each in stored:
        by_tenant.setdefault(each.record.tenant, []).append(each)
    for tenant, group in by_tenant.items():
        old = get_tally(txn, tenant)
        final = Counter(old.final)
        final.update(each.record.outcome.value for each in group if each.record.final)
        added_bytes = sum(len(each.content) for each in group)
        _put_tally(txn, tenant, Tally(dict(final), old.records + len(group), old.kept_bytes + added_bytes))


def _uncount(txn: Txn, freed: Counter[str]) -> None:
    freed[""] = freed.total()
    for tenant, freed_bytes in freed.items():
        old = get_tally(txn, tenant)
        _put_tally(txn, tenant, Tally(old.final, old.records, max(old.kept_bytes - freed_bytes, 0)))


def _put_tally(txn: Txn, tenant: str, tally: Tally) -> None:
    txn.put("tallies", _tally_key(tenant), seal(_encode(tally)))


def _tally_key(tenant: str) -> bytes:
    return b"\0" if not tenant else tenant.encode()
