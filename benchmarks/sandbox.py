"""Measures the crossing into a guest: a no-op event of each ABI, a fresh instance each time, limits on.

`python benchmarks/sandbox.py` compares the sandbox with the same done through wasmtime-py's typed classes,
in the same run, and reports µs an event: median of the rounds, and the fastest one. `--flat N` runs N events
and reports how the memory of the process moved.
"""

import argparse
import resource
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import wasmtime

from jobico.definition import Abi, GuestLimits, RuntimeSpec
from jobico.ids import digest_of
from jobico.sandbox import Job, ModuleCache, Sandbox
from jobico.sandbox.compile_child import compile_here

PAYLOAD = b'{"name": "J\xc3\xb6rg", "email": "joerg@example.com", "newsletter": true}'

JOBICOLET = """(module (memory (export "memory") 2) (global $heap (mut i32) (i32.const 4096))
  (data (i32.const 1024) "hello")
  (func (export "init"))
  (func (export "malloc") (param i32) (result i32) (local $at i32)
    (local.set $at (global.get $heap))
    (global.set $heap (i32.add (global.get $heap) (i32.add (local.get 0) (i32.const 16)))) (local.get $at))
  (func (export "free") (param i32))
  (func (export "event") (param i32 i32 i32)
    (i64.store (local.get 0) (i64.const 0)) (i64.store offset=8 (local.get 0) (i64.const 0x40000000005))))"""

COMMAND = """(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 0) "\\00\\04\\00\\00\\00\\10\\00\\00")
  (func (export "_start")
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.store (i32.const 4) (i32.load (i32.const 8)))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"""

COMPONENT = """(component
  (import "jobico:jobicolet/types@0.1.0" (instance $types
    (type $e (record (field "id" string) (field "name" string) (field "tenant" string)
      (field "attempt" u32) (field "payload" (list u8)))) (export "event" (type (eq $e)))
    (type $f (record (field "code" u32) (field "message" string))) (export "failure" (type (eq $f)))))
  (alias export $types "event" (type $event)) (alias export $types "failure" (type $failure))
  (core module $m (memory (export "memory") 2) (global $heap (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
      (local.set $at (global.get $heap))
      (global.set $heap (i32.add (global.get $heap) (i32.add (local.get 3) (i32.const 16)))) (local.get $at))
    (func (export "handle") (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
      (i32.store (i32.const 68) (i32.const 1024)) (i32.store (i32.const 72) (i32.const 5)) (i32.const 64)))
  (core instance $i (instantiate $m))
  (func $handle (param "event" $event) (result (result (list u8) (error $failure)))
    (canon lift (core func $i "handle") (memory (core memory $i "memory"))
      (realloc (core func $i "realloc"))))
  (export "handle" (func $handle)))"""

TEXTS = {Abi.JOBICOLET: JOBICOLET, Abi.COMMAND: COMMAND, Abi.COMPONENT: COMPONENT}


