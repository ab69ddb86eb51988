"""Claims about the executor node, made by a listener of the test's own on real sockets."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from node_kit import StartNode
from noop_guests import FAILING, NOOP, SPINNING, command
from protocol_kit import MakeWire, until

from jobico.definition import Abi, GuestLimits, RuntimeSpec
from jobico.event import Delivery, Outcome, Report, Settlement
from jobico.ids import digest_of
from jobico.limits import WATCHDOG_GRACE_MS
from jobico.sandbox.cache import ModuleCache
from jobico.settings import Settings
from nodes.control.service import serve as serve_control
from nodes.executor.service import serve as serve_executor
from nodes.repository.service import serve as serve_repository
from protocol import codec
from protocol.client import Client
from protocol.messages import (
    Abort,
    Deliveries,
    Hello,
    Message,
    PutArtifact,
    Renewal,
    Returned,
    Settlements,
    Welcome,
)
from protocol.sockets import Wire, endpoint, try_recv, try_send

NAME = "executor-0"


class Listener:
    """A listener that only sends deliveries and keeps what comes back."""

    def __init__(self, settings: Settings, wire: Wire) -> None:
        self.pull = wire.pull(endpoint(settings, "listener", "settlements"))
        self.push = wire.push(endpoint(settings, NAME, "deliveries"))
        self.heard: list[Message] = []
        self.tokens = itertools.count(1)

    def runs(self, token: int) -> None:
        """Returns once a renewal names that delivery as running."""
        until(lambda: any(message.running == token for message in self.of_type(Renewal)))  # type: ignore[attr-defined]

    def close(self) -> None:
        self.pull.close(linger=0)
        self.push.close(linger=0)

    def send(self, message: Message) -> None:
        until(lambda: try_send(self.push, codec.encode(message, sender="listener")), 10)

    def deliver(self, *specs: RuntimeSpec, payload: bytes = b"{}") -> list[int]:
        """Sends a delivery for each program; returns their tokens."""
        items = [
            Delivery(
                token=next(self.tokens), id="0", tenant="acme", event="e", job="j", revision=1, attempt=1,
                runtime=msgspec.msgpack.encode(spec), payload=payload,
            )
            for spec in specs
        ]  # fmt: skip
        self.send(Deliveries(listener="listener", items=tuple(items)))
        return [item.token for item in items]

    def listen(self) -> None:
        while (frames := try_recv(self.pull)) is not None:
            self.heard.append(codec.decode(frames)[1])

    def of_type(self, kind: type[Message]) -> list[Message]:
        self.listen()
        return [message for message in self.heard if type(message) is kind]

    def settlements(self) -> dict[int, Settlement]:
        return {item.token: item for message in self.of_type(Settlements) for item in message.items}  # type: ignore[attr-defined]

    def settled(self, *tokens: int, within_s: float = 10) -> list[Settlement]:
        until(lambda: self.settlements().keys() >= set(tokens), within_s)
        return [self.settlements()[token] for token in tokens]

    def returned(self) -> list[int]:
        return [token for message in self.of_type(Returned) for token in message.tokens]  # type: ignore[attr-defined]


@pytest.fixture
def listener(settings: Settings, make_wire: MakeWire) -> Iterator[Listener]:
    made = Listener(settings, make_wire(settings, "listener"))
    yield made
    made.close()


def compiled(settings: Settings, content: bytes, **limits: int) -> RuntimeSpec:
    """A program that is compiled on this machine already."""
    ModuleCache(settings.modules_dir).prepare(content)
    return spec_of(content, **limits)


def spec_of(content: bytes, **limits: int) -> RuntimeSpec:
    return RuntimeSpec(
        name="p.wasm", digest=digest_of(content), abi=Abi.COMMAND, limits=GuestLimits(**limits)
    )


def test_hello_is_answered_with_this_run_and_what_it_holds(listener: Listener, start_node: StartNode) -> None:
    node = start_node(serve_executor, "executor", NAME)
    listener.send(Hello(listener="listener", instance="l1"))
    until(lambda: listener.of_type(Welcome))
    assert listener.of_type(Welcome) == [Welcome(executor=NAME, instance=node.instance)]


def test_deliveries_are_settled_with_outcome_code_and_report(
    listener: Listener, start_node: StartNode, settings: Settings
) -> None:
    specs = [compiled(settings, NOOP), compiled(settings, FAILING)]
    start_node(serve_executor, "executor", NAME)
    good, failed = listener.settled(*listener.deliver(*specs))
    assert (good.outcome, good.code) == (Outcome.OK, 0)
    assert (failed.outcome, failed.code) == (Outcome.FAILED, 42)
    assert msgspec.msgpack.decode(good.report, type=Report).started_ms > 0


def test_a_runtime_that_is_none_is_an_abi_error(listener: Listener, start_node: StartNode) -> None:
    start_node(serve_executor, "executor", NAME)
    listener.send(
        Deliveries(
            listener="listener",
            items=(
                Delivery(
                    token=1, id="0", tenant="a", event="e", job="j", revision=1, attempt=1,
                    runtime=b"\xc1", payload=b"",
                ),
            ),
        )
    )  # fmt: skip
    [settlement] = listener.settled(1)
    assert settlement.outcome is Outcome.ABI_ERROR


def test_a_module_that_is_new_here_comes_from_the_repository(
    listener: Listener, start_node: StartNode, settings: Settings, client: Client
) -> None:
    start_node(serve_control, "control")
    start_node(serve_repository, "repository")
    put = PutArtifact(request_id="1", tenant="acme", kind="wasm", content=FAILING)
    client.call(endpoint(settings, "repository", "rep"), put, timeout_ms=60_000)
    shutil.rmtree(settings.modules_dir)  # as on a machine without a repository
    start_node(serve_executor, "executor", NAME)
    [settlement] = listener.settled(*listener.deliver(spec_of(FAILING)), within_s=30)
    assert settlement.code == 42


def test_without_a_repository_what_it_lacks_is_handed_back_and_the_rest_runs(
    listener: Listener, start_node: StartNode, settings: Settings
) -> None:
    here = compiled(settings, NOOP)
    start_node(serve_executor, "executor", NAME)
    missing, present = listener.deliver(spec_of(FAILING), here)
    listener.settled(present, within_s=2)
    until(lambda: listener.returned() == [missing], 30)
    assert missing not in listener.settlements()


def test_a_lease_is_renewed_while_a_guest_runs(
    listener: Listener, start_node: StartNode, settings: Settings
) -> None:
    spinning = compiled(settings, SPINNING, time_ms=1_500)
    start_node(serve_executor, "executor", NAME, lease_ms=400)
    [token] = listener.deliver(spinning)
    listener.runs(token)
    [settlement] = listener.settled(token)
    assert settlement.outcome is Outcome.TIMEOUT


def test_what_waits_behind_a_long_guest_is_handed_back(
    listener: Listener, start_node: StartNode, settings: Settings
) -> None:
    spinning, noop = compiled(settings, SPINNING, time_ms=3_000), compiled(settings, NOOP)
    start_node(serve_executor, "executor", NAME, lease_ms=400)
    listener.settled(*listener.deliver(noop))
    [long] = listener.deliver(spinning)
    listener.runs(long)
    short = listener.deliver(noop, noop)
    until(lambda: sorted(listener.returned()) == short)
    assert long not in listener.settlements(), "it still runs"
    assert not set(short) & listener.settlements().keys()


def test_an_abort_ends_what_runs_and_drops_what_waits_and_nothing_else(
    listener: Listener, start_node: StartNode, settings: Settings
) -> None:
    spinning, noop = compiled(settings, SPINNING, time_ms=20_000), compiled(settings, NOOP)
    start_node(serve_executor, "executor", NAME)
    [running] = listener.deliver(spinning)
    waiting, kept = listener.deliver(noop, noop)
    listener.send(Abort(listener="listener", tokens=(running, waiting)))
    first, second = listener.settled(running, waiting, within_s=3)
    assert (first.outcome, second.outcome) == (Outcome.CANCELLED, Outcome.CANCELLED)
    until(lambda: kept in listener.settlements() or kept in listener.returned())
    if kept in listener.settlements():
        assert listener.settlements()[kept].outcome is Outcome.OK


def test_settlements_wait_for_a_listener_that_is_away(
    start_node: StartNode, settings: Settings, make_wire: MakeWire
) -> None:
    noop = compiled(settings, NOOP)
    start_node(serve_executor, "executor", NAME)
    wire = make_wire(settings, "first")
    push = wire.push(endpoint(settings, NAME, "deliveries"))
    item = Delivery(
        token=5, id="0", tenant="acme", event="e", job="j", revision=1, attempt=1,
        runtime=msgspec.msgpack.encode(noop), payload=b"{}",
    )  # fmt: skip
    message = codec.encode(Deliveries(listener="listener", items=(item,)))
    until(lambda: try_send(push, message))
    push.close()
    back = Listener(settings, make_wire(settings, "listener"))
    [settlement] = back.settled(5)
    back.close()
    assert settlement.outcome is Outcome.OK


def test_a_draining_executor_ends_its_guest_and_hands_the_rest_back(
    listener: Listener, start_node: StartNode, settings: Settings
) -> None:
    spinning, noop = compiled(settings, SPINNING, time_ms=1_500), compiled(settings, NOOP)
    node = start_node(serve_executor, "executor", NAME, lease_ms=400)
    [running] = listener.deliver(spinning)
    listener.runs(running)
    waiting = listener.deliver(noop, noop)
    node.drain()
    until(lambda: sorted(listener.returned()) == waiting)
    until(lambda: listener.of_type(Returned)[-1].draining)  # type: ignore[attr-defined]
    [settlement] = listener.settled(running)
    assert settlement.outcome is Outcome.TIMEOUT


# --- The process


@pytest.fixture
def process(home: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """An executor as a process of its own."""
    code = (
        "import sys; from nodes.executor import main; from jobico.settings import Settings;"
        "sys.exit(main(Settings.from_environ()))"
    )
    environ = {**os.environ, "JOBICO_HOME": str(home), "JOBICO_NODE_NAME": NAME, "JOBICO_DRAIN_MS": "500"}
    child = subprocess.Popen([sys.executable, "-c", code], env=environ, stderr=subprocess.DEVNULL)
    yield child
    child.kill()
    child.wait()


SLEEPING = command(
    """(i32.store8 (i32.const 0) (i32.const 0))
       (i32.store (i32.const 16) (i32.const 1))
       (i64.store (i32.const 24) (i64.const 3600000000000))
       (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))""",
    '(import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))',
)


def test_sigterm_ends_the_process_with_0_though_a_guest_runs(
    listener: Listener, process: "subprocess.Popen[bytes]", settings: Settings
) -> None:
    """The guest outlasts the drain: the process goes, and its listener runs the event elsewhere."""
    spinning = compiled(settings, SPINNING, time_ms=60_000)
    listener.deliver(spinning)
    listener.send(Hello(listener="listener", instance="l1"))
    until(lambda: listener.of_type(Welcome), 10)
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0
    assert listener.of_type(Returned)[-1].draining  # type: ignore[attr-defined]


def test_an_idle_process_ends_at_once_on_sigterm_with_no_control_in_sight(
    listener: Listener, process: "subprocess.Popen[bytes]"
) -> None:
    listener.send(Hello(listener="listener", instance="l1"))
    until(lambda: listener.of_type(Welcome), 10)
    begun_s = time.monotonic()
    process.terminate()
    assert process.wait(5) == 0
    assert time.monotonic() - begun_s < 2


def test_a_guest_that_sleeps_an_hour_is_ended_within_its_time_and_the_grace(
    listener: Listener, process: "subprocess.Popen[bytes]", settings: Settings
) -> None:
    sleeping = compiled(settings, SLEEPING, time_ms=200)
    noop = compiled(settings, NOOP)
    slept, *waiting = listener.deliver(sleeping, noop)
    [settlement] = listener.settled(slept, within_s=10 + WATCHDOG_GRACE_MS / 1_000)
    assert settlement.outcome is Outcome.TIMEOUT
    until(lambda: set(listener.returned()) | listener.settlements().keys() >= {slept, *waiting})
