"""What holds for the `component` ABI alone: hostile use of what WASI preview 2 and components add."""

import threading

import pytest
from guest_kit import Runner

from jobico import limits
from jobico.definition import Abi
from jobico.event import LogLevel, Outcome
from jobico.sandbox.bindings import wat2wasm

TYPES = """
  (import "jobico:jobicolet/types@0.1.0" (instance $types
    (type $e (record (field "id" string) (field "name" string) (field "tenant" string)
      (field "attempt" u32) (field "payload" (list u8)))) (export "event" (type (eq $e)))
    (type $f (record (field "code" u32) (field "message" string))) (export "failure" (type (eq $f)))))
  (alias export $types "event" (type $event)) (alias export $types "failure" (type $failure))"""

REALLOC = """(global $heap (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
      (local.set $at (global.get $heap))
      (global.set $heap (i32.add (global.get $heap) (i32.add (local.get 3) (i32.const 16)))) (local.get $at))"""

LIFT = """
  (func $handle (param "event" $event) (result (result (list u8) (error $failure)))
    (canon lift (core func $i "handle") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
  (export "handle" (func $handle))"""


def component(
    body: str, *, imports: str = "", core_imports: str = "", instantiate: str = "", more: str = ""
) -> bytes:
    """A component whose `handle` does `body`, which leaves the answer at 64; an answer of zeros is an empty result."""
    return wat2wasm(f"""(component {TYPES} {imports}
      (core module $m {core_imports} (memory (export "memory") 1) {REALLOC}
        (func (export "handle") (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) {body} (i32.const 64)))
      {more} (core instance $i (instantiate $m {instantiate})) {LIFT})""")


def test_handles_of_the_host_are_bounded(run: Runner) -> None:
    """A guest that opens one timer after the other and closes none would else eat the memory of the host."""
    imports = """
      (import "wasi:io/poll@0.2.0" (instance $poll (export "pollable" (type (sub resource)))))
      (alias export $poll "pollable" (type $pollable))
      (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
        (alias outer 1 $pollable (type $p)) (export "pollable" (type (eq $p)))
        (export "subscribe-duration" (func (param "when" u64) (result (own 1))))))
      (core func $wait (canon lower (func $clock "subscribe-duration")))"""
    content = component(
        "(loop (drop (call $wait (i64.const 1000000000))) (br 0))",
        imports=imports,
        core_imports='(import "h" "wait" (func $wait (param i64) (result i32)))',
        instantiate='(with "h" (instance (export "wait" (func $wait))))',
    )
    result = run(content, Abi.COMPONENT, time_ms=5_000)
    assert result.outcome is Outcome.TRAP
    assert "limit exceeded" in result.error.splitlines()[0]


def test_a_component_that_sleeps_past_its_time_is_seen_to_be_overdue(run: Runner) -> None:
    """It sits in wasmtime, where no epoch reaches it: what ends it in time is the executor's watchdog."""
    imports = """
      (import "wasi:io/poll@0.2.0" (instance $poll (export "pollable" (type $p (sub resource)))
        (export "[method]pollable.block" (func (param "self" (borrow $p))))))
      (alias export $poll "pollable" (type $pollable))
      (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
        (alias outer 1 $pollable (type $p)) (export "pollable" (type (eq $p)))
        (export "subscribe-duration" (func (param "when" u64) (result (own 1))))))
      (core func $wait (canon lower (func $clock "subscribe-duration")))
      (core func $block (canon lower (func $poll "[method]pollable.block")))"""
    content = component(
        "(call $block (call $wait (i64.const 500000000)))",
        imports=imports,
        core_imports="""(import "h" "wait" (func $wait (param i64) (result i32)))
          (import "h" "block" (func $block (param i32)))""",
        instantiate='(with "h" (instance (export "wait" (func $wait)) (export "block" (func $block))))',
    )
    assert run(content, Abi.COMPONENT).outcome is Outcome.OK
    results = []
    thread = threading.Thread(target=lambda: results.append(run(content, Abi.COMPONENT, time_ms=50)))
    thread.start()
    overdue_ms = 0
    while thread.is_alive():
        overdue_ms = max(overdue_ms, run.sandbox.overdue_ms())
        thread.join(timeout=0.005)
    assert overdue_ms > 200
    assert [result.outcome for result in results] == [Outcome.TIMEOUT]


