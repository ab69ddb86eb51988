"""The contract of the `command` ABI on the engine wasmer: the same tests, with what that engine can't do told apart."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import guest_kit
import pytest
from guest_kit import ECHO, HELLO, SAY_HELLO, Runner, guest, module
from test_command import (  # noqa: F401 - they run again, with the fixtures of this module
    test_a_sleep_of_an_hour_ends_at_the_deadline,
    test_its_argument_is_the_name_of_its_module,
    test_lines_on_standard_error_are_split_and_the_rest_is_not_lost,
    test_nothing_runs_after_the_exit,
    test_the_last_line_on_standard_error_says_why_it_failed,
)
from test_every_abi import (  # noqa: F401
    test_a_guest_fails_with_its_own_code_and_words,
    test_a_guest_gets_its_event_and_its_result_comes_back,
    test_a_memory_that_begins_past_the_bound_is_out_of_memory,
    test_a_result_past_the_bound_is_an_abi_error_that_names_the_bound,
    test_a_trap_names_its_cause_first,
    test_events_and_results_of_any_size_up_to_the_bound_come_through,
    test_log_lines_are_kept_in_order,
    test_log_text_that_is_not_utf_8_is_replaced_or_refused,
    test_logs_of_a_failed_guest_are_kept,
    test_memory_within_the_bound_is_granted,
    test_memory_without_end_is_out_of_memory,
    test_the_largest_event_reaches_the_guest,
)

from jobico import limits
from jobico.definition import Abi, Engine
from jobico.event import Outcome
from jobico.sandbox.sections import with_maximums

pytest.importorskip("wasmer_sdk", reason="the extra jobico[wasmer] is not installed")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """Runs a guest on wasmer."""
    runner = Runner(Path(tmp_path_factory.mktemp("modules")), Engine.WASMER)
    yield runner
    runner.sandbox.close()


@pytest.fixture
def abi() -> Abi:
    """The one ABI that it has."""
    return Abi.COMMAND


@pytest.fixture(autouse=True)
def the_next_event_of_another_tenant_runs_untouched(run: Runner) -> Iterator[None]:
    yield
    result = run(guest(Abi.COMMAND, SAY_HELLO, fields=HELLO), tenant="another")
    assert (result.outcome, result.result, result.logs) == (Outcome.OK, b"hello", ())


_ENDLESS = """
import sys
from pathlib import Path
from guest_kit import Runner, guest
from jobico.definition import Abi, Engine
run = Runner(Path(sys.argv[1]), Engine.WASMER)
result = run(guest(Abi.COMMAND, "(loop br 0)"), Abi.COMMAND, time_ms=200)
print(result.outcome, result.error, run.sandbox.spent, flush=True)
import os
os._exit(0)
"""


def test_an_endless_loop_ends_at_its_time_and_the_process_is_spent(tmp_path: Path) -> None:
    """In a process of its own: the loop goes on until that ends, which is why executors then end themselves."""
    kits = [str(Path(guest_kit.__file__).parent), *sys.path]
    done = subprocess.run(
        [sys.executable, "-c", _ENDLESS, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(kits)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith("timeout")
    assert "200 ms" in done.stdout
    assert done.stdout.rstrip().endswith("True")


def test_an_ordinary_guest_leaves_the_process_unspent(tmp_path: Path) -> None:
    own = Runner(tmp_path, Engine.WASMER)
    own(guest(Abi.COMMAND, SAY_HELLO, fields=HELLO))
    assert not own.sandbox.spent
    own.sandbox.close()


@pytest.mark.parametrize(("code", "seen"), [(1, 1), (255, 255), (0x1_0001, 1), (2**32 - 1, 0xFFFF)])
def test_the_low_16_bits_of_the_exit_code_are_the_code(run: Runner, code: int, seen: int) -> None:
    result = run(guest(Abi.COMMAND, f"(call $proc_exit (i32.const {code}))"), Abi.COMMAND)
    assert (result.outcome, result.code) == (Outcome.FAILED, seen)


def test_it_refuses_a_start_function_which_nothing_could_stop(run: Runner) -> None:
    content = guest(Abi.COMMAND, SAY_HELLO, fields="(func $begin (loop br 0)) (start $begin)")
    assert run(content, Abi.COMMAND).outcome is Outcome.ABI_ERROR


def test_it_refuses_what_it_cannot_count(run: Runner) -> None:
    result = run(guest(Abi.COMMAND, ECHO), Abi.COMMAND, fuel=1_000)
    assert result.outcome is Outcome.ABI_ERROR
    assert "fuel" in result.error


@pytest.mark.parametrize("other", [Abi.JOBICOLET, Abi.COMPONENT])
def test_it_refuses_the_other_abis(run: Runner, other: Abi) -> None:
    assert run(guest(other, ECHO), other).outcome is Outcome.ABI_ERROR
    assert run(guest(other, ECHO), Abi.COMMAND).outcome is Outcome.ABI_ERROR


def test_it_refuses_imports_that_only_wasmer_has(run: Runner) -> None:
    content = module('(import "wasix_32v1" "thread_exit" (func (param i32))) (func (export "_start"))')
    assert run(content, Abi.COMMAND).outcome is Outcome.ABI_ERROR


def test_tables_are_bounded(run: Runner) -> None:
    body = f"""(if (i32.eq (table.grow (ref.null func) (i32.const {limits.GUEST_TABLE_ELEMENTS_MAX - 1})) (i32.const -1))
      (then unreachable))
      (if (i32.ne (table.grow (ref.null func) (i32.const 1)) (i32.const -1)) (then unreachable)) {SAY_HELLO}"""
    result = run(guest(Abi.COMMAND, body, fields=f"{HELLO} (table 1 funcref)"), Abi.COMMAND)
    assert (result.outcome, result.result) == (Outcome.OK, b"hello")


def test_maximums_are_lowered_and_never_raised() -> None:
    content = module('(memory (export "memory") 1 3) (table 1 5 funcref) (func (export "_start"))')
    assert with_maximums(content, memory_bytes=10 * 65_536, table_elements=10) == content
    lowered = with_maximums(content, memory_bytes=2 * 65_536, table_elements=4)
    assert lowered == module('(memory (export "memory") 1 2) (table 1 4 funcref) (func (export "_start"))')
    open_ended = module('(memory (export "memory") 1) (table 1 funcref) (func (export "_start"))')
    assert with_maximums(open_ended, memory_bytes=2 * 65_536, table_elements=4) == lowered
