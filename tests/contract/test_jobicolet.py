"""What holds for the `jobicolet` ABI alone: its calls, their order, and every way to get them wrong."""

import pytest
from guest_kit import ECHO, HELLO, SAY_HELLO, Runner, guest, module

from jobico.definition import Abi
from jobico.event import LogLevel, Outcome

J = Abi.JOBICOLET
PLAIN = """
  (memory (export "memory") 1)
  (data (i32.const 1024) "hello")
  (func (export "init") {init})
  (func (export "malloc") (param i32) (result i32) {malloc})
  (func (export "event") (param i32 i32 i32)
    (i64.store (local.get 0) {code})
    (i64.store offset=8 (local.get 0) {packed}))
  {more}
"""


def plain(
    *,
    init: str = "",
    malloc: str = "(global.set $heap (i32.add (global.get $heap) (i32.const 256))) (global.get $heap)",
    code: str = "(i64.const 0)",
    packed: str = "(i64.const 0x40000000005)",
    more: str = "",
) -> bytes:
    """A jobicolet that answers `hello`, with parts replaced."""
    heap = "(global $heap (mut i32) (i32.const 4096))"
    return module(PLAIN.format(init=init, malloc=malloc, code=code, packed=packed, more=heap + more))


def test_the_smallest_jobicolet_runs(run: Runner) -> None:
    result = run(plain(), J)
    assert (result.outcome, result.result) == (Outcome.OK, b"hello")


@pytest.mark.parametrize(
    ("packed", "what"),
    [
        ("(i64.const 0x0001_0000_0000_0001)", "pointer at the end"),
        ("(i64.const 0x0000_ffff_0000_0002)", "size past the end"),
        ("(i64.const 0xffff_ffff_0000_0001)", "pointer past everything"),
        ("(i64.const 0xffff_ffff_ffff_ffff)", "pointer and size that overflow"),
        ("(i64.const 0x0000_0400_ffff_ffff)", "size past everything"),
    ],
)
def test_a_result_out_of_range_is_an_abi_error(run: Runner, packed: str, what: str) -> None:
    result = run(plain(packed=packed), J)
    assert (result.outcome, result.result) == (Outcome.ABI_ERROR, b""), what
    assert "out of range" in result.error


def test_a_result_at_the_last_byte_of_memory_is_in_range(run: Runner) -> None:
    assert run(plain(packed="(i64.const 0x0000_ffff_0000_0001)"), J).result == b"\0"


def test_a_result_without_bytes_may_point_anywhere(run: Runner) -> None:
    result = run(plain(packed="(i64.const 0xffff_ffff_0000_0000)"), J)
    assert (result.outcome, result.result) == (Outcome.OK, b"")


def test_a_result_pointer_of_zero_is_memory_like_any_other(run: Runner) -> None:
    assert run(plain(packed="(i64.const 0x0000_0000_0000_0004)"), J).result == bytes(4)


def test_a_result_may_overlap_the_event_and_the_answer(run: Runner) -> None:
    result = run(plain(packed="(i64.const 0x0000_1100_0000_0200)"), J, b"x" * 200)
    assert (result.outcome, len(result.result)) == (Outcome.OK, 0x200)


def test_codes_are_unsigned_64_bits(run: Runner) -> None:
    result = run(plain(code="(i64.const -1)"), J)
    assert (result.outcome, result.code, result.result) == (Outcome.FAILED, 2**64 - 1, b"hello")


def test_malloc_that_returns_zero_is_out_of_memory(run: Runner) -> None:
    assert run(plain(malloc="(i32.const 0)"), J).outcome is Outcome.OUT_OF_MEMORY


def test_malloc_that_returns_the_same_block_is_an_abi_error(run: Runner) -> None:
    result = run(plain(malloc="(i32.const 2048)"), J)
    assert result.outcome is Outcome.ABI_ERROR
    assert "2048" in result.error


@pytest.mark.parametrize("pointer", ["65536", "65535", "-1", "0x7fffffff"])
def test_malloc_that_returns_what_is_not_memory_is_an_abi_error(run: Runner, pointer: str) -> None:
    assert run(plain(malloc=f"(i32.const {pointer})"), J, b"four").outcome is Outcome.ABI_ERROR


