"""One transaction of the listener's queue: what each change does to the tables of `queue_rows`.

Owns the numbering of outbox rows and burials, and what is remembered in memory of the tables (which events
have a state, how many dead letters there are). Never reads a clock and never makes up a sequence number.

SAFETY: what is in memory changes in `committed` alone, after the sync; a transaction that is undone or run
again starts from what is true. A change of an event that is not there does nothing and answers False: a
settlement that comes twice makes no second record and no second follow-up.
"""

from collections import Counter
from collections.abc import Sequence

import msgspec

from jobico.change import (
    Accept,
    AcceptResult,
    Acknowledge,
    Bury,
    Entry,
    Forget,
    IdempotencyKey,
    Purge,
    Replay,
    Reschedule,
    Settle,
    StoreLease,
)
from jobico.errors import Conflict, CorruptRecord, Internal
from jobico.storage.dead_letters import DeadPlace, drop_dead, number_of_dead, put_dead
from jobico.storage.environment import META
from jobico.storage.idempotency import forget_expired, known_key, remember_key
from jobico.storage.ops import Session
from jobico.storage.quarantine import set_aside
from jobico.storage.queue_memory import QueueMemory
from jobico.storage.queue_rows import (
    QUEUE_LAYOUT,
    Counters,
    State,
    decode_event,
    decode_state,
    encode,
    event_rows,
    key_of,
    state_of,
)
from jobico.storage.transaction import Txn
from jobico.storage.values import Cursor, Rows, get_value, pop_value, seal, unseal

__all__ = ["QueueSession"]


