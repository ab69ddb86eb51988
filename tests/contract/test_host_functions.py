"""The host functions beyond WASI: what they grant, deny and bound."""

import pytest
from guest_kit import ABIS, HELLO, SAY_HELLO, Runner, guest

from jobico import limits
from jobico.definition import Abi
from jobico.event import Emitted, Outcome

EMITTING = pytest.mark.parametrize("abi", [abi for abi in ABIS if abi is not Abi.COMMAND], ids=str)
EVENT = '(data (i32.const 1024) "hello") (data (i32.const 1040) "greeted{\\22a\\22:1}")'


def emit(
    payload: str = "(i32.const 1047) (i32.const 7)", name: str = "(i32.const 1040) (i32.const 7)"
) -> str:
    """A main function whose code is what `emit` answered."""
    return f"(call $done (call $emit {name} {payload}) (i32.const 1024) (i32.const 5))"


@EMITTING
def test_an_event_that_is_granted_is_emitted(run: Runner, abi: Abi) -> None:
    result = run(guest(abi, emit(), fields=EVENT), abi, emits=("greeted",))
    assert result.outcome is Outcome.OK
    assert result.emitted == (Emitted("greeted", b'{"a":1}'),)


@EMITTING
def test_an_event_that_is_not_granted_is_denied(run: Runner, abi: Abi) -> None:
    result = run(guest(abi, emit(), fields=EVENT), abi, emits=("other",))
    assert (result.outcome, result.code, result.emitted) == (Outcome.FAILED, 1, ())


@EMITTING
def test_a_payload_that_is_not_json_is_refused(run: Runner, abi: Abi) -> None:
    content = guest(abi, emit("(i32.const 1047) (i32.const 6)"), fields=EVENT)
    assert run(content, abi, emits=("greeted",)).code == 3


@EMITTING
def test_a_failed_attempt_emits_nothing(run: Runner, abi: Abi) -> None:
    main = "(drop (call $emit (i32.const 1040) (i32.const 7) (i32.const 1047) (i32.const 7))) unreachable"
    result = run(guest(abi, main, fields=EVENT), abi, emits=("greeted",))
    assert (result.outcome, result.emitted) == (Outcome.TRAP, ())


@EMITTING
def test_emitting_is_bounded(run: Runner, abi: Abi) -> None:
    main = f"""(local $n i32) (local $status i32)
      (loop (local.set $status (call $emit (i32.const 1040) (i32.const 7) (i32.const 1047) (i32.const 7)))
        (br_if 0 (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1)))
          (i32.const {limits.GUEST_EMITS_MAX + 1}))))
      (if (i32.ne (local.get $status) (i32.const 2)) (then unreachable)) {SAY_HELLO}"""
    result = run(guest(abi, main, fields=EVENT), abi, emits=("greeted",))
    assert (result.outcome, len(result.emitted)) == (Outcome.OK, limits.GUEST_EMITS_MAX)


@pytest.mark.parametrize("pointer", [65_536, 2**32 - 1])
def test_a_bad_pointer_is_an_abi_error(run: Runner, pointer: int) -> None:
    main = emit(name=f"(i32.const {pointer}) (i32.const 7)")
    assert (
        run(guest(Abi.JOBICOLET, main, fields=HELLO), Abi.JOBICOLET, emits=("x",)).outcome
        is Outcome.ABI_ERROR
    )