@pytest.mark.parametrize("part", ["init", "malloc"])
@pytest.mark.parametrize(
    ("body", "outcome"), [("unreachable", Outcome.TRAP), ("(loop br 0) unreachable", Outcome.TIMEOUT)]
)
def test_every_call_is_guarded(run: Runner, part: str, body: str, outcome: Outcome) -> None:
    assert run(plain(**{part: body}), J, time_ms=100).outcome is outcome


@pytest.mark.parametrize("name", ["_start", "_initialize"])
def test_setting_up_is_within_the_time(run: Runner, name: str) -> None:
    content = plain(more=f'(func (export "{name}") (loop br 0))')
    assert run(content, J, time_ms=100).outcome is Outcome.TIMEOUT


@pytest.mark.parametrize("name", ["_start", "_initialize"])
def test_setting_up_is_called_once_before_init(run: Runner, name: str) -> None:
    more = f"""(global $order (mut i32) (i32.const 1))
      (func (export "{name}") (global.set $order (i32.mul (global.get $order) (i32.const 10))))"""
    content = plain(
        init="(global.set $order (i32.add (global.get $order) (i32.const 3)))",
        code="(i64.extend_i32_u (global.get $order))",
        more=more,
    )
    assert run(content, J).code == 13


def test_a_module_with_start_and_init_is_a_jobicolet(run: Runner) -> None:
    assert run(plain(more='(func (export "_start"))'), Abi.AUTO).result == b"hello"


@pytest.mark.parametrize(("code", "outcome"), [(0, Outcome.OK), (3, Outcome.FAILED)])
def test_a_start_that_exits_goes_on_if_it_exits_with_zero(run: Runner, code: int, outcome: Outcome) -> None:
    wasi = '(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))'
    content = module(
        wasi
        + PLAIN.format(
            init="",
            malloc="(global.set $heap (i32.add (global.get $heap) (i32.const 256))) (global.get $heap)",
            code="(i64.const 0)",
            packed="(i64.const 0x40000000005)",
            more=f"""(global $heap (mut i32) (i32.const 4096))
            (func (export "_start") (call $exit (i32.const {code})))""",
        )
    )
    result = run(content, J)
    assert (result.outcome, result.code) == (outcome, code)


def test_an_exit_in_the_main_function_is_an_abi_error(run: Runner) -> None:
    exit_ = '(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))'
    text = """(memory (export "memory") 1) (func (export "init")) (func (export "malloc") (param i32) (result i32)
      (i32.add (local.get 0) (i32.const 2048))) (func (export "event") (param i32 i32 i32) (call $exit (i32.const 0)))"""
    assert run(module(exit_ + text), J).outcome is Outcome.ABI_ERROR


def test_free_gets_both_blocks_and_their_sizes_where_it_takes_them(run: Runner) -> None:
    more = """(import "env" "log" (func $log (param i32 i32 i32)))"""
    free = """(func (export "ver") (result i32) (i32.const 1))
      (func (export "free") (param i32 i32)
        (i32.store8 (i32.const 0) (i32.add (i32.const 48) (i32.shr_u (local.get 1) (i32.const 2))))
        (call $log (i32.const 0) (i32.const 0) (i32.const 1)))"""
    content = module(
        more
        + PLAIN.format(
            init="",
            malloc="(global.set $heap (i32.add (global.get $heap) (i32.const 256))) (global.get $heap)",
            code="(i64.const 0)",
            packed="(i64.const 0x40000000005)",
            more="(global $heap (mut i32) (i32.const 4096))" + free,
        )
    )
    result = run(content, J, b"12345678")
    assert [line.message for line in result.logs] == ["2", "4"]


def test_a_free_that_traps_leaves_a_warning_and_the_result(run: Runner) -> None:
    result = run(plain(more='(func (export "free") (param i32) unreachable)'), J)
    assert (result.outcome, result.result) == (Outcome.OK, b"hello")
    assert result.logs[0].level is LogLevel.WARNING
    assert (
        run(plain(more='(func (export "free") (param i32) (loop br 0))'), J, time_ms=50).outcome
        is Outcome.TIMEOUT
    )


