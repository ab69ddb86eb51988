"""A node on another machine gets in with the key made for it, and is cut off when that is revoked."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from acceptance_kit import Platform, processes_of, run_cli, until

from cli.ports import free_port


@pytest.fixture
def tcp_settings() -> dict[str, str]:
    """Settings of a platform over tcp."""
    return {"JOBICO_TRANSPORT": "tcp", "JOBICO_CONTROL_PORT": str(free_port("127.0.0.1"))}


@pytest.fixture
def over_tcp(home: Path, tcp_settings: dict[str, str]) -> Iterator[Platform]:
    """A platform over tcp."""
    try:
        yield Platform(home, **tcp_settings)
    finally:
        stopped = run_cli("down", home=home, **tcp_settings)
    assert stopped.code == 0, stopped.err
    assert not processes_of(home)


def _node(platform: Platform, name: str) -> Any:
    return next((node for node in platform.status()["nodes"] if node["name"] == name), None)


def test_an_executor_of_another_home_joins_with_its_key_and_is_cut_off_without(
    over_tcp: Platform, tcp_settings: dict[str, str], tmp_path: Path
) -> None:
    carried = tmp_path / "elsewhere" / "keys"
    made = over_tcp.cli("peers", "make", "executor-7", "--out", str(carried), "--json").json
    assert made["let_in"]
    assert {path.name for path in carried.iterdir()} == {
        "control.pub", "executor-7.key", "executor-7.pub", "secrets.key",
    }  # fmt: skip
    environment = {key: value for key, value in os.environ.items() if not key.startswith("JOBICO_")}
    environment |= tcp_settings | {"JOBICO_HOME": str(carried.parent), "JOBICO_NODE_NAME": "executor-7"}
    command = [sys.executable, "-P", "-m", "cli", "node", "executor"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as executor:
        try:
            until(lambda: (node := _node(over_tcp, "executor-7")) and node["ready"], 15, "it has joined")
            over_tcp.cli("peers", "revoke", made["id"], "--yes")
            until(lambda: not (_node(over_tcp, "executor-7") or {}).get("ready"), 15, "it is cut off")
        finally:
            executor.send_signal(signal.SIGTERM)
            executor.wait(20)
    roles = {one["key"]: one["role"] for one in over_tcp.cli("peers", "list", "--json").json}
    assert roles[made["key"]] == "revoked"


def test_the_operators_key_is_rotated_without_being_locked_out(over_tcp: Platform) -> None:
    rotated = over_tcp.cli("peers", "rotate", "operator", "--json").json
    assert rotated["let_in"]
    over_tcp.cli("peers", "revoke", rotated["former"], "--yes")
    listed = {one["name"]: one for one in over_tcp.cli("peers", "list", "--json").json if one["name"]}
    assert listed["operator"]["key"] == rotated["key"]
    assert "what every node knows it by" in over_tcp.cli("peers", "rotate", "control", code=1).err
    assert "is not revoked" in over_tcp.cli("peers", "revoke", "control", "--yes", code=1).err
    assert "no key 'nobody'" in over_tcp.cli("peers", "revoke", "nobody", "--yes", code=1).err.lower()


def test_a_key_of_no_role_is_not_made(over_tcp: Platform) -> None:
    assert "is no role" in over_tcp.cli("peers", "make", "x", "--role", "root", code=1).err
    assert not (over_tcp.home / "keys" / "x.key").exists()
