"""The listener's event queue: every event it accepted, until that event is settled.

Owns the store of kind `queue`, drawn in `queue_rows`. Decides nothing about an event: `jobico.delivery`
answers with changes, this applies them, all of one call in one synced transaction.

Crash safety: a call's changes are one LMDB transaction, so after a crash all of them are there or none;
nobody is told of them before the sync. What is kept in memory is read from the tables at open. A full disk
or map refuses new events and goes on settling from the reserve.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import lmdb
import msgspec

from jobico.change import Accept, Change, DeadLetter, Entry, IdempotencyKey, Replay
from jobico.errors import CorruptRecord, JobicoError
from jobico.event import Record
from jobico.limits import QUERY_ROWS_MAX, QUEUE_MAP_BYTES
from jobico.storage.dead_letters import get_dead, list_dead, number_of_dead
from jobico.storage.environment import Environment, unavailable
from jobico.storage.ops import Op, Refused
from jobico.storage.outbox import read_outbox
from jobico.storage.quarantine import Quarantine
from jobico.storage.queue_memory import QueueMemory, load_memory
from jobico.storage.queue_rows import (
    QUEUE_LAYOUT,
    State,
    decode_event,
    decode_payload,
    decode_record,
    decode_state,
    key_of,
    split_record,
)
from jobico.storage.queue_session import QueueSession
from jobico.storage.queue_steps import Step, prepare
from jobico.storage.store import Store
from jobico.storage.transaction import Txn
from jobico.storage.values import get_value, join_value, unseal
from jobico.storage.writer import Writer

__all__ = ["Applied", "EventQueue"]


class Applied(NamedTuple):
    """What came of one `apply`: a result for each change or, with an error, nothing stored."""

    tag: object
    results: tuple[Any, ...]
    error: JobicoError | None


class _Apply(Op[QueueSession]):
    """The changes of one `apply` as an op."""

    __slots__ = ("_keys", "_steps", "tag")

    def __init__(self, given: Sequence[Change], tag: object) -> None:
        self.tag = tag
        self._steps: list[Step] = []
        self._keys: list[IdempotencyKey] = []
        size_bytes, growth = 0, False
        for change in given:
            step, step_bytes = prepare(change)
            self._steps.append(step)
            size_bytes += step_bytes
            if isinstance(change, Accept):
                growth = True
                if change.idempotency is not None:
                    self._keys.append(change.idempotency)
            elif isinstance(change, Replay):
                growth = True
        super().__init__(self._apply, growth=growth, size_bytes=size_bytes)

    def _apply(self, session: QueueSession) -> object:
        # NOTE: refused before anything is written, so a conflict costs the others nothing.
        for key in self._keys:
            conflict = session.conflict(key)
            if conflict is not None:
                return Refused(conflict)
        return tuple([step(session) for step in self._steps])


class EventQueue(Store):
    """The queue of one listener; all of it may be called from any thread, `close` aside.

    Attributes:
        incarnation: How often this queue was opened; part of every fencing token.
        next_seq: The first sequence number that was never used, as of the open.
    """

    def __init__(
        self, env: Environment, memory: QueueMemory, on_commit: Callable[[Sequence[Applied]], None]
    ) -> None:
        self._env = env
        self._memory = memory
        self._on_commit = on_commit
        self._quarantine = Quarantine(env, QUEUE_LAYOUT)
        self.incarnation: Final = memory.counters.incarnation
        self.next_seq: Final = memory.counters.next_seq
        self._writer = Writer(env, lambda txn: QueueSession(txn, memory), self._done)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        map_bytes: int = QUEUE_MAP_BYTES,
        on_commit: Callable[[Sequence[Applied]], None],
    ) -> Self:
        """Opens the queue in directory `path` and counts up its incarnation.

        Args:
            path: The directory, made if need be.
            map_bytes: The most it may take.
            on_commit: Hears in the writer thread of all applies of a transaction once it is synced, and of
            those
                that failed.

        Raises:
            StorageUnavailable, StoreVersion: see `Environment.open`. CorruptRecord: its counters are damaged.
        """
        env = Environment.open(path, QUEUE_LAYOUT, map_bytes=map_bytes)
        try:
            txn = env.begin()
            with txn.raw:
                memory = load_memory(txn)
        except lmdb.Error as error:
            env.close()
            raise unavailable(path, error) from error
        except CorruptRecord:
            env.close()
            raise
        return cls(env, memory, on_commit)

    # --- Writing ------------------------------------------------------------------------------------------

    def apply(self, given: Sequence[Change], tag: object) -> None:
        """Has changes applied, all or none, in order; `on_commit` tells. Never blocks.

        The results are, by change: `AcceptResult` for Accept; a number for Acknowledge and Forget; for all
        others True, or False where the event or dead letter is not there and so nothing was done.
        """
        # PERF: rows are encoded here, so that the writer holds the interpreter only to put them.
        self._writer.post(_Apply(given, tag))

    def _done(self, ops: Sequence[Op[QueueSession]]) -> None:
        applied = [Applied(op.tag, op.result or (), op.error) for op in ops if isinstance(op, _Apply)]
        if applied:
            self._on_commit(applied)

    # --- Reading ------------------------------------------------------------------------------------------

    def recover(self) -> Iterator[tuple[Entry, int]]:
        """All stored entries by seq, their payload left out, each with the size of its payload.

        NOTE: the snapshot is held until the iterator ends; read it through at once.
        """
        with self._env.read() as txn:
            cursor = txn.cursor("events")
            placed = cursor.first()
            while placed:
                key, first = cursor.item()
                if len(key) == 8:
                    try:
                        value = join_value(cursor, first)
                        yield self._entry(txn, key, value)
                    except CorruptRecord:
                        self._report_event(key)
                placed = cursor.next()

    def _entry(self, txn: Txn, key: bytes, value: bytes) -> tuple[Entry, int]:
        event = decode_event(value)
        seq = int.from_bytes(key)
        payload_bytes = len(event.payload)
        state = self._state(txn, key) if seq in self._memory.stated else State()
        ready_at_ms = event.ready_at_ms if state.ready_at_ms is None else state.ready_at_ms
        event = msgspec.structs.replace(event, payload=b"", ready_at_ms=ready_at_ms)
        return Entry(seq, event, state.attempts, state.deaths, state.lease), payload_bytes

    def _state(self, txn: Txn, key: bytes) -> State:
        sealed = txn.get("states", key)
        try:
            return State() if sealed is None else decode_state(unseal(sealed))
        except CorruptRecord:
            self._quarantine.report(self._writer, "states", key)
            return State()

    def payload(self, seq: int) -> bytes | None:
        """The payload of an event, or None where it is not there or damaged."""
        return self.payloads((seq,))[0]

    def payloads(self, seqs: Sequence[int]) -> list[bytes | None]:
        """The payloads of events, in the order asked for; None where one is not there or damaged."""
        found: list[bytes | None] = []
        with self._env.read() as txn:
            cursor = txn.cursor("events")
            for key in map(key_of, seqs):
                try:
                    value = get_value(cursor, key)
                except CorruptRecord:
                    # NOTE: the event stays until it is buried: its owner still has to make its record.
                    self._quarantine.note("events", key)
                    value = None
                found.append(None if value is None else decode_payload(value))
        return found

    def outbox(self, after: int, *, rows_max: int, bytes_max: int) -> list[tuple[int, bytes]]:
        """Records behind row `after`, in commit order: at least one if there is one, else within the bounds.

        A damaged row is left out, so numbers may have a hole.
        """
        with self._env.read() as txn:
            rows, damaged = read_outbox(txn, after, rows_max, bytes_max)
        for key in damaged:
            self._quarantine.report(self._writer, "outbox", key)
        return rows

    def outbox_record(self, event_id: str) -> Record | None:
        """The latest record of event `event_id` that the recorder has not acknowledged, or None."""
        with self._env.read() as txn:
            row = txn.get("outbox_ids", event_id.encode())
            if row is None:
                return None
            try:
                value = get_value(txn.cursor("outbox"), row)
            except CorruptRecord:
                self._quarantine.report(self._writer, "outbox", row)
                return None
        return None if value is None else decode_record(split_record(value)[1])

    @property
    def outbox_newest(self) -> int:
        """The number of the newest row that the outbox ever had; 0 if it never had one."""
        return self._memory.counters.next_row - 1

    @property
    def outbox_rows(self) -> int:
        """How many records the recorder has not acknowledged."""
        return self._memory.counters.next_row - self._memory.first_row

    # --- Dead letters -------------------------------------------------------------------------------------

    def dead_letter(self, event_id: str) -> DeadLetter | None:
        """The dead letter of an event with its whole payload, or None where it is not there or damaged."""
        with self._env.read() as txn:
            key = number_of_dead(txn, event_id)
            try:
                return None if key is None else get_dead(txn, key)
            except CorruptRecord:
                self._report_dead(key or b"")
                return None

    def dead_letters(
        self,
        tenant: str = "",
        event: str = "",
        reason: str = "",
        before: str = "",
        limit: int = QUERY_ROWS_MAX,
    ) -> list[DeadLetter]:
        """Dead letters that match, newest first, from before the event `before` on; payloads are cut.

        Raises:
            NotFound: there is no dead letter `before`.
        """
        with self._env.read() as txn:
            letters, damaged = list_dead(
                txn,
                tenant=tenant,
                event=event,
                reason=reason,
                before=before,
                limit=min(limit, QUERY_ROWS_MAX),
            )
        for key in damaged:
            self._report_dead(key)
        return letters

    def dead_count(self, tenant: str = "", event: str = "", reason: str = "") -> int:
        """How many dead letters match."""
        return sum(
            count
            for (its_tenant, _, _, its_event, its_reason), count in list(self._memory.dead.items())
            if tenant in ("", its_tenant) and event in ("", its_event) and reason in ("", its_reason)
        )

    def dead_counts(self) -> dict[tuple[str, str, str], int]:
        """How many dead letters there are by tenant, job and queue."""
        counts: Counter[tuple[str, str, str]] = Counter()
        for place, count in list(self._memory.dead.items()):
            counts[place[:3]] += count
        return {place: count for place, count in counts.items() if count}

    def _report_event(self, key: bytes) -> None:
        if self._quarantine.note("events", key):
            seq = int.from_bytes(key)
            self._writer.post(Op(lambda session: session.discard(seq), growth=False))

    def _report_dead(self, key: bytes) -> None:
        self._quarantine.report(self._writer, "dead", key)
