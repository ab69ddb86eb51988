"""What holds for the `component` ABI alone: hostile use of what WASI preview 2 and components add."""

import pytest
from guest_kit import Runner

from jobico import limits
from jobico.definition import Abi
from jobico.event import Outcome
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
