"""What holds for every ABI: how guests succeed, fail and are stopped, and that nobody else notices."""

from collections.abc import Iterator

import pytest
from guest_kit import ECHO, HELLO, SAY_HELLO, Runner, guest, module

from jobico import limits
from jobico.definition import Abi
from jobico.event import LogLevel, LogLine, Outcome

LATE_US = 100_000  # what an outcome may come late by

LOOP = "(loop br 0)"
GROW = "(loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable"
RECURSE = "(call $main)"


@pytest.fixture(autouse=True)
def the_next_event_of_another_tenant_runs_untouched(run: Runner) -> Iterator[None]:
    yield
    result = run(guest(Abi.JOBICOLET, SAY_HELLO, fields=HELLO), tenant="another")
    assert (result.outcome, result.result, result.logs) == (Outcome.OK, b"hello", ())


def test_a_guest_gets_its_event_and_its_result_comes_back(run: Runner, abi: Abi) -> None:
    result = run(guest(abi, ECHO), abi, b'{"name":"J\xc3\xb6rg"}')
    assert (result.outcome, result.code, result.result) == (Outcome.OK, 0, b'{"name":"J\xc3\xb6rg"}')
    assert result.error == ""
    assert result.run_us > 0


@pytest.mark.parametrize("size", [0, 1, 65_536, limits.GUEST_RESULT_BYTES])
def test_events_and_results_of_any_size_up_to_the_bound_come_through(
    run: Runner, abi: Abi, size: int
) -> None:
    payload = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    result = run(guest(abi, ECHO), abi, payload)
    assert (result.outcome, result.result) == (Outcome.OK, payload)


def test_the_largest_event_reaches_the_guest(run: Runner, abi: Abi) -> None:
    size_as_result = "(i32.store (i32.const 1024) (global.get $event_size)) " + SAY_HELLO.replace("5", "4")
    result = run(guest(abi, size_as_result), abi, b" " * limits.BODY_BYTES_MAX)
    assert int.from_bytes(result.result, "little") == limits.BODY_BYTES_MAX


def test_a_result_past_the_bound_is_an_abi_error_that_names_the_bound(run: Runner, abi: Abi) -> None:
    result = run(guest(abi, ECHO), abi, b"x" * 1_001, result_bytes=1_000)
    assert result.outcome is Outcome.ABI_ERROR
    assert "1000 bytes" in result.error
    assert result.result == b""
    assert run(guest(abi, ECHO), abi, b"x" * 1_000, result_bytes=1_000).outcome is Outcome.OK


def test_a_guest_fails_with_its_own_code_and_words(run: Runner, abi: Abi) -> None:
    main = "(call $log (i32.const 1024) (i32.const 5)) (call $done (i32.const 42) (i32.const 1024) (i32.const 5))"
    result = run(guest(abi, main, fields=HELLO), abi)
    assert (result.outcome, result.code, result.error) == (Outcome.FAILED, 42, "hello")


@pytest.mark.parametrize(
    ("main", "cause"),
    [
        ("unreachable", "unreachable"),
        ("(drop (i32.div_u (i32.const 1) (i32.const 0)))", "divide by zero"),
        ("(drop (i32.load (i32.const -8)))", "out of bounds"),
        (RECURSE, "call stack exhausted"),
    ],
)
def test_a_trap_names_its_cause_first(run: Runner, abi: Abi, main: str, cause: str) -> None:
    result = run(guest(abi, main), abi)
    assert result.outcome is Outcome.TRAP
    assert cause in result.error.splitlines()[0]


def test_an_endless_loop_ends_at_its_time(run: Runner, abi: Abi) -> None:
    content = guest(abi, LOOP)
    results = [run(content, abi, time_ms=200) for _ in range(3)]
    assert {result.outcome for result in results} == {Outcome.TIMEOUT}
    assert "200 ms" in results[0].error
    assert all(result.run_us >= 200_000 for result in results)
    assert (
        min(result.run_us for result in results) < 200_000 + LATE_US
    )  # of three, for machines that are busy


def test_a_start_function_is_within_the_time(run: Runner, abi: Abi) -> None:
    content = guest(abi, SAY_HELLO, fields=f"(func $begin {LOOP}) (start $begin)")
    assert run(content, abi, time_ms=100).outcome is Outcome.TIMEOUT


def test_memory_without_end_is_out_of_memory(run: Runner, abi: Abi) -> None:
    fields = '(data (i32.const 1024) "MemoryError")'
    main = f"(loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) {_say(11)} unreachable"
    result = run(guest(abi, main, fields=fields), abi, memory_bytes=8 * limits.MIB)
    assert result.outcome is Outcome.OUT_OF_MEMORY


def _say(size: int) -> str:
    return f"(call $log (i32.const 1024) (i32.const {size}))"