def test_the_main_function_may_have_another_name_and_64_bit_parameters(run: Runner) -> None:
    content = module(
        """(memory (export "memory") 1) (func (export "init") (result i32) (i32.const 9))
        (global $heap (mut i64) (i64.const 4096))
        (func (export "malloc") (param i64) (result i64)
          (global.set $heap (i64.add (global.get $heap) (i64.const 256))) (global.get $heap))
        (func (export "on_event") (param i64 i32 i64) (result i64)
          (i64.store (i32.wrap_i64 (local.get 0)) (i64.const 0))
          (i64.store offset=8 (i32.wrap_i64 (local.get 0))
            (i64.or (i64.shl (i64.extend_i32_u (local.get 1)) (i64.const 32)) (local.get 2)))
          (i64.const -1))"""
    )
    result = run(content, J, b"payload", function="on_event")
    assert (result.outcome, result.result) == (Outcome.OK, b"payload")
    assert run(content, J, function="other").outcome is Outcome.ABI_ERROR


@pytest.mark.parametrize(
    ("number", "level"), [*enumerate(LogLevel), (7, LogLevel.NONE), (2**32 - 1, LogLevel.NONE)]
)
def test_log_levels_are_those_of_the_original(run: Runner, number: int, level: LogLevel) -> None:
    main = f"(call $env_log (i32.const {number}) (i32.const 1024) (i32.const 5)) {SAY_HELLO}"
    assert run(guest(J, main, fields=HELLO), J).logs[0].level is level


@pytest.mark.parametrize(
    ("pointer", "size"), [(65_536, 1), (65_535, 2), (2**32 - 1, 2**32 - 1), (0, 2**32 - 1)]
)
def test_a_log_call_with_a_bad_pointer_is_an_abi_error(run: Runner, pointer: int, size: int) -> None:
    main = f"(call $env_log (i32.const 1) (i32.const {pointer}) (i32.const {size})) {SAY_HELLO}"
    result = run(guest(J, main), J)
    assert result.outcome is Outcome.ABI_ERROR
    assert "log" in result.error


def test_what_it_prints_is_logged(run: Runner) -> None:
    """Standard output and error of a jobicolet are log lines: there is another way for its result."""
    write = '(import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))'
    content = module(
        write
        + PLAIN.format(
            init="""(i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 5))
              (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
              (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 16)))""",
            malloc="(global.set $heap (i32.add (global.get $heap) (i32.const 256))) (global.get $heap)",
            code="(i64.const 0)",
            packed="(i64.const 0x40000000005)",
            more="(global $heap (mut i32) (i32.const 4096))",
        )
    )
    assert [line.message for line in run(content, J).logs] == ["hello", "hello"]


def test_exports_under_other_types_are_refused(run: Runner) -> None:
    good = {"memory": "(memory (export \"memory\") 1)", "init": '(func (export "init"))',
            "malloc": '(func (export "malloc") (param i32) (result i32) unreachable)',
            "event": '(func (export "event") (param i32 i32 i32))'}  # fmt: skip
    wrong = {
        "memory": '(memory 1) (global (export "memory") i32 (i32.const 0))',
        "init": '(func (export "init") (param i32))',
        "malloc": '(func (export "malloc") (param f32) (result i32) unreachable)',
        "event": '(global (export "event") i32 (i32.const 0))',
    }
    for name, text in wrong.items():
        result = run(module(" ".join({**good, name: text}.values())), J)
        assert result.outcome is Outcome.ABI_ERROR
        assert name in result.error
    for name in good:
        missing = module(" ".join(text for key, text in good.items() if key != name))
        assert run(missing, J).outcome is Outcome.ABI_ERROR


def test_events_are_copied_where_malloc_says(run: Runner) -> None:
    assert run(guest(J, ECHO), J, b"z" * 200_000).result == b"z" * 200_000
