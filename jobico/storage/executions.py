"""The recorder's executions: a record of every attempt, for as long as the retention says.

Owns the store of kind `executions`, drawn in `execution_rows`. Never changes a record: it gives back the
bytes that came. Never reads a clock.

Crash safety: a record, its indexes and the counts are one transaction; the listener is told only after its
sync, and sends again what it was not told of: the key (event id, attempt) makes the second one nothing.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Final, NamedTuple, Self

import msgspec

from jobico.errors import CorruptRecord
from jobico.event import Outcome, Record
from jobico.limits import EXECUTIONS_MAP_BYTES, QUERY_ROWS_MAX
from jobico.storage.environment import META, Environment
from jobico.storage.execution_rows import (
    EXECUTIONS_LAYOUT,
    Brief,
    Item,
    Stored,
    Tally,
    append_records,
    attempt_prefix,
    decode_brief,
    first_row_since,
    get_tally,
    row_key,
    trim_records,
)
from jobico.storage.ops import Session
from jobico.storage.quarantine import Quarantine
from jobico.storage.store import Store
from jobico.storage.transaction import Txn
from jobico.storage.values import get_value
from jobico.storage.writer import Writer

__all__ = ["Executions", "Page", "Stored", "Tally"]

SCANNED_ROWS_MAX: Final = 10_000
_decode = msgspec.msgpack.Decoder(Record).decode


class Page(NamedTuple):
    """Records that match, in the order asked for."""

    rows: tuple[tuple[int, bytes], ...]
    next: int
    """What to give as `before` (or `after`) for more; 0: there are none."""
    newest: int
    """The number of the newest row of all."""


class Filter(NamedTuple):
    """What a record must have; what is empty matches all."""

    tenant: str = ""
    job: str = ""
    event: str = ""
    outcome: str = ""
    since_ms: int = 0

    def matches(self, brief: Brief) -> bool:
        """True if a record has all of it."""
        return (
            self.tenant in ("", brief.tenant)
            and self.job in ("", brief.job)
            and self.event in ("", brief.event)
            and self.outcome in ("", brief.outcome)
            and brief.settled_ms >= self.since_ms
        )

    def best_index(self) -> tuple[str, bytes]:
        """The table, and what its keys begin with, that leads to the fewest rows."""
        prefix = self.tenant.encode() + b"\0"
        if not self.tenant:
            return "records", b""
        if self.outcome and self.outcome != Outcome.OK:
            return "by_outcome", prefix + self.outcome.encode() + b"\0"
        if self.event:
            return "by_event", prefix + self.event.encode() + b"\0"
        if self.job:
            return "by_job", prefix + self.job.encode() + b"\0"
        if self.outcome:
            return "by_outcome", prefix + self.outcome.encode() + b"\0"
        return "by_tenant", prefix


class Executions(Store):
    """The records of the recorder; may be used from any thread, `close` aside.

    Attributes:
        rejected: How many items were dropped because they are no records.
    """

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._quarantine = Quarantine(env, EXECUTIONS_LAYOUT)
        self.rejected = 0
        self._writer = Writer(env, Session)

    @classmethod
    def open(cls, path: Path, *, map_bytes: int = EXECUTIONS_MAP_BYTES) -> Self:
        """Opens the store in directory `path`, made if need be.

        Raises:
            StorageUnavailable, StoreVersion: see `Environment.open`.
        """
        return cls(Environment.open(path, EXECUTIONS_LAYOUT, map_bytes=map_bytes))

    # --- Writing ------------------------------------------------------------------------------------------

    def append(self, items: Sequence[bytes]) -> "Future[list[Stored]]":
        """Stores records, each the msgpack of a `Record`; resolves, once synced, to those that are new.

        What does not decode is counted and dropped: sent again, it would not decode either.
        """
        decoded = []
        for content in items:
            try:
                decoded.append(Item(_decode(content), content))
            except msgspec.MsgspecError:
                self.rejected += 1
        size_bytes = sum(len(item.content) for item in decoded)
        return self._writer.submit(
            lambda session: append_records(session.txn, decoded), size_bytes=size_bytes
        )

    def trim(
        self, *, now_ms: int, retention_ms: int, retention_bytes: int, count_max: int = 1_000
    ) -> "Future[int]":
        """Deletes at most `count_max` of the oldest records: those past the retention, by age or by bytes.

        Resolves to how many it deleted; as many as `count_max` means: call again.
        """
        return self._writer.submit(
            lambda session: trim_records(session.txn, now_ms - retention_ms, retention_bytes, count_max),
            growth=False,
        )

    # --- Reading ------------------------------------------------------------------------------------------

    def list(
        self,
        *,
        tenant: str = "",
        job: str = "",
        event: str = "",
        outcome: str = "",
        since_ms: int = 0,
        before: int = 0,
        after: int = -1,
        limit: int = 100,
    ) -> Page:
        """Records that match, newest first, from below row `before` on.

        It reads a bounded number of rows: a page may be short, or empty, and yet have a `next`.

        Args:
            tenant: Whose; empty is anybody's, as with all text here.
            job: Of which job.
            event: Of which event.
            outcome: With which outcome.
            since_ms: Settled at that time or later.
            before: The row to go on from; 0 begins with the newest.
            after: From 0 on: rows above that one, oldest first. `before` means nothing then, and `next` is
            what
                to give as `after` for more.
            limit: At most so many.
        """
        wanted = Filter(tenant, job, event, outcome, since_ms)
        limit = min(limit, QUERY_ROWS_MAX)
        found: list[tuple[int, bytes]] = []
        scanned = 0
        with self._env.read() as txn:
            newest = _newest(txn)
            first = first_row_since(txn, since_ms) if since_ms else 0
            rows = _rows(txn, wanted, after) if after >= 0 else _rows_reversed(txn, wanted, before)
            for row in rows:
                if row < first and after < 0:
                    break
                content = self._content(txn, row)
                if content is not None and wanted.matches(decode_brief(content)):
                    found.append((row, content))
                scanned += 1
                if len(found) >= limit or scanned >= SCANNED_ROWS_MAX:
                    return Page(tuple(found), row, newest)
        return Page(tuple(found), 0, newest)

    def show(self, tenant: str, event_id: str) -> tuple[bytes, ...]:
        """The records of an event by attempt; with a tenant, none where it is not the tenant's."""
        with self._env.read() as txn:
            rows = [int.from_bytes(row) for _, row in txn.items("attempts", attempt_prefix(event_id))]
            contents = [self._content(txn, row) for row in rows]
        return tuple(
            content
            for content in contents
            if content is not None and tenant in ("", decode_brief(content).tenant)
        )

    def totals(self, tenant: str = "") -> Tally:
        """The counts of a tenant, or of all."""
        with self._env.read() as txn:
            return get_tally(txn, tenant)

    @property
    def newest(self) -> int:
        """The number of the newest row there ever was; 0 before the first."""
        with self._env.read() as txn:
            return _newest(txn)

    def _content(self, txn: Txn, row: int) -> bytes | None:
        """The record in a row; None where it is gone or damaged."""
        key = row_key(row)
        try:
            return get_value(txn.cursor("records"), key)
        except CorruptRecord:
            self._quarantine.report(self._writer, "records", key)
            return None


def _newest(txn: Txn) -> int:
    return int(txn.get(META, b"newest") or 0)


def _rows(txn: Txn, wanted: Filter, after: int) -> Iterator[int]:
    """Rows that the best index leads to, oldest first."""
    table, prefix = wanted.best_index()
    for key, _ in txn.items(table, prefix, start=prefix + row_key(after + 1)):
        if table != "records" or len(key) == 8:
            yield int.from_bytes(key[-8:])


def _rows_reversed(txn: Txn, wanted: Filter, before: int) -> Iterator[int]:
    """Rows that the best index leads to, newest first."""
    table, prefix = wanted.best_index()
    for key, _ in txn.items_reversed(table, prefix, before=prefix + row_key(before) if before else b""):
        if table != "records" or len(key) == 8:
            yield int.from_bytes(key[-8:])