def test_memory_within_the_bound_is_granted(run: Runner, abi: Abi) -> None:
    main = f"(if (i32.eq (memory.grow (i32.const 62)) (i32.const -1)) (then unreachable)) {SAY_HELLO}"
    assert run(guest(abi, main), abi, memory_bytes=4 * limits.MIB).outcome is Outcome.OK
    assert run(guest(abi, main), abi, memory_bytes=3 * limits.MIB).outcome is not Outcome.OK


def test_a_memory_that_begins_past_the_bound_is_out_of_memory(run: Runner, abi: Abi) -> None:
    content = guest(abi, SAY_HELLO, pages=32)
    assert run(content, abi, memory_bytes=1 * limits.MIB).outcome is Outcome.OUT_OF_MEMORY
    assert run(content, abi, memory_bytes=2 * limits.MIB).outcome is Outcome.OK


def test_log_lines_are_kept_in_order(run: Runner, abi: Abi) -> None:
    fields = '(data (i32.const 1024) "onetwo")'
    main = (
        f"(call $log (i32.const 1024) (i32.const 3)) (call $log (i32.const 1027) (i32.const 3)) {SAY_HELLO}"
    )
    result = run(guest(abi, main, fields=fields), abi)
    assert result.logs == (LogLine(LogLevel.INFO, "one"), LogLine(LogLevel.INFO, "two"))
    assert result.logs_dropped == 0


def test_log_lines_past_the_bound_are_counted_and_dropped(run: Runner, abi: Abi) -> None:
    main = f"""(local $n i32) (local.set $n (i32.const 25))
        (loop {_say(5)} (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1))))) {SAY_HELLO}"""
    content = guest(abi, main, fields=HELLO)
    result = run(content, abi, log_lines=10)
    assert (result.outcome, len(result.logs), result.logs_dropped) == (Outcome.OK, 10, 15)
    result = run(content, abi, logs_bytes=52)
    assert (result.outcome, len(result.logs), result.logs_dropped) == (Outcome.OK, 11, 15)
    assert result.logs[-1].message == "he…"


def test_logging_without_end_costs_its_time_and_no_memory(run: Runner, abi: Abi) -> None:
    result = run(guest(abi, f"(loop {_say(5)} (br 0))", fields=HELLO), abi, time_ms=200, log_lines=100)
    assert (result.outcome, len(result.logs)) == (Outcome.TIMEOUT, 100)
    assert result.logs_dropped > 100


def test_log_text_that_is_not_utf_8_is_replaced_or_refused(run: Runner, abi: Abi) -> None:
    """Core guests log bytes, which are made text; a component's strings must be UTF-8, or it traps."""
    result = run(guest(abi, f"{_say(3)} {SAY_HELLO}", fields='(data (i32.const 1024) "a\\ffb")'), abi)
    if abi is Abi.COMPONENT:
        assert result.outcome in (Outcome.TRAP, Outcome.ABI_ERROR)
    else:
        assert result.logs == (LogLine(LogLevel.INFO, "a�b"),)


def test_logs_of_a_failed_guest_are_kept(run: Runner, abi: Abi) -> None:
    result = run(guest(abi, f"{_say(5)} unreachable", fields=HELLO), abi)
    assert (result.outcome, [line.message for line in result.logs]) == (Outcome.TRAP, ["hello"])


def test_fuel_is_counted_the_same_in_every_run_and_ends_a_guest(run: Runner, abi: Abi) -> None:
    content = guest(abi, ECHO)
    used = {run(content, abi, b'{"a":1}', fuel=1_000_000).fuel for _ in range(5)}
    assert len(used) == 1
    assert 0 < min(used) < 10_000
    result = run(guest(abi, LOOP), abi, fuel=100_000)
    assert (result.outcome, result.fuel) == (Outcome.OUT_OF_FUEL, 100_000)
    assert run(content, abi).fuel == 0


def test_an_abi_that_is_not_named_is_found_out(run: Runner, abi: Abi) -> None:
    result = run(guest(abi, ECHO), Abi.AUTO, b"[1]")
    assert (result.outcome, result.result, result.logs) == (Outcome.OK, b"[1]", ())


def test_an_abi_that_the_module_is_not_of_is_refused(run: Runner) -> None:
    component, command = guest(Abi.COMPONENT, ECHO), guest(Abi.COMMAND, ECHO)
    assert run(component, Abi.COMMAND).outcome is Outcome.ABI_ERROR
    assert run(command, Abi.COMPONENT).outcome is Outcome.ABI_ERROR
    assert run(command, Abi.JOBICOLET).outcome is Outcome.ABI_ERROR
    assert run(module('(func (export "nothing"))')).outcome is Outcome.ABI_ERROR


def test_the_peak_of_memory_is_told_for_core_modules(run: Runner, abi: Abi) -> None:
    result = run(guest(abi, f"(drop (memory.grow (i32.const 9))) {SAY_HELLO}"), abi)
    assert result.memory_bytes == (0 if abi is Abi.COMPONENT else 10 * 65_536)
