"""What the tests of faults share: a platform that may be hurt, its tenants, and the check that nothing broke.

A test hurts processes with signals, as a machine would, and judges by what the recorder has in the end: each
event that got a 202 has exactly one final outcome, and no attempt was recorded twice.
"""

import os
import random
import signal
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from acceptance_kit import Answer, Platform, job, until
from senders import Senders

from cli.deploy import deploy_file
from cli.session import Session, new_request_id
from cli.supervision import Supervision
from jobico.errors import JobicoError
from jobico.event import Record
from jobico.registry import NodeInfo
from jobico.settings import Settings
from protocol.messages import (
    CreateKey,
    CreateTenant,
    DeadLetters,
    Deployed,
    GetTotals,
    ListDeadLetters,
    ListEvents,
    ListExecutions,
    Message,
    Request,
)
from protocol.sockets import Wire

__all__ = ["LEASE_MS", "WAITS", "FaultyPlatform", "Tenant", "ordered_by_name", "seeded"]

_R = TypeVar("_R", bound=Message)
LEASE_MS = 1_500
"""Of the platform that tests share."""

_ASK_MS = 1_000
_PAGE = 1_000
_AGAIN_S = 20.0

WAITS = """
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start") (local $at i32) (local $end i32) (local $ms i64) (local $byte i32)
    (i32.store (i32.const 0) (i32.const 1024))
    (i32.store (i32.const 4) (i32.const 4096))
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16)))
    (local.set $at (i32.const 1024))
    (local.set $end (i32.add (i32.const 1024) (i32.load (i32.const 16))))
    (block $read_all (loop $next
      (br_if $read_all (i32.ge_u (local.get $at) (local.get $end)))
      (local.set $byte (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)))
      (if (i32.lt_u (local.get $byte) (i32.const 10)) (then
        (local.set $ms (i64.add (i64.mul (local.get $ms) (i64.const 10))
                                (i64.extend_i32_u (local.get $byte))))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br $next)))
    (i32.store (i32.const 80) (i32.const 1))
    (i64.store (i32.const 88) (i64.mul (local.get $ms) (i64.const 1000000)))
    (drop (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 16)))
    (i32.store (i32.const 4) (i32.sub (local.get $end) (i32.const 1024)))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 20)))))
"""
"""A program whose event is a number: it takes that many milliseconds, and answers the number."""


