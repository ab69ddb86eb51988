"""A feed with a fixed data set: what the snapshots of the screens show."""

from collections.abc import Callable

import msgspec

from jobico.artifact import ArtifactInfo, ModuleReport
from jobico.change import DeadLetter
from jobico.definition import (
    Abi,
    EventDefinition,
    JobDefinition,
    ModulePin,
    QueueDefinition,
    Revision,
    RuntimeDefinition,
    SchemaReference,
)
from jobico.errors import JobicoError, NodeUnavailable
from jobico.event import Event, LogLevel, LogLine, Outcome, Record, Report, State
from jobico.registry import NodeInfo
from protocol.messages import Queues

NOW_S = 1_700_000_000.0
NOW_MS = int(NOW_S * 1_000)
HOSTILE = "\x1b]0;owned\x07\x1b[2J\u202eevil"


def record(row: int, *, ago_ms: int = 2_000, outcome: Outcome = Outcome.OK, error: str = "") -> Record:
    """A record of the fixed data set; everything follows from its row number."""
    settled_ms = NOW_MS - ago_ms
    return Record(
        id=f"018bcfe5-6800-7000-8000-{row:012d}",
        attempt=1,
        tenant="acme" if row % 3 else "globex",
        job="customer-jobs",
        event="customer-registration",
        queue="default",
        revision=3,
        outcome=outcome,
        state=State.DONE if outcome is Outcome.OK else State.DEAD,
        code=0 if outcome is Outcome.OK else 7,
        accepted_ms=settled_ms - 4 - row % 7,
        leased_ms=settled_ms - 2,
        settled_ms=settled_ms,
        run_us=180 + row,
        listener="listener",
        executor=f"executor-{row % 2}",
        error=error,
        result=b'{"greeting": "hello"}',
        report=msgspec.msgpack.encode(
            Report(
                logs=(LogLine(LogLevel.INFO, "greeting Ada"), LogLine(LogLevel.ERROR, HOSTILE)), fuel=4_200
            )
        ),
        payload=b'{"customerId": 42, "name": "Ada"}',
        payload_bytes=33,
    )


def records() -> list[tuple[int, Record]]:
    """Forty records, of which every eighth failed."""
    rows = []
    for row in range(1, 41):
        failed = row % 8 == 0
        outcome = Outcome.FAILED if failed else Outcome.OK
        rows.append((row, record(row, outcome=outcome, error="no such customer" if failed else "")))
    return rows


def revision() -> Revision:
    """One job with an event, a follow-up and two runtimes."""
    return Revision(
        definition=JobDefinition(
            id="customer-jobs",
            tenant="acme",
            name="Customer events",
            queues=(QueueDefinition(id="default", name="Default queue"),),
            runtimes=(
                RuntimeDefinition(id="greet", module="greet.wasm", name="Greets a customer"),
                RuntimeDefinition(id="notify", module="notify.wasm"),
            ),
            events=(
                EventDefinition(
                    id="customer-registration",
                    queue="default",
                    runtime="greet",
                    name="New customer",
                    schema=SchemaReference(ref="customer.json"),
                    ok="customer-greeted",
                ),
                EventDefinition(id="customer-greeted", queue="default", runtime="notify", inline=True),
            ),
        ),
        number=3,
        created_ms=NOW_MS - 60_000,
        modules={"greet": ModulePin("sha256:" + "a" * 64, Abi.JOBICOLET)},
        schemas={"customer-registration": "sha256:" + "b" * 64},
        source="id: customer-jobs\ntenant: acme\n",
    )


