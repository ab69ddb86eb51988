"""Nothing of an attempt is left for the next one, and guests cost the host nothing that stays."""

import resource

import pytest
from guest_kit import ABIS, ECHO, SAY_HELLO, Runner, guest
from random_modules import random_module

from jobico.definition import Abi
from jobico.event import Outcome

# Leaves its mark everywhere that a guest can write: each page of a grown memory, a global, a table, its data.
DIRTY = (
    """(local $at i32)
  (drop (memory.grow (i32.const 100)))
  (local.set $at (i32.const 8192))
  (loop (i64.store (local.get $at) (i64.const -1))
    (br_if 0 (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 512)))
      (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 8)))))
  (i64.store (i32.const 1024) (i64.const -1))
  (global.set $mark (i32.const 7))
  (drop (table.grow (ref.null func) (i32.const 90)))
  (table.set (i32.const 50) (ref.func $marker))
  (memory.fill (i32.const 1024) (i32.const 255) (i32.const 16))
  (data.drop $data) """
    + SAY_HELLO
)

# Looks at all of that, and gives what it found: 0 bytes where it found nothing.
PROBE = """(local $at i32) (local $found i32)
  (drop (memory.grow (i32.const 100)))
  (local.set $at (i32.const 8192))
  (loop (local.set $found (i32.or (local.get $found) (i32.load (local.get $at))))
    (br_if 0 (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 4)))
      (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 8)))))
  (local.set $found (i32.or (local.get $found) (global.get $mark)))
  (if (i32.ne (table.size) (i32.const 10)) (then (local.set $found (i32.const 1))))
  (if (i32.eq (table.grow (ref.null func) (i32.const 90)) (i32.const -1)) (then unreachable))
  (local.set $at (i32.const 0))
  (loop (if (i32.eqz (ref.is_null (table.get (local.get $at)))) (then (local.set $found (i32.const 2))))
    (br_if 0 (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.const 100))))
  (i32.store (i32.const 1040) (local.get $found))
  (memory.init $data (i32.const 1044) (i32.const 0) (i32.const 4))
  (call $done (i32.const 0) (i32.const 1024) (i32.const 24))"""

FIELDS = """(global $mark (mut i32) (i32.const 0)) (table 10 funcref) (func $marker) (elem declare func $marker)
  (data $data "true") """


@pytest.mark.parametrize("dirty_abi", ABIS, ids=str)
def test_a_guest_finds_nothing_of_the_one_before_it(run: Runner, abi: Abi, dirty_abi: Abi) -> None:
    """Whichever ABI went before: memory, globals, tables and data are as compiled."""
    dirty, probe = guest(dirty_abi, DIRTY, fields=FIELDS), guest(abi, PROBE, fields=FIELDS)
    for _ in range(3):
        assert run(dirty, dirty_abi, tenant="another").outcome is Outcome.OK
        result = run(probe, abi)
        assert (result.outcome, result.result) == (Outcome.OK, bytes(20) + b"true")


def test_a_module_finds_nothing_of_its_own_last_run(run: Runner, abi: Abi) -> None:
    main = f"""(i32.store8 (i32.const 1024) (i32.add (i32.load8_u (i32.const 1024)) (i32.const 1)))
      (global.set $count (i32.add (global.get $count) (i32.const 1)))
      (i32.store8 (i32.const 1025) (global.get $count)) {SAY_HELLO}"""
    fields = '(data (i32.const 1024) "\\05\\00\\00\\00\\00") (global $count (mut i32) (i32.const 1))'
    content = guest(abi, main, fields=fields)
    assert {run(content, abi).result for _ in range(5)} == {b"\x06\x02\0\0\0"}


def test_a_guest_that_was_stopped_leaves_nothing_either(run: Runner, abi: Abi) -> None:
    stopped = guest(abi, DIRTY + " (loop br 0)", fields=FIELDS)
    trapped = guest(abi, DIRTY + " unreachable", fields=FIELDS)
    probe = guest(abi, PROBE, fields=FIELDS)
    assert run(stopped, abi, time_ms=50, tenant="another").outcome is Outcome.TIMEOUT
    assert run(probe, abi).result == bytes(20) + b"true"
    assert run(trapped, abi, tenant="another").outcome is Outcome.TRAP
    assert run(probe, abi).result == bytes(20) + b"true"


def test_the_random_bytes_of_an_event_do_not_depend_on_what_ran_before(run: Runner) -> None:
    from test_command import program

    draw = (
        "(drop (call $random_get (i32.const 1024) (i32.const 8))) (call $show (i32.const 1024) (i32.const 8))"
    )
    content = program(draw, "random_get")
    alone = run(content, Abi.COMMAND, event_id="same").result
    run(content, Abi.COMMAND, event_id="other")
    assert run(content, Abi.COMMAND, event_id="same").result == alone


def _rss_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def test_memory_of_the_host_is_flat_over_many_events(run: Runner, abi: Abi) -> None:
    """Good guests, and ones that trap, log and use their memory; `benchmarks/sandbox.py --flat` runs longer."""
    guests = [
        guest(abi, ECHO),
        guest(abi, DIRTY, fields=FIELDS),
        guest(abi, "unreachable"),
        guest(
            abi,
            "(call $log (i32.const 0) (i32.const 500)) (call $done (i32.const 3) (i32.const 0) (i32.const 9))",
        ),
    ]

    def rounds(count: int) -> None:
        for _ in range(count):
            for content in guests:
                run(content, abi, b"x" * 1_000)

    rounds(100)
    before = _rss_bytes()
    rounds(250)
    assert _rss_bytes() - before < 2 << 20


@pytest.mark.parametrize("seed", range(20))
def test_random_valid_modules_end_in_an_outcome(run: Runner, seed: int) -> None:
    """A short form: `python tests/fuzz_sandbox.py --modules 10000` runs ten thousand."""
    result = run(random_module(seed), Abi.COMMAND, time_ms=100, memory_bytes=4 << 20)
    assert result.outcome in (Outcome.OK, Outcome.TRAP, Outcome.TIMEOUT, Outcome.OUT_OF_MEMORY)