def seeded() -> random.Random:
    """Chance whose seed is printed; JOBICO_TEST_SEED gives it again."""
    seed = int(os.environ.get("JOBICO_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    print(f"JOBICO_TEST_SEED={seed}")  # noqa: T201 - pytest shows it where a test fails
    return random.Random(seed)


def ordered_by_name(records: Sequence[Record]) -> list[tuple[int, str, str]]:
    """(attempt, outcome, state) of each record, by attempt."""
    return sorted((one.attempt, str(one.outcome), str(one.state)) for one in records)


def _children(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


class FaultyPlatform(Platform):
    """A platform whose processes can be found, hurt and waited for; a context manager.

    Args:
        home: An empty directory.
        options: Of `jobico up`.
        variables: The environment of its nodes, such as JOBICO_LEASE_MS.
    """

    def __init__(self, home: Path, *options: str, **variables: str) -> None:
        super().__init__(home, *options, **variables)
        settings = Settings(home=str(home))
        self.supervision = Supervision(settings)
        self._wire = Wire(settings, "faults")
        self.session = Session(settings, self._wire)

    def close(self) -> None:
        self.session.close()
        self._wire.close()

    # --- Processes

    def processes(self, name: str) -> list[int]:
        """The processes of a node, the one that supervisord started first; none while it is away."""
        first = next((one.pid for one in self.supervision.processes() if one.name == name), 0)
        return [first, *_children(first)] if first else []

    def send(self, name: str, number: signal.Signals) -> list[int]:
        """Sends a signal to a node; returns which processes got it.

        SIGTERM goes to the process that supervisord started, as its own does; others go to all.
        """
        pids: list[int] = until(lambda: self.processes(name), 10, f"{name} runs")
        pids = pids[:1] if number is signal.SIGTERM else pids
        for pid in pids:
            os.kill(pid, number)
        return pids

    def kill(self, name: str) -> None:
        """Kills a node, as power loss would."""
        self.send(name, signal.SIGKILL)

    def hurt(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Sends a signal to a node and waits until its successor is ready."""
        before = self.node(name)
        self.send(name, number)
        self.await_ready(name, other_than=before.instance if before else "")

    def await_ready(self, name: str, *, other_than: str = "") -> None:
        """Waits until a node is ready, in another instance than the one given."""
        until(lambda: self._is_ready(name, other_than), _AGAIN_S, f"{name} is ready again")

    def _is_ready(self, name: str, other_than: str) -> bool:
        pids, node = self.processes(name), self.node(name)
        return bool(
            node and node.pid in pids and node.instance != other_than and node.ready and not node.lost
        )

    def node(self, name: str) -> NodeInfo | None:
        """What the registry has of a node; nothing where control does not answer."""
        try:
            nodes = self.session.nodes(_ASK_MS, fresh=True)
        except JobicoError:
            return None
        return next((one for one in nodes if one.name == name), None)

    def attempts(self, executor: str) -> float:
        """How many attempts an executor says to have run; 0 where control does not answer."""
        node = self.node(executor)
        return node.load.get("attempts", 0) if node else 0

    def log_of(self, name: str) -> str:
        """What a node has logged."""
        return (self.home / "logs" / f"{name}.log").read_text(errors="replace")

    # --- Requests

    def ask(self, role: str, message: Request[_R]) -> _R:
        """The answer of a node, which may have to come back first."""
        return until(lambda: self._answer(role, message), _AGAIN_S, f"{role} answers {message.TYPE}")  # type: ignore[no-any-return]

    def _answer(self, role: str, message: Request[_R]) -> _R | None:
        try:
            return self.session.ask(role, message, _ASK_MS)
        except JobicoError:
            return None

    def tenant(self, name: str) -> "Tenant":
        """A new tenant with a key."""
        self.session.change(CreateTenant(request_id=new_request_id(), name=name))
        made = self.session.change(CreateKey(request_id=new_request_id(), tenant=name, role="admin"))
        return Tenant(self, name, made.key)


class Tenant:
    """A tenant of a platform, and what became of its events."""

    def __init__(self, platform: FaultyPlatform, name: str, key: str) -> None:
        self.platform = platform
        self.name = name
        self.key = key

    def definition(self, folder: Path, module: bytes, **event: Any) -> dict[str, Any]:
        """A definition of the event `order`."""
        return job(folder, module, **event) | {"tenant": self.name}

    def deploy(self, folder: Path, definition: dict[str, Any]) -> Deployed:
        """Deploys it, whether or not there is one."""
        file = folder / "job.yaml"
        file.write_bytes(msgspec.json.encode(definition))  # JSON is YAML
        return deploy_file(self.platform.session, file, update=True)

    def post(self, payload: bytes, path: str = "order", **headers: str) -> Answer:
        """Posts one event."""
        path = f"/events/{self.name}/{path}"
        return self.platform.http("POST", path, payload, Authorization=f"Bearer {self.key}", **headers)

    def accept(self, payload: bytes) -> str:
        """Posts an event that must be accepted; returns its id."""
        answer = self.post(payload)
        assert answer.status == 202, answer
        return str(answer.json["id"])

    def accept_all(self, payloads: Sequence[bytes]) -> list[str]:
        """Posts events as one batch."""
        answer = self.post(b'{"data": [' + b",".join(payloads) + b"]}")
        assert answer.status == 202, answer
        return list(answer.json["ids"])

    @contextmanager
    def load(self, threads: int = 4) -> Iterator[Senders]:
        """Has events posted for as long as the block runs."""
        with Senders(self.platform, threads=threads, tenant=self.name, key=self.key) as senders:
            until(lambda: senders.accepted, 20, "events flow")
            yield senders

    def running(self) -> dict[str, str]:
        """The executor that has it, by event that is running."""
        items = self.platform.ask("listener", ListEvents(tenant=self.name, state="running")).items
        return {one["id"]: one["executor"] for one in items}

    def queued(self) -> dict[str, str]:
        """The state of each of its events that has not ended."""
        items = self.platform.ask("listener", ListEvents(tenant=self.name, limit=_PAGE)).items
        return {one["id"]: str(one["state"]) for one in items}

    def dead_letters(self) -> DeadLetters:
        """Its dead letters."""
        return self.platform.ask("listener", ListDeadLetters(tenant=self.name, limit=_PAGE))

    def records(self) -> list[Record]:
        """All that was recorded of it, in the order in which it was."""
        decoder = msgspec.msgpack.Decoder(Record)
        records: list[Record] = []
        after = 0
        while True:
            page = self.platform.ask("recorder", ListExecutions(tenant=self.name, after=after, limit=_PAGE))
            if not page.rows:
                return records
            records += [decoder.decode(content) for _, content in page.rows]
            after = page.rows[-1][0]

    def records_of(self, event_id: str) -> list[Record]:
        """What was recorded of one event."""
        return [one for one in self.records() if one.id == event_id]

    def final_count(self) -> int:
        """How many of its events have ended."""
        return sum(self.platform.ask("recorder", GetTotals(tenant=self.name)).final.values())

    def check(self, accepted: Collection[str], timeout_s: float = 40) -> dict[str, Record]:
        """The final record of each accepted event; fails where one is lost, doubled or never accepted."""
        until(lambda: self.final_count() >= len(accepted), timeout_s, "every event has an outcome")
        records = self.records()
        attempts = Counter((one.id, one.attempt) for one in records)
        assert not [key for key, count in attempts.items() if count > 1], "an attempt is recorded twice"
        final = Counter(one.id for one in records if one.final)
        assert set(final) == set(accepted)
        assert set(final.values()) == {1}
        return {one.id: one for one in records if one.final}
