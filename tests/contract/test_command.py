"""What holds for the `command` ABI alone: WASI preview 1, as little of it as a program needs to start."""

import time

import pytest
from guest_kit import HELLO, SAY_HELLO, Runner, guest, module

from jobico.definition import Abi
from jobico.event import LogLevel, LogLine, Outcome
from jobico.sandbox.wasi import WASI_FUNCTIONS, Errno

C = Abi.COMMAND
_TYPES = {0: "i32", 1: "i64"}
_SIGNATURES = {function.name: function.type for function in WASI_FUNCTIONS}


def wasi(name: str) -> str:
    """The import of a WASI function, as `$name`."""
    type_ = _SIGNATURES[name]
    params = " ".join(_TYPES[kind] for kind in type_.params)
    results = f"(result {' '.join(_TYPES[kind] for kind in type_.results)})" if type_.results else ""
    return f'(import "wasi_snapshot_preview1" "{name}" (func ${name} (param {params}) {results}))'


def program(body: str, *names: str, fields: str = "") -> bytes:
    """A command that may call the WASI functions of those names, and `$exit` and `$show(pointer, size)`."""
    imports = "".join(wasi(name) for name in dict.fromkeys((*names, "fd_write", "proc_exit")))
    return module(f"""{imports} (memory (export "memory") 1)
      (func $show (param i32 i32)
        (i32.store (i32.const 0) (local.get 0)) (i32.store (i32.const 4) (local.get 1))
        (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
      {fields} (func (export "_start") {body})""")


@pytest.mark.parametrize(
    ("code", "outcome"),
    [(0, Outcome.OK), (1, Outcome.FAILED), (127, Outcome.FAILED), (2**32 - 1, Outcome.FAILED)],
)
def test_the_exit_code_is_the_code(run: Runner, code: int, outcome: Outcome) -> None:
    result = run(program(f"(call $show (i32.const 1024) (i32.const 5)) (call $proc_exit (i32.const {code})) unreachable",
                         fields=HELLO), C)  # fmt: skip
    assert (result.outcome, result.code, result.result) == (outcome, code, b"hello")


def test_nothing_runs_after_the_exit(run: Runner) -> None:
    content = program(
        "(call $proc_exit (i32.const 0)) (call $show (i32.const 1024) (i32.const 5))", fields=HELLO
    )
    assert run(content, C).result == b""


def test_the_last_line_on_standard_error_says_why_it_failed(run: Runner) -> None:
    main = "(call $log (i32.const 1024) (i32.const 5)) (call $proc_exit (i32.const 2))"
    assert run(guest(C, main, fields=HELLO), C).error == "hello"
    assert "code 2" in run(guest(C, "(call $proc_exit (i32.const 2))"), C).error


def test_lines_on_standard_error_are_split_and_the_rest_is_not_lost(run: Runner) -> None:
    fields = '(data (i32.const 1024) "one\\r\\ntwo\\n\\nthree")'
    result = run(
        guest(C, f"(call $write (i32.const 2) (i32.const 1024) (i32.const 15)) {SAY_HELLO}", fields=fields), C
    )
    assert result.logs == tuple(LogLine(LogLevel.INFO, text) for text in ("one", "two", "", "three"))


def _strings(of: str) -> bytes:
    """A command whose result is the strings that `args_get` or `environ_get` gives."""
    return program(
        f"""(drop (call ${of}_sizes_get (i32.const 16) (i32.const 20)))
        (drop (call ${of}_get (i32.const 2048) (i32.const 4096)))
        (if (i32.ne (i32.load (i32.const 2048)) (i32.const 4096)) (then unreachable))
        (call $show (i32.const 4096) (i32.load (i32.const 20)))""",
        f"{of}_get",
        f"{of}_sizes_get",
    )


def test_its_argument_is_the_name_of_its_module(run: Runner) -> None:
    assert run(_strings("args"), C).result == b"guest.wasm\0"