def main() -> None:
    """Runs what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--events", type=int, default=1_000, help="events a round")
    parser.add_argument("--flat", type=int, default=0, help="measure memory over so many events instead")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        runs = sandbox_runs(Path(directory))
        if arguments.flat:
            measure_memory(runs, arguments.flat)
            return
        print(f"{'':24}{'sandbox':>20}{'plain wasmtime-py':>24}   (µs an event: median, fastest round)")
        plain = {"jobicolet": plain_jobicolet(), "command": plain_command(Path(directory))}
        for name, run in runs.items():
            ours = measure(run, arguments.rounds, arguments.events)
            theirs = plain.get(name)
            other = measure(theirs, arguments.rounds, max(1, arguments.events // 10)) if theirs else None
            print(f"{name:24}{_figures(ours):>20}{_figures(other):>24}")


def _figures(figures: tuple[float, float] | None) -> str:
    return f"{figures[0]:.1f}, {figures[1]:.1f}" if figures else "-"


def measure(run: Callable[[], object], rounds: int, events: int) -> tuple[float, float]:
    """Median and fastest round, µs an event."""
    for _ in range(max(10, events // 10)):
        run()
    figures = []
    for _ in range(rounds):
        started_s = time.perf_counter()
        for _ in range(events):
            run()
        figures.append((time.perf_counter() - started_s) / events * 1e6)
    return statistics.median(figures), min(figures)


def sandbox_runs(directory: Path) -> dict[str, Callable[[], object]]:
    """One event of each ABI through the sandbox; the jobicolet with fuel as well."""
    sandbox = Sandbox(ModuleCache(directory / "modules", compile_here))
    runs = {str(abi): _run(sandbox, abi) for abi in TEXTS}
    runs["jobicolet with fuel"] = _run(sandbox, Abi.JOBICOLET, fuel=1_000_000)
    return runs


def _run(sandbox: Sandbox, abi: Abi, fuel: int = 0) -> Callable[[], object]:
    content = bytes(wasmtime.wat2wasm(TEXTS[abi]))
    spec = RuntimeSpec("noop.wasm", digest_of(content), abi, limits=GuestLimits(fuel=fuel))
    job = Job("01890a5d-ac96-774b-bcce-b302099a8057", "acme", "greeting", 1, PAYLOAD)
    outcome = sandbox.run(spec, job, lambda _digest: content).outcome
    assert outcome == "ok", outcome
    return lambda: sandbox.run(spec, job, lambda _digest: content)


def _plain_engine() -> wasmtime.Engine:
    config = wasmtime.Config()
    config.epoch_interruption = True
    engine = wasmtime.Engine(config)

    def tick() -> None:
        while True:
            time.sleep(0.01)
            engine.increment_epoch()

    threading.Thread(target=tick, daemon=True).start()
    return engine


def plain_jobicolet() -> Callable[[], object]:
    """The same event through wasmtime-py's typed classes."""
    engine = _plain_engine()
    module, linker = wasmtime.Module(engine, JOBICOLET), wasmtime.Linker(engine)

    def run() -> bytes:
        store = wasmtime.Store(engine)
        store.set_limits(memory_size=64 << 20, table_elements=100_000)
        store.set_epoch_deadline(500)
        exports = linker.instantiate(store, module).exports(store)
        memory = exports["memory"]
        exports["init"](store)
        data = exports["malloc"](store, len(PAYLOAD))
        memory.write(store, PAYLOAD, data)
        result = exports["malloc"](store, 16)
        exports["event"](store, result, data, len(PAYLOAD))
        packed = int.from_bytes(memory.read(store, result + 8, result + 16), "little")
        text = memory.read(store, packed >> 32, (packed >> 32) + (packed & 0xFFFFFFFF))
        exports["free"](store, data)
        exports["free"](store, result)
        return bytes(text)

    assert run() == b"hello"
    return run


def plain_command(directory: Path) -> Callable[[], object]:
    """The same program with wasmtime's own WASI: the event from a file, the result to a callback."""
    engine = _plain_engine()
    module, linker = wasmtime.Module(engine, COMMAND), wasmtime.Linker(engine)
    linker.define_wasi()
    event = directory / "event"

    def run() -> bytes:
        store, wasi, written = wasmtime.Store(engine), wasmtime.WasiConfig(), bytearray()
        store.set_limits(memory_size=64 << 20, table_elements=100_000)
        store.set_epoch_deadline(500)
        event.write_bytes(PAYLOAD)
        wasi.stdin_file = str(event)
        wasi.stdout_custom = written.extend
        store.set_wasi(wasi)
        linker.instantiate(store, module).exports(store)["_start"](store)
        return bytes(written)

    assert run() == PAYLOAD
    return run


def measure_memory(runs: dict[str, Callable[[], object]], events: int) -> None:
    """Resident memory before and after so many events of each kind."""
    for name, run in runs.items():
        for _ in range(1_000):
            run()
        before = _rss_bytes()
        for _ in range(events):
            run()
        moved_kib = (_rss_bytes() - before) / 1024
        print(f"{name:24}{events} events: {before / 1024:.0f} KiB resident, moved by {moved_kib:+.0f} KiB")


def _rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    main()
