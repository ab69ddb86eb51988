"""What tests of the stores share: factories of entries and records, a queue that is waited for, damage."""

import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import lmdb

from jobico.change import Accept, Bury, Change, Entry, Lease, Settle
from jobico.event import Event, Outcome, Record, State
from jobico.limits import MIB
from jobico.storage.queue import Applied, EventQueue

__all__ = ["LEASE", "WaitedQueue", "accept", "bury", "damage", "make_entry", "make_record", "settle"]

DEADLINE_S = 20
LEASE = Lease(token=7, executor="executor-0", instance="abc")


def make_entry(
    seq: int, *, event_id: str = "", payload: bytes = b"{}", tenant: str = "acme", **fields: object
) -> Entry:
    """An entry whose event is named after its seq."""
    event = Event(
        id=event_id or f"event-{seq}",
        tenant=tenant,
        event="registration",
        job="customers",
        queue="default",
        payload=payload,
        accepted_ms=1_000 + seq,
    )
    return Entry(seq, event, **fields)  # type: ignore[arg-type]


def make_record(event_id: str = "event-1", attempt: int = 1, **fields: object) -> Record:
    """A record of a successful attempt, but for the fields given."""
    values: dict[str, object] = {
        "tenant": "acme",
        "job": "customers",
        "event": "registration",
        "queue": "default",
        "revision": 1,
        "outcome": Outcome.OK,
        "state": State.DONE,
        "code": 0,
        "accepted_ms": 1_000,
        "leased_ms": 1_001,
        "settled_ms": 1_002,
        "run_us": 10,
        "listener": "listener",
        "executor": "executor-0",
    }
    return Record(id=event_id, attempt=attempt, **(values | fields))  # type: ignore[arg-type]


def accept(*entries: Entry) -> Accept:
    """Accepts entries, without idempotency key."""
    return Accept(entries)


def settle(entry: Entry, *follow_ups: Entry, **fields: object) -> Settle:
    """Settles an entry with success."""
    return Settle(entry.seq, make_record(entry.event.id, **fields), follow_ups)


def bury(entry: Entry, *follow_ups: Entry, reason: str = "attempts", **fields: object) -> Bury:
    """Buries an entry after three attempts."""
    record = make_record(
        entry.event.id,
        3,
        outcome=Outcome.FAILED,
        state=State.DEAD,
        code=9,
        error="no",
        reason=reason,
        **fields,
    )
    return Bury(entry.seq, 3, 1, reason, record, follow_ups)


class WaitedQueue:
    """An `EventQueue` whose applies can be waited for."""

    def __init__(self, path: Path, map_bytes: int = 64 * MIB) -> None:
        self._changed = threading.Condition()
        self._done: dict[int, Applied] = {}
        self.store = EventQueue.open(path, map_bytes=map_bytes, on_commit=self._on_commit)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.store.close()

    def _on_commit(self, applied: Sequence[Applied]) -> None:
        with self._changed:
            self._done.update((id(each.tag), each) for each in applied)
            self._changed.notify_all()

    def wait(self, tag: object) -> Applied:
        """What came of the apply with that tag."""
        with self._changed:
            assert self._changed.wait_for(lambda: id(tag) in self._done, DEADLINE_S), "no answer in time"
            return self._done.pop(id(tag))

    def attempt(self, *changes: Change) -> Applied:
        """Applies changes and waits for what comes of them."""
        tag = object()
        self.store.apply(changes, tag)
        return self.wait(tag)

    def apply(self, *changes: Change) -> tuple[object, ...]:
        """Applies changes that must go through; answers their results."""
        applied = self.attempt(*changes)
        if applied.error is not None:
            raise applied.error
        return applied.results

    def entries(self) -> list[Entry]:
        """What `recover` yields."""
        return [entry for entry, _ in self.store.recover()]

    def outbox(self) -> list[int]:
        """The rows in the outbox."""
        return [row for row, _ in self.store.outbox(0, rows_max=100_000, bytes_max=1 << 40)]


def damage(path: Path, table: str, key: bytes, at: int = -1) -> None:
    """Flips one bit of a stored value of a store that nobody has open; `at` is the byte."""
    with lmdb.open(str(path), max_dbs=32, map_size=64 * MIB) as env:
        rows = env.open_db(table.encode())
        with env.begin(write=True, db=rows) as txn:
            value = bytearray(txn.get(key) or b"")
            value[at] ^= 0x10
            txn.put(key, bytes(value))