@pytest.mark.parametrize(("pages", "outcome"), [(60, Outcome.OK), (70, Outcome.OUT_OF_MEMORY)])
def test_memories_of_one_component_share_its_bound(run: Runner, pages: int, outcome: Outcome) -> None:
    """Two memories of 60 pages each fit 8 MiB, of 70 pages they don't, though one of them would."""
    other = f'(core module $other (memory (export "memory") {pages})) (core instance $o (instantiate $other))'
    body = f"(if (i32.eq (memory.grow (i32.const {pages - 1})) (i32.const -1)) (then unreachable))"
    content = component(body, more=other)
    for _ in range(2):
        assert run(content, Abi.COMPONENT, memory_bytes=8 * limits.MIB).outcome is outcome


def test_a_string_in_its_failure_is_cut_at_its_bound(run: Runner) -> None:
    body = """(drop (memory.grow (i32.const 2)))
      (memory.fill (i32.const 4096) (i32.const 120) (i32.const 100000))
      (i32.store8 (i32.const 64) (i32.const 1)) (i32.store (i32.const 68) (i32.const 9))
      (i32.store (i32.const 72) (i32.const 4096)) (i32.store (i32.const 76) (i32.const 100000))"""
    result = run(component(body), Abi.COMPONENT)
    assert (result.outcome, result.code) == (Outcome.FAILED, 9)
    assert result.error == "x" * limits.GUEST_ERROR_CHARS_MAX


def test_a_failure_with_code_zero_is_still_a_failure(run: Runner) -> None:
    body = "(i32.store8 (i32.const 64) (i32.const 1)) (i32.store (i32.const 68) (i32.const 0))"
    result = run(component(body), Abi.COMPONENT)
    assert (result.outcome, result.code) == (Outcome.FAILED, 1)


@pytest.mark.parametrize("size", [65_536, 2**31, 2**32 - 1])
def test_an_answer_out_of_range_is_refused(run: Runner, size: int) -> None:
    body = f"(i32.store (i32.const 68) (i32.const 1024)) (i32.store (i32.const 72) (i32.const {size}))"
    result = run(component(body), Abi.COMPONENT)
    assert result.outcome in (Outcome.ABI_ERROR, Outcome.TRAP)


def test_an_answer_of_another_kind_than_ok_or_error_is_refused(run: Runner) -> None:
    assert (
        run(component("(i32.store8 (i32.const 64) (i32.const 7))"), Abi.COMPONENT).outcome is not Outcome.OK
    )


