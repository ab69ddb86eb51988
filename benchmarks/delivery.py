"""What the delivery machine itself costs an event, by step: no socket, no store, no guest.

    python benchmarks/delivery.py [EVENTS]

It runs on the listener's loop for each event, so what it takes is taken from everything else there.
"""

import contextlib
import gc
import itertools
import random
import sys
import time
from collections.abc import Iterator

from jobico.clock import Now
from jobico.definition import (
    Abi,
    EventDefinition,
    JobDefinition,
    ModulePin,
    QueueDefinition,
    Revision,
    RuntimeDefinition,
)
from jobico.delivery import DeliveryMachine
from jobico.event import Event, Outcome, Settlement
from jobico.instruction import Commit, Send
from jobico.routes import Routes

BATCH = 100
WALL_MS = 1_700_000_000_000


class Stopwatch:
    """CPU time by step."""

    def __init__(self) -> None:
        self.spent_s: dict[str, float] = {}

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Counts what happens within."""
        begun_s = time.process_time()
        yield
        self.spent_s[name] = self.spent_s.get(name, 0.0) + time.process_time() - begun_s


def make_machine() -> DeliveryMachine:
    """A machine with one tenant, one job and two executors."""
    definition = JobDefinition(
        id="job",
        tenant="acme",
        queues=(QueueDefinition("q"),),
        runtimes=(RuntimeDefinition("r", "m"),),
        events=(EventDefinition("e", "q", "r"),),
    )
    ids = itertools.count()
    machine = DeliveryMachine(
        1,
        1,
        listener="listener",
        payload_of=lambda _: b"{}",
        new_id=lambda: f"made-{next(ids)}",
        rng=random.Random(1),
    )
    machine.set_routes(
        Routes.build([Revision(definition, 1, 0, {"r": ModulePin("sha256:0", Abi.COMMAND)}, {})])
    )
    for name in ("executor-0", "executor-1"):
        machine.leasing.welcomed(name, "one", (), Now(0, WALL_MS))
    return machine


def drive(machine: DeliveryMachine, count: int, watch: Stopwatch) -> None:
    """Sees `count` events through, each accepted, leased, settled and committed."""
    at_ms = 1_000
    for start in range(0, count, BATCH):
        now = Now(at_ms, WALL_MS + at_ms)
        events = [
            Event(f"id-{n}", "acme", "e", "job", "q", b"{}", WALL_MS) for n in range(start, start + BATCH)
        ]
        with watch.step("admit"):
            entries = [machine.admit([event], now) for event in events]
        with watch.step("accepted"):
            for each in entries:
                machine.accepted(each, now)
        while machine.backlog.items:
            at_ms += 1
            drive_round(machine, Now(at_ms, WALL_MS + at_ms), watch)


def drive_round(machine: DeliveryMachine, now: Now, watch: Stopwatch) -> None:
    """Leases what executors have room for, settles all of it, and says that it is stored."""
    with watch.step("pump"):
        machine.pump(now)
    sent = [(one.executor, item) for one in machine.take() if isinstance(one, Send) for item in one.items]
    settlements = [
        (name, Settlement(item.token, Outcome.OK, result=b"{}", run_us=200)) for name, item in sent
    ]
    with watch.step("settled"):
        for name, settlement in settlements:
            machine.settled(name, settlement, now)
    steps = [one.tag for one in machine.take() if isinstance(one, Commit) and one.tag is not None]
    with watch.step("committed"):
        for step in steps:
            machine.committed(step, now)
    machine.take()


def main() -> None:
    """Prints microseconds of CPU an event."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    gc.disable()
    watch = Stopwatch()
    drive(make_machine(), count // BATCH * BATCH, watch)
    for step, spent_s in watch.spent_s.items():
        print(f"{step:<10}{spent_s / count * 1e6:6.2f} us")
    print(f"{'an event':<10}{sum(watch.spent_s.values()) / count * 1e6:6.2f} us")


if __name__ == "__main__":
    main()
