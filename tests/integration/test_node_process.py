"""Claims about a node as a process: its exit codes, its log, its drain, a second one of its name."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from protocol_kit import until

from jobico.settings import Settings
from protocol.client import Client
from protocol.messages import ListNodes, Ping
from protocol.sockets import Wire, control_endpoint, endpoint

ROLES = ("control", "repository", "recorder", "executor")
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(home: Path) -> Iterator[Start]:
    """Starts a node in a process of its own; killed at the end. Its log is `home/ROLE.log`."""
    children: list[subprocess.Popen[bytes]] = []

    def run(role: str, **environ: str) -> "subprocess.Popen[bytes]":
        code = (
            f"import sys; from nodes.{role} import main; from jobico.settings import Settings;"
            "sys.exit(main(Settings.from_environ()))"
        )
        with (home / f"{role}.log").open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-c", code],
                env={**os.environ, "JOBICO_HOME": str(home), **environ},
                stderr=log,
            )
        children.append(child)
        return child

    yield run
    for child in children:
        child.kill()
        child.wait()


def actions(home: Path, role: str) -> list[str]:
    return [json.loads(line)["action"] for line in (home / f"{role}.log").read_text().splitlines()]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_node_that_is_told_to_stop_drains_and_exits_with_0(
    role: str, number: signal.Signals, start: Start, home: Path
) -> None:
    child = start(role)
    until(lambda: (home / f"{role}.log").exists() and "node-ready" in actions(home, role), 20)
    child.send_signal(number)
    assert child.wait(10) == 0
    assert actions(home, role)[0] == "node-started"
    assert actions(home, role)[-1] == "node-stopped"
    assert "node-draining" in actions(home, role)


def test_a_node_that_cannot_open_its_store_exits_with_1_and_says_why(start: Start, home: Path) -> None:
    (home / "data").mkdir()
    (home / "data" / "control").write_text("a file in the place of the directory")
    child = start("control")
    assert child.wait(20) == 1
    assert "node-failed" in actions(home, "control")
    assert str(home / "data" / "control") in (home / "control.log").read_text()


def test_a_second_node_of_the_same_name_exits_with_1(start: Start, home: Path) -> None:
    start("executor")
    until(lambda: (home / "executor.log").exists() and "node-ready" in actions(home, "executor"), 20)
    second = start("executor")
    assert second.wait(20) == 1
    assert "JOBICO_NODE_NAME" in (home / "executor.log").read_text()


def test_nodes_that_are_killed_come_back_and_register_as_new_runs(start: Start, settings: Settings) -> None:
    wire = Wire(settings, "test")
    client = Client(wire, "test")

    def instance(name: str) -> str:
        nodes = client.call(control_endpoint(settings, "rep"), ListNodes(), timeout_ms=20_000).items
        return next((node.instance for node in nodes if node.name == name and node.ready), "")

    control, recorder = start("control"), start("recorder")
    until(lambda: instance("recorder"), 20)
    first = instance("recorder")
    for child in (control, recorder):
        child.kill()
        child.wait()
    start("recorder")
    assert client.call(endpoint(settings, "recorder", "rep"), Ping(), timeout_ms=20_000).ready
    start("control")
    until(lambda: instance("recorder") not in ("", first), 20)
    client.close()
    wire.close()


def test_what_a_node_writes_is_closed_to_others(start: Start, home: Path) -> None:
    start("control")
    until(lambda: (home / "control.log").exists() and "node-ready" in actions(home, "control"), 20)
    for path in (home / "data" / "control", home / "run", home / "keys"):
        assert path.stat().st_mode & 0o077 == 0, path
    for path in (home / "data" / "control").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
