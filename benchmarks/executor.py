"""Measures what an executor costs beside its guests: a listener of its own keeps it busy with no-op events.

`python benchmarks/executor.py` starts one executor process on `ipc://` in a temporary home, keeps about a
hundred deliveries on their way, and reports for each event: wall time, CPU time of the executor's process,
time in the sandbox, and the difference, which is the executor's own. Then the time of a single delivery,
there and back.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import wasmtime

from jobico.definition import Abi, RuntimeSpec
from jobico.event import Delivery
from jobico.ids import digest_of
from jobico.sandbox import ModuleCache
from jobico.settings import Settings
from protocol import codec
from protocol.messages import Deliveries, Hello, Settlements, Welcome
from protocol.sockets import Wire, endpoint, try_send

NAME = "executor-0"
MODULE = """(module (memory (export "memory") 2) (global $heap (mut i32) (i32.const 4096))
  (func (export "init"))
  (func (export "malloc") (param i32) (result i32) (local $at i32)
    (local.set $at (global.get $heap))
    (global.set $heap (i32.add (global.get $heap) (i32.add (local.get 0) (i32.const 16)))) (local.get $at))
  (func (export "free") (param i32))
  (func (export "event") (param i32 i32 i32) (i64.store (local.get 0) (i64.const 0))))"""


class Listener:
    """Sends deliveries to the executor and waits for their settlements."""

    def __init__(self, settings: Settings, spec: bytes) -> None:
        self.wire = Wire(settings, "listener")
        self.pull = self.wire.pull(endpoint(settings, "listener", "settlements"))
        self.push = self.wire.push(endpoint(settings, NAME, "deliveries"))
        self.spec = spec
        self.token = 0
        hello = codec.encode(Hello(listener="listener", instance="benchmark"))
        while not try_send(self.push, hello):
            time.sleep(0.01)
        self.settled(Welcome)

    def deliver(self, count: int) -> None:
        """Sends that many deliveries in one message."""
        items = []
        for _ in range(count):
            self.token += 1
            items.append(
                Delivery(
                    token=self.token, id="0", tenant="acme", event="e", job="j", revision=1, attempt=1,
                    runtime=self.spec, payload=b'{"name": "J\xc3\xb6rg"}',
                )
            )  # fmt: skip
        self.push.send_multipart(codec.encode(Deliveries(listener="listener", items=tuple(items))))

    def settled(self, kind: type[msgspec.Struct] = Settlements) -> msgspec.Struct:
        """The next message of that type."""
        while True:
            message = codec.decode(self.pull.recv_multipart())[1]
            if isinstance(message, kind):
                return message


def cpu_s(pid: int) -> float:
    """CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(listener: Listener, pid: int, events: int, ahead: int) -> dict[str, float]:
    """Runs `events` with about `ahead` of them on their way; microseconds an event."""
    begun_s, cpu_begun_s = time.perf_counter(), cpu_s(pid)
    sent = settled = run_us = 0
    while settled < events:
        while sent < events and sent - settled < ahead:
            count = min(32, events - sent)
            listener.deliver(count)
            sent += count
        items = listener.settled().items  # type: ignore[attr-defined]
        settled += len(items)
        run_us += sum(item.run_us for item in items)
    wall_us = (time.perf_counter() - begun_s) * 1e6 / events
    sandbox_us = run_us / events
    return {
        "wall": wall_us,
        "cpu": (cpu_s(pid) - cpu_begun_s) * 1e6 / events,
        "sandbox": sandbox_us,
        "executor": wall_us - sandbox_us,
    }


def single_us(listener: Listener, rounds: int = 200) -> float:
    """Median time of one delivery to an idle executor and its settlement back."""
    times = []
    for _ in range(rounds):
        begun_s = time.perf_counter()
        listener.deliver(1)
        listener.settled()
        times.append((time.perf_counter() - begun_s) * 1e6)
    return statistics.median(times)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--ahead", type=int, default=100)
    options = parser.parse_args()
    module = bytes(wasmtime.wat2wasm(MODULE))
    spec = RuntimeSpec(name="noop.wasm", digest=digest_of(module), abi=Abi.JOBICOLET)
    with tempfile.TemporaryDirectory(prefix="jb") as home:
        settings = Settings(home=home)
        ModuleCache(settings.modules_dir).prepare(module)
        code = (
            "import sys; from nodes.executor import main; from jobico.settings import Settings;"
            "sys.exit(main(Settings.from_environ()))"
        )
        environ = {**os.environ, "JOBICO_HOME": home, "JOBICO_NODE_NAME": NAME, "JOBICO_LOG_LEVEL": "error"}
        executor = subprocess.Popen([sys.executable, "-c", code], env=environ)
        try:
            listener = Listener(settings, msgspec.msgpack.encode(spec))
            measure(listener, executor.pid, 1_000, options.ahead)
            for name, value in measure(listener, executor.pid, options.events, options.ahead).items():
                print(f"{name:10} {value:7.1f} µs an event")
            print(f"{'single':10} {single_us(listener):7.1f} µs there and back")
            listener.push.close()
            listener.pull.close()
            listener.wire.close()
        finally:
            executor.terminate()
            executor.wait(10)


if __name__ == "__main__":
    main()
