"""Measures the stores: group commit, the listener's queue and the recorder's records.

Run it on the disk that counts: `python benchmarks/storage.py --dir DIR`. One line a measurement: µs of
wall time an event with the sync included and, in parentheses, of processor time of all threads.
"""

import argparse
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from jobico.change import Accept, Acknowledge, Change, Entry, Settle
from jobico.event import Event, Outcome, Record, State
from jobico.ids import new_event_id
from jobico.limits import GIB
from jobico.storage.environment import Environment
from jobico.storage.executions import Executions
from jobico.storage.layout import Form, Layout
from jobico.storage.ops import Session
from jobico.storage.queue import Applied, EventQueue
from jobico.storage.queue_rows import encode
from jobico.storage.writer import Writer

_LAYOUT = Layout("benchmark", 1, {"rows": Form.PLAIN})


def main() -> None:
    """Runs all measurements in a directory that is deleted afterwards."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=Path, default=Path("."), help="where to make the stores")
    arguments = parser.parse_args()
    home = Path(tempfile.mkdtemp(dir=arguments.dir, prefix="storage-"))
    try:
        for value_bytes in (100, 8 * 1024):
            for callers in (1, 64, 1_000):
                measure_commits(home, value_bytes, callers)
        measure_executions(home)
        for batch in (1, 100):
            for payload_bytes in (200, 7_000):
                measure_queue(home, batch, payload_bytes)
    finally:
        shutil.rmtree(home)


def measure_commits(home: Path, value_bytes: int, callers: int, count: int = 20_000) -> None:
    """Callers that each wait for their put: how many puts a second, one op each."""
    path = home / f"commits-{value_bytes}-{callers}"
    env = Environment.open(path, _LAYOUT, map_bytes=4 * GIB)
    writer = Writer(env, Session)
    value = b"v" * value_bytes
    count = min(count, 500 * callers)
    started_s = time.perf_counter()
    done = 0
    while done < count:
        futures = [
            writer.submit(lambda session, n=n: session.txn.put("rows", n.to_bytes(8), value))
            for n in range(done, done + callers)
        ]
        for future in futures:
            future.result()
        done += callers
    elapsed_s = time.perf_counter() - started_s
    print(f"commit  {value_bytes:>5} B  {callers:>4} waiting  {done / elapsed_s:>9,.0f} puts/s")
    writer.close()
    env.close()


def measure_executions(home: Path, batch: int = 256, count: int = 51_200) -> None:
    """Append records in batches as the listener sends them, four under way; then query and trim."""
    store = Executions.open(home / "executions", map_bytes=4 * GIB)
    contents = [encode(_record(_event(300))) for _ in range(count)]

    def run() -> None:
        futures = []
        for at in range(0, count, batch):
            futures.append(store.append(contents[at : at + batch]))
            if len(futures) >= 4:
                futures.pop(0).result()
        for future in futures:
            future.result()

    append = _timed(run)
    page = _timed(lambda: [store.list(tenant="acme", job="customer-jobs") for _ in range(100)])
    trim = _timed(
        lambda: [
            store.trim(now_ms=0, retention_ms=0, retention_bytes=0).result() for _ in range(count // 1_000)
        ]
    )
    print(
        f"records {len(contents[0]):>5} B  {batch:>3} an append  append {append.per(count)}  "
        f"list 100 {page.per(100)}  trim {trim.per(count)}"
    )
    store.close()


class _Waiter:
    """Lets a loop wait for its applies, with a bound on how many are under way."""

    def __init__(self, ahead: int) -> None:
        self._free = threading.Semaphore(ahead)
        self.errors: list[object] = []

    def begin(self) -> None:
        self._free.acquire()

    def done(self, applied: Sequence[Applied]) -> None:
        for each in applied:
            if each.error is not None:
                self.errors.append(each.error)
            self._free.release()

    def finish(self, ahead: int) -> None:
        for _ in range(ahead):
            self._free.acquire()
        for _ in range(ahead):
            self._free.release()


def measure_queue(home: Path, batch: int, payload_bytes: int, count: int = 20_000) -> None:
    """Accept and settle `count` events, `batch` of them an apply; then read and drop the outbox."""
    ahead = 64
    waiter = _Waiter(ahead)
    queue = EventQueue.open(home / f"queue-{batch}-{payload_bytes}", map_bytes=4 * GIB, on_commit=waiter.done)
    events = [_event(payload_bytes) for _ in range(count)]
    entries = [Entry(seq, event) for seq, event in enumerate(events)]
    records = [_record(event) for event in events]
    accepts: list[Sequence[Change]] = [
        [Accept(tuple(entries[at : at + batch]))] for at in range(0, count, batch)
    ]
    settles: list[Sequence[Change]] = [
        [Settle(seq, records[seq]) for seq in range(at, min(at + batch, count))]
        for at in range(0, count, batch)
    ]

    def run(applies: list[Sequence[Change]]) -> None:
        for given in applies:
            waiter.begin()
            queue.apply(given, None)
        waiter.finish(ahead)

    accept = _timed(lambda: run(accepts))
    read = _timed(lambda: [queue.payloads(range(at, at + 64)) for at in range(0, count, 64)])
    settle = _timed(lambda: run(settles))

    def drain() -> None:
        row = 0
        while rows := queue.outbox(row, rows_max=256, bytes_max=1 << 22):
            row = rows[-1][0]
            waiter.begin()
            queue.apply([Acknowledge(row)], None)
        waiter.finish(ahead)

    drained = _timed(drain)
    assert not waiter.errors, waiter.errors[0]
    print(
        f"queue   {payload_bytes:>5} B  {batch:>3} an apply  accept {accept.per(count)}  "
        f"payload {read.per(count)}  settle {settle.per(count)}  outbox and acknowledge {drained.per(count)}"
    )
    queue.close()


def _timed(run: Callable[[], object]) -> "_Cost":
    started_s, started_cpu_s = time.perf_counter(), time.process_time()
    run()
    return _Cost((time.perf_counter() - started_s) * 1e6, (time.process_time() - started_cpu_s) * 1e6)


class _Cost(NamedTuple):
    wall_us: float
    cpu_us: float

    def per(self, count: int) -> str:
        return f"{self.wall_us / count:5.1f} ({self.cpu_us / count:4.1f})"


def _event(payload_bytes: int) -> Event:
    return Event(
        id=new_event_id(),
        tenant="acme",
        event="customer-registration",
        job="customer-jobs",
        queue="default",
        payload=b'"' + b"x" * (payload_bytes - 2) + b'"',
        accepted_ms=1_700_000_000_000,
    )


def _record(event: Event) -> Record:
    return Record(
        id=event.id,
        attempt=1,
        tenant=event.tenant,
        job=event.job,
        event=event.event,
        queue=event.queue,
        revision=1,
        outcome=Outcome.OK,
        state=State.DONE,
        code=0,
        accepted_ms=event.accepted_ms,
        leased_ms=event.accepted_ms,
        settled_ms=event.accepted_ms,
        run_us=200,
        listener="listener",
        executor="executor-0",
        result=b'{"greeting": "hello"}',
        report=b"x" * 100,
        payload=event.payload,
        payload_bytes=len(event.payload),
    )


if __name__ == "__main__":
    main()