def test_a_result_far_past_its_bound_costs_the_host_no_more_than_a_guest_may_have(run: Runner) -> None:
    """A list takes 32 times its size in the host: wasmtime stops the copying, and says so."""
    body = """(drop (memory.grow (i32.const 900)))
      (i32.store (i32.const 68) (i32.const 4096)) (i32.store (i32.const 72) (i32.const 50000000))"""
    result = run(component(body), Abi.COMPONENT)
    assert result.outcome is Outcome.ABI_ERROR
    assert "too much data" in result.error


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_there_are_no_sockets(run: Runner, kind: str) -> None:
    """Making one answers an error, `access-denied`."""
    imports = f"""
      (import "wasi:sockets/network@0.2.0" (instance $network
        (type $code' (enum "unknown" "access-denied" "not-supported" "invalid-argument" "out-of-memory" "timeout"
          "concurrency-conflict" "not-in-progress" "would-block" "invalid-state" "new-socket-limit"
          "address-not-bindable" "address-in-use" "remote-unreachable" "connection-refused" "connection-reset"
          "connection-aborted" "datagram-too-large" "name-unresolvable" "temporary-resolver-failure"
          "permanent-resolver-failure"))
        (export "error-code" (type (eq $code')))
        (type $family' (enum "ipv4" "ipv6")) (export "ip-address-family" (type (eq $family')))))
      (alias export $network "error-code" (type $code)) (alias export $network "ip-address-family" (type $family))
      (import "wasi:sockets/{kind}@0.2.0" (instance $sockets (export "{kind}-socket" (type (sub resource)))))
      (alias export $sockets "{kind}-socket" (type $socket))
      (import "wasi:sockets/{kind}-create-socket@0.2.0" (instance $create
        (alias outer 1 $code (type $c')) (export "error-code" (type $c (eq $c')))
        (alias outer 1 $family (type $f')) (export "ip-address-family" (type $f (eq $f')))
        (alias outer 1 $socket (type $s')) (export "{kind}-socket" (type $s (eq $s')))
        (export "create-{kind}-socket" (func (param "address-family" $f) (result (result (own $s) (error $c)))))))
      (core module $memory_module (memory (export "memory") 1))
      (core instance $memory (instantiate $memory_module))
      (core func $create (canon lower (func $create "create-{kind}-socket") (memory (core memory $memory "memory"))))
      (core module $check_module (import "h" "memory" (memory 1)) (func (export "answer") (result i32)
        (i32.or (i32.shl (i32.load8_u (i32.const 0)) (i32.const 8)) (i32.load8_u (i32.const 4)))))
      (core instance $check (instantiate $check_module
        (with "h" (instance (export "memory" (memory $memory "memory"))))))"""
    body = """(call $create (i32.const 0) (i32.const 0))
      (if (i32.ne (call $answer) (i32.const 0x0101)) (then unreachable))"""
    content = component(
        body,
        imports=imports,
        core_imports="""(import "h" "create" (func $create (param i32 i32)))
          (import "h" "answer" (func $answer (result i32)))""",
        instantiate="""(with "h" (instance (export "create" (func $create))
          (export "answer" (func $check "answer"))))""",
    )
    result = run(content, Abi.COMPONENT)
    assert result.outcome is Outcome.OK, result.error


def calls_host(
    signature: str,
    core: str,
    body: str,
    *,
    name: str = "log",
    instance: str = "jobico:jobicolet/host@0.1.0",
    types: str = "",
) -> bytes:
    """A component that imports a function of the host under a type of its own, and calls it."""
    imports = f"""
      (import "{instance}" (instance $lying {types} (export "{name}" (func {signature}))))
      (core module $memory_module (memory (export "memory") 1)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096)))
      (core instance $memory (instantiate $memory_module))
      (core func $call (canon lower (func $lying "{name}") (memory (core memory $memory "memory"))
        (realloc (core func $memory "realloc"))))"""
    return component(
        body,
        imports=imports,
        core_imports=f'(import "h" "call" (func $call {core}))',
        instantiate='(with "h" (instance (export "call" (func $call))))',
    )


@pytest.mark.parametrize(
    ("signature", "core", "body"),
    [
        ("", "", "(call $call)"),
        ('(param "a" u64) (param "b" u64)', "(param i64 i64)", "(call $call (i64.const 4919) (i64.const 64))"),
        ('(param "a" string) (param "b" u64)', "(param i32 i32 i64)",
         "(call $call (i32.const 0) (i32.const 8) (i64.const 9))"),
        ('(param "a" string) (param "b" string)', "(param i32 i32 i32 i32)",
         "(call $call (i32.const 0) (i32.const 8) (i32.const 0) (i32.const 8))"),
        ('(param "a" f64) (param "b" (list string))', "(param f64 i32 i32)",
         "(call $call (f64.const 1) (i32.const 0) (i32.const 3))"),
        ('(param "a" u64) (result u64)', "(param i64) (result i64)", "(drop (call $call (i64.const 1)))"),
    ],
)  # fmt: skip
def test_a_host_function_under_another_type_is_never_read_as_its_own(
    run: Runner, signature: str, core: str, body: str
) -> None:
    """Numbers in the place of a string would be read as an address of the host."""
    result = run(calls_host(signature, core, body), Abi.COMPONENT)
    assert result.outcome is Outcome.ABI_ERROR
    assert "another type" in result.error


def test_a_level_that_does_not_exist_is_no_level(run: Runner) -> None:
    types = """(type $l' (enum "loud" "quiet")) (export "level" (type $l (eq $l')))"""
    content = calls_host(
        '(param "level" $l) (param "message" string)', "(param i32 i32 i32)",
        "(call $call (i32.const 1) (i32.const 0) (i32.const 3))", types=types,
    )  # fmt: skip
    result = run(content, Abi.COMPONENT)
    assert [line.level for line in result.logs] == [LogLevel.NONE]


