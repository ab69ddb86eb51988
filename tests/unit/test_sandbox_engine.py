"""The sandbox around its guests: abortion, the watchdog's view, faults of the host, many programs."""

import threading
import time
from pathlib import Path

import pytest
from guest_kit import HELLO, SAY_HELLO, Runner, guest, module

from jobico.definition import Abi
from jobico.event import Outcome
from jobico.sandbox import Sandbox, wasi
from jobico.sandbox.program import _LOADED_MAX

LOOP = module('(func (export "_start") (loop br 0))')


@pytest.fixture
def run(tmp_path: Path) -> Runner:
    return Runner(tmp_path / "modules")


def _in_thread(run: Runner, content: bytes, **limits: int) -> tuple[threading.Thread, list[object]]:
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(run(content, Abi.COMMAND, **limits)))
    thread.start()
    return thread, results


def _wait_until(condition: object) -> None:
    until_s = time.monotonic() + 10
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until_s
        time.sleep(0.002)


def test_a_running_guest_is_aborted_from_another_thread(run: Runner) -> None:
    thread, results = _in_thread(run, LOOP, time_ms=60_000)
    _wait_until(run.sandbox.abort)
    thread.join(timeout=5)
    assert [result.outcome for result in results] == [Outcome.CANCELLED]  # type: ignore[attr-defined]
    assert run(module('(func (export "_start"))')).outcome is Outcome.OK


def test_a_sleeping_guest_is_aborted_too(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    content = module("""
      (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (func (export "_start") (i64.store (i32.const 24) (i64.const 3600000000000))
      (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128))))""")
    sleeping = threading.Event()
    sleep = run.sandbox._deadline.sleep
    monkeypatch.setattr(
        run.sandbox._deadline, "sleep", lambda duration_ns: (sleeping.set(), sleep(duration_ns))
    )
    thread, results = _in_thread(run, content, time_ms=60_000)
    assert sleeping.wait(10)
    assert run.sandbox.abort()
    thread.join(timeout=5)
    assert [result.outcome for result in results] == [Outcome.CANCELLED]  # type: ignore[attr-defined]


def test_nothing_is_aborted_where_nothing_runs(run: Runner) -> None:
    assert not run.sandbox.abort()
    assert run(LOOP, time_ms=20).outcome is Outcome.TIMEOUT
    assert not run.sandbox.abort()
    assert run(module('(func (export "_start"))')).outcome is Outcome.OK


def test_the_watchdog_sees_how_long_a_guest_is_overdue(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host call that does not come back: here `sched_yield`, made to take its time."""
    assert run.sandbox.overdue_ms() == 0
    release = threading.Event()
    functions = tuple(
        function._replace(call=lambda *_: release.wait(10) and 0)
        if function.name == "sched_yield"
        else function
        for function in wasi.WASI_FUNCTIONS
    )
    monkeypatch.setattr("jobico.sandbox.program.WASI_FUNCTIONS", functions)
    content = module("""(import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
      (func (export "_start") (drop (call $yield)) (loop br 0))""")
    thread, results = _in_thread(run, content, time_ms=20)
    _wait_until(lambda: run.sandbox.overdue_ms() > 50)
    release.set()
    thread.join(timeout=5)
    assert [result.outcome for result in results] == [Outcome.TIMEOUT]  # type: ignore[attr-defined]
    assert run.sandbox.overdue_ms() == 0


def test_a_fault_of_a_host_function_is_raised_and_the_next_guest_runs(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise ZeroDivisionError("ours")

    functions = tuple(
        function._replace(call=fail) if function.name == "sched_yield" else function
        for function in wasi.WASI_FUNCTIONS
    )
    monkeypatch.setattr("jobico.sandbox.program.WASI_FUNCTIONS", functions)
    content = module("""(import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
      (func (export "_start") (drop (call $yield)))""")
    with pytest.raises(ZeroDivisionError, match="ours"):
        run(content)
    assert run(module('(func (export "_start"))')).outcome is Outcome.OK


def test_what_fetching_raises_passes_through(tmp_path: Path, run: Runner) -> None:
    from guest_kit import RuntimeSpec, digest_of

    from jobico.errors import NodeUnavailable
    from jobico.sandbox import Job

    def fetch(_digest: str) -> bytes:
        raise NodeUnavailable("The repository is away.")

    spec = RuntimeSpec("guest.wasm", digest_of(b"unknown"), Abi.COMMAND)
    with pytest.raises(NodeUnavailable):
        run.sandbox.run(spec, Job("id", "acme", "greeting", 1, b""), fetch)


def test_more_programs_than_are_kept_loaded_all_run(run: Runner) -> None:
    programs = [module(f'(func (export "_start")) (func (export "f{n}"))') for n in range(_LOADED_MAX + 5)]
    for content in (*programs, *programs[:3]):
        assert run(content).outcome is Outcome.OK


def test_two_sandboxes_in_a_process_take_turns(tmp_path: Path) -> None:
    first, second = Runner(tmp_path / "first"), Runner(tmp_path / "second")
    thread, results = _in_thread(first, LOOP, time_ms=200)
    content = guest(Abi.COMMAND, SAY_HELLO, fields=HELLO)
    assert second(content).result == b"hello"
    thread.join(timeout=5)
    assert [result.outcome for result in results] == [Outcome.TIMEOUT]  # type: ignore[attr-defined]


def test_deadlines_hold_after_a_pause_without_guests(run: Runner) -> None:
    """The thread that keeps them sleeps after a while; a guest must wake it."""
    run(LOOP, time_ms=20)
    deadline = run.sandbox._deadline
    _wait_until(lambda: deadline._parked)
    started_s = time.monotonic()
    assert run(LOOP, time_ms=50).outcome is Outcome.TIMEOUT
    assert time.monotonic() - started_s < 0.2


def test_it_closes_and_leaves_no_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    run = Runner(tmp_path / "modules")
    run(LOOP, time_ms=20)
    run.sandbox.close()
    assert threading.active_count() == before


def test_a_sandbox_opens_on_a_directory(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path / "modules")
    assert sandbox.cache.key
    sandbox.close()
