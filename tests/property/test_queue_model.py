"""The listener's queue against a plain dictionary, with a reopen between any two steps.

Hypothesis makes the steps: applies of several changes, sensible and not, some of which must fail whole. After
each step the queue must tell exactly what the model tells.
"""

import shutil
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)
from storage_kit import WaitedQueue, bury, make_entry, make_record, settle

from jobico.change import (
    Accept,
    AcceptResult,
    Acknowledge,
    Change,
    Entry,
    Forget,
    IdempotencyKey,
    Lease,
    Purge,
    Replay,
    Reschedule,
    StoreLease,
)
from jobico.errors import Conflict
from jobico.event import Record, State

PAYLOADS = st.one_of(st.binary(max_size=40), st.sampled_from([b"x" * 4_074, b"x" * 4_075, b"y" * 20_000]))


@dataclass
class Model:
    """The queue as it should be."""

    events: dict[int, Entry] = field(default_factory=dict)
    outbox: list[tuple[int, Record]] = field(default_factory=list)
    dead: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    keys: dict[str, tuple[bytes, int, tuple[str, ...]]] = field(default_factory=dict)
    next_row: int = 1
    acknowledged: int = 0

    def copy(self) -> "Model":
        """A model that can go its own way."""
        return replace(
            self,
            events=dict(self.events),
            outbox=list(self.outbox),
            dead=dict(self.dead),
            keys=dict(self.keys),
        )

    def apply(self, change: Change) -> object:  # noqa: C901, PLR0911 - one case a kind of change
        """Does one change; answers its result, or raises Conflict."""
        match change:
            case Accept(entries, key):
                return self._accept(entries, key)
            case StoreLease(seq, lease):
                return self._update(seq, lease=lease)
            case Reschedule(seq, attempts, deaths, ready_at_ms, record):
                done = self._update(
                    seq, attempts=attempts, deaths=deaths, lease=None, ready_at_ms=ready_at_ms
                )
                if done and record is not None:
                    self._record(record)
                return done
            case Replay(event_id, entry):
                if event_id not in self.dead:
                    return False
                payload, _ = self.dead.pop(event_id)
                event = msgspec.structs.replace(entry.event, payload=entry.event.payload or payload)
                self.events[entry.seq] = msgspec.structs.replace(entry, event=event)
                return True
            case Purge(event_id):
                return self.dead.pop(event_id, None) is not None
            case Acknowledge(upto):
                before = len(self.outbox)
                self.outbox = [(row, record) for row, record in self.outbox if row > upto]
                return before - len(self.outbox)
            case Forget(now_ms, count):
                expired = [key for key, (_, expires_ms, _) in self.keys.items() if expires_ms <= now_ms][
                    :count
                ]
                for key in expired:
                    del self.keys[key]
                return len(expired)
            case _:
                return self._end(change)

    def _end(self, change: Any) -> bool:
        entry = self.events.pop(change.seq, None)
        if entry is None:
            return False
        if type(change).__name__ == "Bury":
            self.dead[entry.event.id] = (entry.event.payload, change.reason)
        self._record(change.record)
        self.events.update({each.seq: each for each in change.follow_ups})
        return True

    def _accept(self, entries: tuple[Entry, ...], key: IdempotencyKey | None) -> AcceptResult:
        ids = tuple(entry.event.id for entry in entries)
        if key is not None:
            known = self.keys.get(key.key)
            if known is not None and known[1] > key.now_ms:
                if known[0] != key.body_digest:
                    raise Conflict("")
                return AcceptResult(known[2], fresh=False)
            self.keys[key.key] = (key.body_digest, key.expires_ms, ids)
        self.events.update({entry.seq: entry for entry in entries})
        return AcceptResult(ids, fresh=True)

    def _update(self, seq: int, *, ready_at_ms: int | None = None, **fields: Any) -> bool:
        entry = self.events.get(seq)
        if entry is None:
            return False
        if ready_at_ms is not None:
            fields["event"] = msgspec.structs.replace(entry.event, ready_at_ms=ready_at_ms)
        self.events[seq] = msgspec.structs.replace(entry, **fields)
        return True

    def _record(self, record: Record) -> None:
        self.outbox.append((self.next_row, record))
        self.next_row += 1


