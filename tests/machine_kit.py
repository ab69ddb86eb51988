"""A delivery machine on a bench: time moves when told to, changes are stored at once unless held."""

import itertools
import random
from collections.abc import Sequence
from typing import Any

import msgspec

from jobico.change import Bury, Change, Entry, Lease, Reschedule, Settle, StoreLease
from jobico.clock import Now
from jobico.definition import (
    Abi,
    EventDefinition,
    JobDefinition,
    ModulePin,
    Order,
    QueueDefinition,
    Revision,
    RuntimeDefinition,
)
from jobico.delivery import DeliveryMachine
from jobico.event import Event, Outcome, Record, Settlement
from jobico.instruction import Abort, Assignment, Commit, Instruction, LeasesLost, Refused, Resolved, Send
from jobico.retry import RetryPolicy
from jobico.routes import Routes

WALL_MS = 1_700_000_000_000
LEASE_MS = 10_000


def make_revision(
    tenant: str = "acme",
    *,
    order: Order = Order.NONE,
    key: str = "",
    retry: RetryPolicy | None = None,
    concurrency: int = 0,
    ok: str = "",
    error: str = "",
    emits: tuple[str, ...] = (),
    number: int = 1,
) -> Revision:
    """A job with events `e` (queue `q`), `then` and `oops`, and `long` with a runtime of its own."""
    retry = retry or RetryPolicy()
    definition = JobDefinition(
        id="job",
        tenant=tenant,
        queues=(
            QueueDefinition(id="q", order=order, key=key, concurrency=concurrency),
            QueueDefinition(id="side"),
        ),
        runtimes=(
            RuntimeDefinition(id="r", module="m", emits=emits),
            RuntimeDefinition(id="long", module="l"),
        ),
        events=(
            EventDefinition(id="e", queue="q", runtime="r", retry=retry, ok=ok, error=error),
            EventDefinition(id="then", queue="side", runtime="r"),
            EventDefinition(id="oops", queue="side", runtime="r"),
            EventDefinition(id="long", queue="side", runtime="long"),
        ),
    )
    pins = {
        "r": ModulePin(digest=f"sha256:{tenant}{number}", abi=Abi.COMMAND),
        "long": ModulePin(digest=f"sha256:{tenant}long", abi=Abi.COMMAND),
    }
    return Revision(definition, number, 0, pins, {})


class Bench:
    """A machine and what it has asked for.

    Attributes:
        sent: Assignments by executor, in order.
        changes: All changes that were stored.
        records: All records in them.
        other: Instructions that are neither commits nor sends.
        held: Commits that were not stored, while `storing` is False.
    """

    def __init__(self, *revisions: Revision, incarnation: int = 1, next_seq: int = 1) -> None:
        self.now = Now(1_000_000, WALL_MS)
        self.payloads: dict[int, bytes] = {}
        self.sent: dict[str, list[Assignment]] = {}
        self.changes: list[Change] = []
        self.other: list[Instruction] = []
        self.held: list[Commit] = []
        self.storing = True
        self._ids = itertools.count(1)
        self.machine = DeliveryMachine(
            incarnation,
            next_seq,
            listener="listener",
            payload_of=lambda seq: self.payloads[seq],
            new_id=lambda: f"made-{next(self._ids)}",
            rng=random.Random(1),
            lease_ms=LEASE_MS,
        )
        self.machine.set_routes(Routes.build(revisions or (make_revision(),)))

    # --- Inputs -------------------------------------------------------------------------------------------

    def event(self, tenant: str = "acme", name: str = "e", payload: bytes = b"{}", **fields: Any) -> Event:
        queue = "q" if name == "e" else "side"
        return Event(
            id=f"id-{next(self._ids)}",
            tenant=tenant,
            event=name,
            job="job",
            queue=queue,
            payload=payload,
            accepted_ms=self.now.wall_ms,
            **fields,
        )

    def accept(self, *events: Event) -> tuple[Entry, ...]:
        entries = self.machine.admit(events, self.now)
        self.payloads.update({entry.seq: entry.event.payload for entry in entries})
        self.machine.accepted(entries, self.now)
        self.go()
        return entries

    def many(self, count: int, tenant: str = "acme", name: str = "e", **fields: Any) -> list[Event]:
        events = [self.event(tenant, name, **fields) for _ in range(count)]
        self.accept(*events)
        return events

    def join(self, *names: str, instance: str = "one", held: Sequence[int] = ()) -> None:
        for name in names:
            self.machine.leasing.welcomed(name, instance, held, self.now)
        self.go()

    def settle(self, executor: str, item: Assignment, outcome: Outcome = Outcome.OK, **fields: Any) -> None:
        fields = {"run_us": 1_000, **fields}
        self.machine.settled(executor, Settlement(item.token, outcome, **fields), self.now)
        self.go()

    def learn(self, executor: str = "x", tenant: str = "acme", name: str = "e", run_us: int = 1_000) -> None:
        """Lets the runtime of an event be known by one run."""
        self.many(1, tenant, name)
        self.settle(executor, self.sent[executor][-1], run_us=run_us)
        self.sent.clear()

    def pass_ms(self, ms: int) -> None:
        self.now = Now(self.now.ms + ms, self.now.wall_ms + ms)
        self.machine.tick(self.now)
        self.go()

    # --- Outputs ------------------------------------------------------------------------------------------

    def go(self) -> None:
        """Leases, and carries out what is asked for."""
        self.machine.pump(self.now)
        while instructions := self.machine.take():
            for instruction in instructions:
                if isinstance(instruction, Commit):
                    self._commit(instruction)
                elif isinstance(instruction, Send):
                    self.sent.setdefault(instruction.executor, []).extend(instruction.items)
                else:
                    self.other.append(instruction)
            self.machine.pump(self.now)

    def _commit(self, commit: Commit) -> None:
        if not self.storing:
            self.held.append(commit)
            return
        for change in commit.changes:
            self.changes.append(change)
            if isinstance(change, Settle | Bury):
                self.payloads.update({entry.seq: entry.event.payload for entry in change.follow_ups})
        if commit.tag is not None:
            self.machine.committed(commit.tag, self.now)

    def store(self) -> None:
        """Stores what was held."""
        self.storing = True
        held, self.held = self.held, []
        for commit in held:
            self._commit(commit)
        self.go()

    def fail(self) -> None:
        """What was held could not be stored."""
        held, self.held = self.held, []
        for commit in held:
            if commit.tag is not None:
                self.machine.commit_failed(commit.tag, self.now)
        self.go()

    @property
    def records(self) -> list[Record]:
        return [
            change.record
            for change in self.changes
            if isinstance(change, Settle | Bury | Reschedule) and change.record is not None
        ]

    @property
    def sent_ids(self) -> list[str]:
        return [item.event.id for items in self.sent.values() for item in items]

    def ids(self, executor: str) -> list[str]:
        return [item.event.id for item in self.sent.get(executor, [])]

    def told(self, kind: type[Any]) -> list[Any]:
        return [one for one in self.other if isinstance(one, kind)]


def stored_entry(event: Event, seq: int, **fields: Any) -> tuple[Entry, int]:
    """An entry as the store gives it back after a restart."""
    size_bytes = len(event.payload)
    return Entry(seq, msgspec.structs.replace(event, payload=b""), **fields), size_bytes


__all__ = [
    "LEASE_MS",
    "Abort",
    "Bench",
    "Lease",
    "LeasesLost",
    "Refused",
    "Resolved",
    "StoreLease",
    "make_revision",
    "stored_entry",
]