class QueueSession(Session):
    """The verbs of the queue within one transaction."""

    def __init__(self, txn: Txn, memory: QueueMemory) -> None:
        super().__init__(txn)
        self._memory = memory
        self._next_seq = memory.counters.next_seq
        self._next_row = memory.counters.next_row
        self._first_row = memory.first_row
        self._next_dead = memory.next_dead
        self._stated: set[int] = set()
        self._unstated: set[int] = set()
        self._dead: Counter[DeadPlace] = Counter()
        self._events = txn.cursor("events")
        # PERF: new rows are put at the end with one call a table.
        self._new_events: Rows = []
        self._new_records: Rows = []
        self._new_record_ids: Rows = []

    # --- Changes ------------------------------------------------------------------------------------------

    def conflict(self, key: IdempotencyKey) -> Conflict | None:
        """The error to refuse `key` with, or None where it is new or its body the same."""
        known = known_key(self.txn, key)
        if known is None or known.body_digest == key.body_digest:
            return None
        return Conflict(
            "The idempotency key was used before with another body: send the same body, or another key."
        )

    def accept(self, change: Accept, rows: Rows, ids: tuple[str, ...]) -> AcceptResult:
        """Stores new events; under a known key, answers what is stored there.

        Raises:
            Conflict: the key is known with another body; whoever calls has asked `conflict` before.
        """
        key = change.idempotency
        if key is not None:
            known = known_key(self.txn, key)
            if known is not None:
                return AcceptResult(known.ids, fresh=False)
            remember_key(self.txn, key, ids)
        self._add_events(change.entries, rows)
        return AcceptResult(ids, fresh=True)

    def store_lease(self, change: StoreLease) -> bool:
        """Stores the lease of an event."""
        if not self._has_event(change.seq):
            return False
        state = self._state(change.seq)
        self._put_state(change.seq, msgspec.structs.replace(state, lease=change.lease))
        return True

    def settle(self, change: Settle, record: Rows, rows: Rows) -> bool:
        """Removes an event for its record and its follow-ups."""
        if not self._remove(change.seq):
            return False
        self._add_record(change.record.id, record)
        if rows:
            self._add_events(change.follow_ups, rows)
        return True

    def reschedule(self, change: Reschedule, record: Rows) -> bool:
        """Keeps an event for another attempt."""
        if not self._has_event(change.seq):
            return False
        self._put_state(change.seq, State(change.attempts, change.deaths, change.ready_at_ms))
        if change.record is not None:
            self._add_record(change.record.id, record)
        return True

    def bury(self, change: Bury, record: Rows, rows: Rows) -> bool:
        """Moves an event to the dead letters; a damaged one is set aside instead, its record is kept."""
        if not self._has_event(change.seq):
            return False
        key = key_of(change.seq)
        try:
            event = decode_event(get_value(self._events, key) or b"")
        except CorruptRecord:
            self.discard(change.seq)
        else:
            self._remove(change.seq)
            self._drop_dead(event.id)
            self._dead[put_dead(self.txn, self._next_dead, event, change)] += 1
            self._next_dead += 1
        self._add_record(change.record.id, record)
        self._add_events(change.follow_ups, rows)
        return True

    def replay(self, change: Replay) -> bool:
        """Takes a dead letter back; an entry without payload gets the one that is stored."""
        number = number_of_dead(self.txn, change.id)
        if number is None:
            return False
        entry = change.entry
        if not entry.event.payload:
            payload = get_value(self.txn.cursor("dead_payloads"), number) or b""
            event = msgspec.structs.replace(entry.event, payload=payload)
            entry = msgspec.structs.replace(entry, event=event)
        self._drop_dead(change.id)
        self._add_events((entry,), event_rows((entry,)))
        return True

    def purge(self, change: Purge) -> bool:
        """Deletes a dead letter."""
        found = number_of_dead(self.txn, change.id) is not None
        self._drop_dead(change.id)
        return found

    def discard(self, seq: int) -> bool:
        """Sets a damaged event aside."""
        self._drop_state(seq)
        return set_aside(self.txn, QUEUE_LAYOUT, "events", key_of(seq))

    def acknowledge(self, change: Acknowledge) -> int:
        """Drops the rows of the outbox that the recorder has."""
        self._flush_records()
        count = 0
        last = key_of(change.upto)
        cursor = self.txn.cursor("outbox")
        ids = self.txn.cursor("outbox_ids")
        placed = cursor.first()
        while placed:
            key = cursor.key()
            if key[:8] > last:
                break
            if len(key) == 8:
                row = cursor.value()
                _forget_id(ids, row[7 : 7 + row[6]], key)
                count += 1
            cursor.delete()
            placed = bool(cursor.key())
        self._first_row = max(self._first_row, min(change.upto + 1, self._next_row))
        return count

    def forget(self, change: Forget) -> int:
        """Drops idempotency keys that expired."""
        return forget_expired(self.txn, change.now_ms, change.count)

    # --- Transaction --------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Puts the new rows and the counters."""
        self._flush_events()
        self._flush_records()
        old = self._memory.counters
        if (self._next_seq, self._next_row) != old[1:]:
            counters = Counters(old.incarnation, self._next_seq, self._next_row).pack()
            self.txn.put(META, b"counters", counters)
            self.txn.put(META, b"copy", counters)

    def committed(self) -> None:
        """Takes over what the transaction made true."""
        memory = self._memory
        memory.counters = Counters(memory.counters.incarnation, self._next_seq, self._next_row)
        memory.first_row = self._first_row
        memory.next_dead = self._next_dead
        memory.stated -= self._unstated
        memory.stated |= self._stated
        memory.dead.update(self._dead)

    # --- Events -------------------------------------------------------------------------------------------

    def _add_events(self, entries: Sequence[Entry], rows: Rows) -> None:
        for entry in entries:
            if entry.seq < self._next_seq:
                raise Internal(f"Sequence number {entry.seq} is used already: {self._next_seq} is the next.")
            self._next_seq = entry.seq + 1
            state = state_of(entry)
            if state is not None:
                self._put_state(entry.seq, state)
        self._new_events += rows

    def _flush_events(self) -> None:
        if self._new_events:
            _append(self._events, self._new_events)
            self._new_events = []

    def _has_event(self, seq: int) -> bool:
        self._flush_events()
        return self._events.set_key(key_of(seq))

    def _remove(self, seq: int) -> bool:
        if self._new_events:
            self._flush_events()
        if pop_value(self._events, key_of(seq)) is None:
            return False
        self._drop_state(seq)
        return True

    def _drop_state(self, seq: int) -> None:
        # PERF: most events never get a state; those that did are remembered, the others cost no look.
        if seq in self._stated or seq in self._memory.stated:
            self.txn.delete("states", key_of(seq))
            self._stated.discard(seq)
            self._unstated.add(seq)

    def _state(self, seq: int) -> State:
        sealed = self.txn.get("states", key_of(seq))
        try:
            return decode_state(unseal(sealed)) if sealed is not None else State()
        except CorruptRecord:
            set_aside(self.txn, QUEUE_LAYOUT, "states", key_of(seq))
            return State()

    def _put_state(self, seq: int, state: State) -> None:
        self.txn.put("states", key_of(seq), seal(encode(state)))
        self._unstated.discard(seq)
        self._stated.add(seq)

    # --- Outbox -------------------------------------------------------------------------------------------

    def _add_record(self, event_id: str, record: Rows) -> None:
        key = key_of(self._next_row)
        self._next_row += 1
        if len(record) == 1:
            self._new_records.append((key, record[0][1]))
        else:
            self._new_records += [(key + part, row) for part, row in record]
        self._new_record_ids.append((event_id.encode(), key))

    def _flush_records(self) -> None:
        if self._new_records:
            _append(self.txn.cursor("outbox"), self._new_records)
            self.txn.cursor("outbox_ids").putmulti(self._new_record_ids)
            self._new_records = []
            self._new_record_ids = []

    # --- Dead letters -------------------------------------------------------------------------------------

    def _drop_dead(self, event_id: str) -> None:
        place = drop_dead(self.txn, event_id)
        if place is not None:
            self._dead[place] -= 1


def _append(cursor: Cursor, rows: Rows) -> None:
    """Puts rows behind all that are there."""
    _, added = cursor.putmulti(rows, append=True)
    if added != len(rows):
        raise Internal("Rows do not sort behind those that are stored.")


def _forget_id(ids: Cursor, event_id: bytes, row: bytes) -> None:
    """Drops the id of an outbox row, unless a later row has it."""
    latest = ids.pop(event_id)
    if latest is not None and latest != row:
        ids.put(event_id, latest)