class FixedFeed:
    """Answers always the same; `away` makes every call fail as if nodes were gone."""

    def __init__(self) -> None:
        self.notices: dict[str, str] = {}
        self.away = False
        self.replayed: list[str] = []
        self.purged: list[str] = []
        self.closed = False
        self.nodes = tuple(
            NodeInfo(
                name=name,
                role=name.partition("-")[0],
                instance="0" * 16,
                pid=1_000 + index,
                host="host-1",
                version="0.1.0",
                endpoints={},
                ready=name != "executor-1",
                started_ms=NOW_MS - 3_600_000,
                load={"rss_bytes": 40e6, "held": 2.0},
            )
            for index, name in enumerate(
                ("control", "repository", "recorder", "listener", "executor-0", "executor-1")
            )
        )
        self.queues = Queues(
            items=(
                {"tenant": "acme", "job": "customer-jobs", "queue": "default", "ready": 12, "delayed": 3,
                 "running": 2, "bytes": 4_096, "oldest_ms": NOW_MS - 5_000, "dead": 1},
                {"tenant": "globex", "job": "orders", "queue": "slow", "ready": 700, "delayed": 0,
                 "running": 1, "bytes": 9_000, "oldest_ms": NOW_MS - 90_000, "dead": 0},
            ),
            outbox=5,
        )  # fmt: skip
        self.on_records: Callable[[list[tuple[int, Record]]], None] = lambda rows: None

    def start(self, on_records: Callable[[list[tuple[int, Record]]], None]) -> None:
        self.on_records = on_records

    def _check(self) -> None:
        if self.away:
            raise NodeUnavailable("Nobody answers at control: is the node running? See `jobico status`.")

    async def jobs(self) -> tuple[Revision, ...]:
        self._check()
        return (revision(),)

    async def job(self, tenant: str, job: str, number: int) -> tuple[Revision, tuple[int, ...]]:
        self._check()
        older = msgspec.structs.replace(revision(), number=number or 3, source="id: customer-jobs\n")
        return (older if number else revision()), (1, 2, 3)

    async def artifacts(self) -> tuple[ArtifactInfo, ...]:
        self._check()
        report = ModuleReport(
            valid=True,
            abi="jobicolet",
            imports=("env.log: func(i32, i32, i32)",),
            exports=("memory: memory", "event: func(i32, i32, i32)"),
            size_bytes=2_048,
            sha256="a" * 64,
        )
        return (
            ArtifactInfo("acme", "wasm", "greet.wasm", "sha256:" + "a" * 64, 2_048, NOW_MS, report),
            ArtifactInfo("acme", "json", "customer.json", "sha256:" + "b" * 64, 512, NOW_MS),
        )

    async def content(self, tenant: str, digest: str) -> bytes:
        self._check()
        return b'{"type": "object", "required": ["customerId"]}'

    async def attempts(self, tenant: str, event_id: str) -> list[Record]:
        self._check()
        found = [item for _, item in records() if item.id == event_id]
        if not found:
            raise JobicoError("no such event")
        return found

    async def dead_letters(self) -> tuple[tuple[DeadLetter, ...], int]:
        self._check()
        letters = []
        for row in (8, 16):
            item = record(row, outcome=Outcome.FAILED)
            if item.id in self.replayed + self.purged:
                continue
            event = Event(
                id=item.id, tenant="acme", event=item.event, job=item.job, queue="default",
                payload=b'{"customerId": 8}', accepted_ms=item.accepted_ms,
            )  # fmt: skip
            letters.append(
                DeadLetter(event, 3, 0, "attempts", NOW_MS - 30_000, "failed", 7, "no such customer")
            )
        return tuple(letters), len(letters)

    async def replay(self, letter: DeadLetter) -> int:
        self._check()
        self.replayed.append(letter.event.id)
        return 1

    async def purge(self, letter: DeadLetter) -> int:
        self._check()
        self.purged.append(letter.event.id)
        return 1

    async def close(self) -> None:
        self.closed = True


def minute_of_records() -> list[tuple[float, list[tuple[int, Record]]]]:
    """A minute of load that rises and falls, a list a second; ends with the records of `records`."""
    seconds = []
    row = 1_000
    for at in range(60):
        rows = []
        for index in range(200 + (at * 37) % 90 + 120 * (20 < at < 40)):
            failed = (row + index) % 41 == 0
            rows.append((row + index, record(row + index, outcome=Outcome.FAILED if failed else Outcome.OK)))
        row += len(rows)
        seconds.append((NOW_S - 60 + at, rows))
    return [*seconds, (NOW_S - 1, records())]
