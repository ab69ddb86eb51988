"""Claims about `nodes.executor.modules`: modules that are new here, and those that cannot be had."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from protocol_kit import until

from jobico.definition import Abi, GuestLimits, RuntimeSpec
from jobico.errors import InvalidModule, NodeUnavailable
from nodes.executor.modules import Modules, module_key

SPEC = RuntimeSpec(name="m", digest="sha256:m", abi=Abi.COMMAND)
KEY = module_key(SPEC)


class Told:
    """What modules told of, and how often they were asked to prepare."""

    def __init__(self, prepare: Callable[..., None]) -> None:
        self.here: list[str] = []
        self.away: list[str] = []
        self.prepared = 0

        def counting(spec: RuntimeSpec, fetch: Any) -> None:
            self.prepared += 1
            prepare(spec, fetch)

        self.modules = Modules(
            counting, lambda _digest: b"", on_here=self.here.append, on_away=self.away.append
        )


def absent(_spec: RuntimeSpec, _fetch: Any) -> None:
    raise NodeUnavailable("No repository.")


def invalid(_spec: RuntimeSpec, _fetch: Any) -> None:
    raise InvalidModule("It does not compile.")


def present(_spec: RuntimeSpec, _fetch: Any) -> None:
    return


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nodes.executor.modules._TRY_AGAIN_S", 0.001)
    monkeypatch.setattr("nodes.executor.modules._REST_S", 0.05)


def test_a_module_is_here_once_it_is_prepared() -> None:
    told = Told(present)
    assert told.modules.verdict(KEY) is None
    told.modules.want(KEY, SPEC)
    until(lambda: told.here == [KEY])
    assert told.modules.verdict(KEY) == ""


def test_a_module_that_does_not_compile_is_here_with_the_reason() -> None:
    told = Told(invalid)
    told.modules.want(KEY, SPEC)
    until(lambda: told.here == [KEY])
    assert told.modules.verdict(KEY) == "It does not compile."


def test_a_module_that_cannot_be_had_is_tried_again_a_bounded_number_of_times() -> None:
    told = Told(absent)
    told.modules.want(KEY, SPEC)
    until(lambda: told.away == [KEY])
    assert told.prepared == 2
    assert told.modules.verdict(KEY) is None


def test_it_rests_before_it_is_tried_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nodes.executor.modules._REST_S", 60)
    told = Told(absent)
    told.modules.want(KEY, SPEC)
    until(lambda: told.away == [KEY])
    told.modules.want(KEY, SPEC)
    told.modules.stop(5)
    until(lambda: told.away == [KEY, KEY])
    assert told.prepared == 2, "it was still resting when it was stopped"


def test_a_module_that_is_wanted_twice_is_prepared_once() -> None:
    gate = threading.Event()
    told = Told(lambda _spec, _fetch: gate.wait(5) and None)
    for _ in range(3):
        told.modules.want(KEY, SPEC)
    gate.set()
    until(lambda: told.here == [KEY])
    assert told.prepared == 1


def test_one_that_takes_long_does_not_hold_up_another() -> None:
    gate = threading.Event()
    other = RuntimeSpec(name="o", digest="sha256:o", abi=Abi.COMMAND)
    told = Told(lambda spec, _fetch: (spec is SPEC and gate.wait(5)) and None)
    told.modules.want(KEY, SPEC)
    told.modules.want(module_key(other), other)
    until(lambda: told.here == [module_key(other)])
    gate.set()
    until(lambda: KEY in told.here)


def test_with_and_without_fuel_are_two_modules() -> None:
    fuelled = RuntimeSpec(name="m", digest="sha256:m", abi=Abi.COMMAND, limits=GuestLimits(fuel=10))
    assert module_key(fuelled) != KEY
