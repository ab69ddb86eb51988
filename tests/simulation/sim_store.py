"""Stores for the simulation: the queue as a dictionary, and the real one; both can crash before a sync.

A store takes changes with `stage`, makes them durable with `commit`, forgets with `crash` what is not.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event as Signal
from typing import Any, NamedTuple, Protocol

import msgspec

from jobico.change import (
    Accept,
    AcceptResult,
    Bury,
    Change,
    Entry,
    Replay,
    Reschedule,
    Settle,
    StoreLease,
)
from jobico.errors import JobicoError, StorageUnavailable
from jobico.event import Record
from jobico.storage.queue import Applied, EventQueue

__all__ = ["Answer", "LmdbStore", "ModelStore", "Store"]


class Answer(NamedTuple):
    """What came of a staged call."""

    changes: Sequence[Change]
    tag: Any
    results: Sequence[Any]
    error: JobicoError | None


class Store(Protocol):
    """What the simulated listener needs of its queue."""

    incarnation: int
    next_seq: int

    def stage(self, changes: Sequence[Change], tag: Any) -> None: ...

    def commit(self, *, full: bool = False, broken: bool = False) -> list[Answer]:
        """Makes durable what is staged; `full` refuses growth, `broken` refuses all."""
        ...

    def crash(self, *, synced: bool) -> list[Answer]:
        """The process ends; with `synced` what is staged became durable, but nobody was told."""
        ...

    def restart(self) -> None: ...

    def recover(self) -> Iterator[tuple[Entry, int]]: ...

    def payload(self, seq: int) -> bytes: ...

    def close(self) -> None: ...


class ModelStore:
    """The queue as a dictionary."""

    def __init__(self) -> None:
        self.incarnation = 1
        self.next_seq = 1
        self.entries: dict[int, Entry] = {}
        self.keys: dict[str, tuple[str, ...]] = {}
        self.dead: dict[str, Entry] = {}
        self._staged: list[tuple[Sequence[Change], Any]] = []

    def stage(self, changes: Sequence[Change], tag: Any) -> None:
        self._staged.append((changes, tag))

    def commit(self, *, full: bool = False, broken: bool = False) -> list[Answer]:
        staged, self._staged = self._staged, []
        answers = []
        for changes, tag in staged:
            growth = any(isinstance(change, Accept | Replay) for change in changes)
            if broken or (full and growth):
                answers.append(Answer(changes, tag, (), StorageUnavailable("full")))
            else:
                answers.append(Answer(changes, tag, [self._apply(change) for change in changes], None))
        return answers

    def crash(self, *, synced: bool) -> list[Answer]:
        if synced:
            return self.commit()
        self._staged.clear()
        return []

    def restart(self) -> None:
        self.incarnation += 1

    def recover(self) -> Iterator[tuple[Entry, int]]:
        for seq in sorted(self.entries):
            entry = self.entries[seq]
            event = msgspec.structs.replace(entry.event, payload=b"")
            yield msgspec.structs.replace(entry, event=event), len(entry.event.payload)

    def payload(self, seq: int) -> bytes:
        return self.entries[seq].event.payload

    def close(self) -> None:
        """Nothing to do."""

    def _apply(self, change: Change) -> Any:
        match change:
            case Accept():
                return self._accept(change)
            case Replay():
                found = self.dead.pop(change.id, None) is not None
                self._add((change.entry,) if found else ())
            case Settle() | Bury():
                entry = self.entries.pop(change.seq, None)
                found = entry is not None
                if entry is not None and isinstance(change, Bury):
                    self.dead[entry.event.id] = entry
                self._add(change.follow_ups if found else ())
            case Reschedule():
                found = change.seq in self.entries
                if found:
                    event = self.entries[change.seq].event
                    event = msgspec.structs.replace(event, ready_at_ms=change.ready_at_ms)
                    self.entries[change.seq] = Entry(change.seq, event, change.attempts, change.deaths)
            case StoreLease():
                found = change.seq in self.entries
                if found:
                    entry = self.entries[change.seq]
                    self.entries[change.seq] = msgspec.structs.replace(entry, lease=change.lease)
            case _:
                raise AssertionError(change)
        return found

    def _accept(self, change: Accept) -> AcceptResult:
        key = change.idempotency
        if key is not None and key.key in self.keys:
            return AcceptResult(self.keys[key.key], fresh=False)
        ids = tuple(entry.event.id for entry in change.entries)
        if key is not None:
            self.keys[key.key] = ids
        self._add(change.entries)
        return AcceptResult(ids, fresh=True)

    def _add(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            assert entry.seq >= self.next_seq, "sequence numbers are stored in their order"
            self.next_seq = entry.seq + 1
            self.entries[entry.seq] = entry


class LmdbStore:
    """The real queue; `commit` hands over what is staged and waits for the sync."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._staged: list[tuple[Sequence[Change], Any]] = []
        self._done = Signal()
        self._open()

    def _open(self) -> None:
        self._answered: list[Applied] = []
        self._queue = EventQueue.open(self._path, map_bytes=64 << 20, on_commit=self._on_commit)
        self.incarnation = self._queue.incarnation
        self.next_seq = self._queue.next_seq

    def _on_commit(self, applied: Sequence[Applied]) -> None:
        self._answered.extend(applied)
        self._done.set()

    def stage(self, changes: Sequence[Change], tag: Any) -> None:
        self._staged.append((changes, tag))

    def commit(self, *, full: bool = False, broken: bool = False) -> list[Answer]:
        staged, self._staged = self._staged, []
        refused = [
            full and any(isinstance(change, Accept | Replay) for change in changes) for changes, _ in staged
        ]
        if broken:
            return [Answer(changes, tag, (), StorageUnavailable("broken")) for changes, tag in staged]
        self._answered = []
        given = [index for index, no in enumerate(refused) if not no]
        for index in given:
            self._queue.apply(staged[index][0], index)
        while len(self._answered) < len(given):
            assert self._done.wait(10), "the queue does not answer"
            self._done.clear()
        by_index = {applied.tag: applied for applied in self._answered}
        answers = []
        for index, (changes, tag) in enumerate(staged):
            if refused[index]:
                answers.append(Answer(changes, tag, (), StorageUnavailable("full")))
            else:
                applied = by_index[index]
                answers.append(Answer(changes, tag, applied.results, applied.error))
        return answers

    def crash(self, *, synced: bool) -> list[Answer]:
        answers = self.commit() if synced else []
        self._staged.clear()
        self._queue.close()
        return answers

    def restart(self) -> None:
        self._open()

    def recover(self) -> Iterator[tuple[Entry, int]]:
        return iter(list(self._queue.recover()))

    def payload(self, seq: int) -> bytes:
        payload = self._queue.payload(seq)
        assert payload is not None
        return payload

    def outbox(self) -> list[Record]:
        decode = msgspec.msgpack.Decoder(Record).decode
        rows = self._queue.outbox(0, rows_max=100_000, bytes_max=1 << 30)
        return [decode(record) for _, record in rows]

    def close(self) -> None:
        self._queue.close()