class QueueMachine(RuleBasedStateMachine):
    """Steps on the queue and on its model."""

    entries = Bundle("entries")

    @initialize()
    def open(self) -> None:
        """Starts with an empty queue."""
        self.path = Path(tempfile.mkdtemp(prefix="jb"))
        self.queue = WaitedQueue(self.path)
        self.model = Model()
        self.seq = 1
        self.now_ms = 0

    def teardown(self) -> None:
        """Ends the store."""
        if hasattr(self, "queue"):
            self.queue.store.close()
            shutil.rmtree(self.path)

    def _new(self, payload: bytes, **fields: Any) -> Entry:
        entry = make_entry(self.seq, payload=payload, **fields)
        self.seq += 1
        return entry

    def _both(self, *changes: Change) -> None:
        """Applies to both, and compares what they answer."""
        model = self.model.copy()
        applied = self.queue.attempt(*changes)
        try:
            expected = tuple(model.apply(change) for change in changes)
        except Conflict:
            assert isinstance(applied.error, Conflict)
            return
        assert applied.error is None
        assert applied.results == expected
        self.model = model

    @rule(target=entries, payloads=st.lists(PAYLOADS, min_size=1, max_size=3), attempts=st.integers(0, 2))
    def accept(self, payloads: list[bytes], attempts: int) -> Any:
        """Stores new events."""
        made = tuple(self._new(payload, attempts=attempts) for payload in payloads)
        self._both(Accept(made))
        return multiple(*made)

    @rule(
        target=entries,
        key=st.sampled_from("abc"),
        body=st.sampled_from([b"1", b"2"]),
        window_ms=st.integers(1, 50),
        payload=PAYLOADS,
    )
    def accept_with_key(self, key: str, body: bytes, window_ms: int, payload: bytes) -> Entry:
        """Stores an event under a key, which may be known."""
        entry = self._new(payload)
        self._both(Accept((entry,), IdempotencyKey(key, body, self.now_ms, self.now_ms + window_ms)))
        return entry

    @rule(ms=st.integers(1, 40), count=st.integers(0, 3))
    def time_passes(self, ms: int, count: int) -> None:
        """Lets keys expire, and forgets some."""
        self.now_ms += ms
        expired = sum(1 for _, expires_ms, _ in self.model.keys.values() if expires_ms <= self.now_ms)
        if expired <= count:  # which of several are forgotten first is not the model's to say
            self._both(Forget(self.now_ms, count))

    @rule(entry=entries, token=st.integers(1, 99))
    def lease(self, entry: Entry, token: int) -> None:
        """Stores a lease, also of what has ended."""
        self._both(StoreLease(entry.seq, Lease(token, "executor-0", "abc")))

    @rule(entry=entries, attempts=st.integers(0, 9), ready_at_ms=st.integers(0, 99), recorded=st.booleans())
    def reschedule(self, entry: Entry, attempts: int, ready_at_ms: int, recorded: bool) -> None:
        """Keeps an event for another attempt."""
        record = make_record(entry.event.id, attempts, state=State.DELAYED) if recorded else None
        self._both(Reschedule(entry.seq, attempts, 1, ready_at_ms, record))

    @rule(target=entries, entry=consumes(entries), payload=PAYLOADS, again=st.booleans())
    def settle(self, entry: Entry, payload: bytes, again: bool) -> Entry:
        """Ends an event with a follow-up; perhaps twice in one apply."""
        follow_up = self._new(payload)
        changes: list[Change] = [settle(entry, follow_up)]
        if again:
            changes.append(settle(entry))
        self._both(*changes)
        return follow_up

    @rule(entry=entries, reason=st.sampled_from(["attempts", "killed"]))
    def bury(self, entry: Entry, reason: str) -> None:
        """Moves an event to the dead letters."""
        self._both(bury(entry, reason=reason))

    @rule(target=entries, entry=entries, stored=st.booleans(), payload=PAYLOADS)
    def replay(self, entry: Entry, stored: bool, payload: bytes) -> Entry:
        """Takes a dead letter back, with its own or another payload."""
        fresh = self._new(b"" if stored else payload + b"!", event_id=entry.event.id)
        self._both(Replay(entry.event.id, fresh))
        return fresh

    @rule(entry=entries)
    def purge(self, entry: Entry) -> None:
        """Deletes a dead letter."""
        self._both(Purge(entry.event.id))

    @rule(rows=st.integers(0, 5))
    def acknowledge(self, rows: int) -> None:
        """Drops the oldest rows of the outbox, never more than there ever were."""
        self.model.acknowledged = min(self.model.acknowledged + rows, self.model.next_row - 1)
        self._both(Acknowledge(self.model.acknowledged))

    @rule(entry=entries, payload=PAYLOADS)
    def fail_whole(self, entry: Entry, payload: bytes) -> None:
        """An apply whose last change conflicts changes nothing, whatever comes before it."""
        self._both(Accept((self._new(payload),), IdempotencyKey("x", b"1", self.now_ms, self.now_ms + 1_000)))
        conflict = Accept((self._new(payload),), IdempotencyKey("x", b"2", self.now_ms, self.now_ms + 1_000))
        self._both(settle(entry), Accept((self._new(payload),)), conflict)

    @rule()
    def reopen(self) -> None:
        """Closes and opens the queue: what a restart finds."""
        incarnation = self.queue.store.incarnation
        self.queue.store.close()
        self.queue = WaitedQueue(self.path)
        assert self.queue.store.incarnation == incarnation + 1
        assert self.queue.store.next_seq <= self.seq
        assert self.queue.store.next_seq > max(self.model.events, default=-1)

    @invariant()
    def tells_the_same(self) -> None:
        """Entries, payloads, outbox and dead letters are the model's."""
        if not hasattr(self, "queue"):
            return
        store, model = self.queue.store, self.model
        found = list(store.recover())
        assert [entry.seq for entry, _ in found] == sorted(model.events)
        for entry, size_bytes in found:
            expected = model.events[entry.seq]
            assert entry == msgspec.structs.replace(
                expected, event=msgspec.structs.replace(expected.event, payload=b"")
            )
            assert size_bytes == len(expected.event.payload)
        assert store.payloads(sorted(model.events)) == [
            model.events[seq].event.payload for seq in sorted(model.events)
        ]
        rows = store.outbox(0, rows_max=10_000, bytes_max=1 << 30)
        assert [(row, msgspec.msgpack.decode(data, type=Record)) for row, data in rows] == model.outbox
        assert store.outbox_rows == len(model.outbox)
        for event_id in {record.id for _, record in model.outbox}:
            latest = [record for _, record in model.outbox if record.id == event_id][-1]
            assert store.outbox_record(event_id) == latest
        assert {letter.event.id for letter in store.dead_letters()} == set(model.dead)
        for event_id, (payload, reason) in model.dead.items():
            letter = store.dead_letter(event_id)
            assert letter is not None
            assert (letter.event.payload, letter.reason) == (payload, reason)
        assert store.dead_count() == len(model.dead)

    @invariant()
    def leaves_no_rows_behind(self) -> None:
        """What is gone is gone from every table."""
        if not hasattr(self, "queue"):
            return
        model = self.model
        with self.queue.store._env.read() as txn:
            assert {int.from_bytes(key) for key, _ in txn.items("states")} <= set(model.events)
            assert {int.from_bytes(key[:8]) for key, _ in txn.items("events")} == set(model.events)
            assert {int.from_bytes(key[:8]) for key, _ in txn.items("outbox")} == {
                row for row, _ in model.outbox
            }
            assert {key.decode() for key, _ in txn.items("outbox_ids")} == {
                record.id for _, record in model.outbox
            }
            for table in ("dead", "dead_ids", "dead_tenants"):
                assert txn.count(table) == len(model.dead)
            assert len({key[:8] for key, _ in txn.items("dead_payloads")}) == len(model.dead)
            assert txn.count("expiry") == txn.count("idempotency") == len(model.keys)


QueueMachine.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestQueueAgainstItsModel = QueueMachine.TestCase