def test_its_environment_is_what_the_job_says_and_nothing_of_the_host(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOST_SECRET", "never")
    result = run(_strings("environ"), C, event_id="0190", env={"GREETING": "hi"}, secrets={"API_KEY": "k"})
    assert result.result.rstrip(b"\0").split(b"\0") == [
        b"GREETING=hi", b"API_KEY=k", b"JOBICO_EVENT_ID=0190", b"JOBICO_EVENT=greeting", b"JOBICO_TENANT=acme",
        b"JOBICO_ATTEMPT=1",
    ]  # fmt: skip


def test_what_the_job_sets_does_not_hide_what_jobico_sets(run: Runner) -> None:
    assert b"JOBICO_TENANT=acme" in run(_strings("environ"), C, env={"JOBICO_TENANT": "other"}).result


_ARGUMENTS = {0: "(i32.const 3)", 1: "(i64.const 0)"}


@pytest.mark.parametrize(
    "name", sorted(name for name in _SIGNATURES if name.startswith(("path_", "sock_", "fd_pre", "fd_read")))
)
def test_there_is_no_file_and_no_socket(run: Runner, name: str) -> None:
    """Whatever asks for descriptor 3, the first that a directory would have, hears that there is none."""
    call = f"(call ${name} {' '.join(_ARGUMENTS[kind] for kind in _SIGNATURES[name].params)})"
    result = run(program(f"(call $proc_exit {call})", name), C)
    assert result.code == Errno.BADF


def test_every_function_of_wasi_answers_any_pointer_without_harm(run: Runner) -> None:
    """Called with pointers past the end, each answers an errno or ends the guest itself."""
    for name, type_ in _SIGNATURES.items():
        arguments = " ".join("(i32.const -1)" if kind == 0 else "(i64.const -1)" for kind in type_.params)
        call = f"(call ${name} {arguments})"
        body = f"(drop {call})" if type_.results else call
        result = run(program(body, name), C, time_ms=200)
        assert result.outcome in (Outcome.OK, Outcome.FAILED), name


@pytest.mark.parametrize("iovs", [(65_536, 1), (0, 2**32 - 1), (8, 2_000)])
def test_writing_from_bad_vectors_is_an_errno(run: Runner, iovs: tuple[int, int]) -> None:
    pointer, count = iovs
    call = f"(call $fd_write (i32.const 1) (i32.const {pointer}) (i32.const {count}) (i32.const 8))"
    assert run(program(f"(call $proc_exit {call})"), C).code in (Errno.FAULT, Errno.INVAL)


def test_writing_from_outside_memory_is_an_errno(run: Runner) -> None:
    body = """(i32.store (i32.const 0) (i32.const 65535)) (i32.store (i32.const 4) (i32.const 2))
      (call $proc_exit (call $fd_write (i32.const {fd}) (i32.const 0) (i32.const 1) (i32.const 8)))"""
    for fd in (1, 2):
        assert run(program(body.format(fd=fd)), C).code == Errno.FAULT


def _sleep(nanoseconds: int, flags: int = 0) -> bytes:
    return program(
        f"""(i32.store8 (i32.const 72) (i32.const 0)) (i32.store (i32.const 80) (i32.const 1))
        (i64.store (i32.const 88) (i64.const {nanoseconds})) (i32.store16 (i32.const 104) (i32.const {flags}))
        (drop (call $poll_oneoff (i32.const 64) (i32.const 256) (i32.const 1) (i32.const 512)))
        (call $proc_exit (i32.load (i32.const 512)))""",
        "poll_oneoff",
    )


def test_a_sleep_of_an_hour_ends_at_the_deadline(run: Runner) -> None:
    content = _sleep(3_600_000_000_000)
    results = [run(content, C, time_ms=200) for _ in range(3)]
    assert {result.outcome for result in results} == {Outcome.TIMEOUT}
    assert min(result.run_us for result in results) < 300_000  # of three, for machines that are busy


def test_a_short_sleep_is_slept(run: Runner) -> None:
    result = run(_sleep(50_000_000), C)
    assert (result.outcome, result.code) == (Outcome.FAILED, 1)
    assert 50_000 <= result.run_us < 1_500_000


def test_a_sleep_until_a_time_that_has_passed_returns_at_once(run: Runner) -> None:
    assert min(run(_sleep(1, flags=1), C).run_us for _ in range(3)) < 50_000


def _random() -> bytes:
    return program(
        "(drop (call $random_get (i32.const 1024) (i32.const 32))) (call $show (i32.const 1024) (i32.const 32))",
        "random_get",
    )


def test_random_bytes_are_the_same_for_one_event_and_differ_between_events(run: Runner) -> None:
    first, again, other = (run(_random(), C, event_id=id_).result for id_ in ("a", "a", "b"))
    assert first == again != other
    assert len(set(first)) > 16


def test_random_bytes_without_end_are_within_the_time(run: Runner) -> None:
    body = "(loop (drop (call $random_get (i32.const 1024) (i32.const 60000))) (br 0))"
    assert run(program(body, "random_get"), C, time_ms=100).outcome is Outcome.TIMEOUT


def test_clocks_are_real_and_coarse(run: Runner) -> None:
    body = """(drop (call $clock_time_get (i32.const 0) (i64.const 1) (i32.const 1024)))
      (drop (call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 1032))) (call $show (i32.const 1024) (i32.const 16))"""
    content = program(body, "clock_time_get")
    run(content, C)
    before_ns = time.time_ns()
    result = run(content, C).result
    realtime_ns, monotonic_ns = int.from_bytes(result[:8], "little"), int.from_bytes(result[8:], "little")
    assert before_ns - 1_000_000 <= realtime_ns <= time.time_ns()
    assert monotonic_ns <= time.monotonic_ns()
    assert realtime_ns % 1_000_000 == monotonic_ns % 1_000_000 == 0


def test_a_clock_that_is_not_offered_is_an_errno(run: Runner) -> None:
    body = "(call $proc_exit (call $clock_time_get (i32.const 2) (i64.const 1) (i32.const 1024)))"
    assert run(program(body, "clock_time_get"), C).code == Errno.INVAL


def test_a_result_without_end_is_stopped_at_its_bound(run: Runner) -> None:
    content = program("(loop (call $show (i32.const 0) (i32.const 60000)) (br 0))")
    result = run(content, C, time_ms=2_000)
    assert result.outcome is Outcome.ABI_ERROR
    assert result.run_us < 1_000_000


def test_a_program_without_a_memory_runs_and_its_calls_fail(run: Runner) -> None:
    content = module(f"""{wasi("fd_write")} {wasi("proc_exit")} (func (export "_start")
      (call $proc_exit (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))""")
    assert run(content, C).code == Errno.FAULT