@pytest.mark.parametrize(
    ("signature", "core", "body"),
    [
        ('(param "event" string) (param "payload" (list u64)) (result (result))', "(param i32 i32 i32 i32) (result i32)",
         "(drop (call $call (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 3)))"),
        ('(param "event" string) (param "payload" (list u8)) (result u64)', "(param i32 i32 i32 i32) (result i64)",
         "(drop (call $call (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 3)))"),
        ('(param "event" string) (param "payload" (list u8))', "(param i32 i32 i32 i32)",
         "(call $call (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 3))"),
    ],
)  # fmt: skip
def test_emit_under_another_type_ends_the_guest(run: Runner, signature: str, core: str, body: str) -> None:
    result = run(calls_host(signature, core, body, name="emit"), Abi.COMPONENT)
    assert result.outcome in (Outcome.ABI_ERROR, Outcome.TRAP)


@pytest.mark.parametrize(
    ("param", "argument", "result_type"),
    [("string", "(i32.const 0) (i32.const 8)", "(list u8)"), ("u64", "(i64.const 8)", "string")],
)
def test_wasi_functions_of_ours_under_another_type_end_the_guest(
    run: Runner, param: str, argument: str, result_type: str
) -> None:
    core = "(param i32 i32 i32)" if param == "string" else "(param i64 i32)"
    content = calls_host(
        f'(param "len" {param}) (result {result_type})', core, f"(call $call {argument} (i32.const 64))",
        name="get-random-bytes", instance="wasi:random/random@0.2.0",
    )  # fmt: skip
    assert run(content, Abi.COMPONENT).outcome in (Outcome.ABI_ERROR, Outcome.TRAP)


def test_random_bytes_belong_to_the_event(run: Runner) -> None:
    content = calls_host(
        "(result u64)", "(result i64)",
        """(i64.store (i32.const 1024) (call $call))
        (i32.store (i32.const 68) (i32.const 1024)) (i32.store (i32.const 72) (i32.const 8))""",
        name="get-random-u64", instance="wasi:random/random@0.2.0",
    )  # fmt: skip
    first, again, other = (run(content, Abi.COMPONENT, event_id=id_).result for id_ in ("a", "a", "b"))
    assert first == again != other
    assert len(first) == 8


@pytest.mark.parametrize(
    ("result_type", "core", "body"),
    [
        ("(result)", "i32", "(i32.const 0)"),
        ("(result (result))", "i32", "(i32.const 0)"),
        ("(result (result (error u32)))", "i32", "(i32.const 64)"),
        ("(result (result (list u8)))", "i32", "(i32.store8 (i32.const 64) (i32.const 1)) (i32.const 64)"),
        ("(result (result string (error string)))", "i32", "(i32.const 64)"),
        ("(result (result (list u64) (error string)))", "i32",
         "(i32.store (i32.const 72) (i32.const 1)) (i32.const 64)"),
        ("(result (result u64 (error u64)))", "i32", "(i32.const 64)"),
        ("(result u64)", "i64", "(i64.const -1)"),
        ("(result string)", "i32", "(i32.const 64)"),
    ],
)  # fmt: skip
def test_an_answer_of_another_type_is_an_abi_error(
    run: Runner, result_type: str, core: str, body: str
) -> None:
    if result_type == "(result)":
        result_type, core_result = "", ""
        body = "nop"
    else:
        core_result = f"(result {core})"
    content = wat2wasm(f"""(component {TYPES}
      (core module $m (memory (export "memory") 1) {REALLOC}
        (func (export "handle") (param i32 i32 i32 i32 i32 i32 i32 i32 i32) {core_result} {body}))
      (core instance $i (instantiate $m))
      (func $handle (param "event" $event) {result_type}
        (canon lift (core func $i "handle") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
      (export "handle" (func $handle)))""")
    result = run(content, Abi.COMPONENT)
    assert (result.outcome, result.result) == (Outcome.ABI_ERROR, b""), result.error
