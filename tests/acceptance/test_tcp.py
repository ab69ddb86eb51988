"""The same platform over TCP: every node with its own key, every socket CURVE."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from acceptance_kit import EXAMPLE, Platform, processes_of, run_cli, until

from cli.ports import free_port


def test_a_platform_over_tcp_does_all_that_one_over_ipc_does(home: Path) -> None:
    settings = {"JOBICO_TRANSPORT": "tcp", "JOBICO_CONTROL_PORT": str(free_port("127.0.0.1"))}
    try:
        platform = Platform(home, **settings)
        endpoints = [at for node in platform.status()["nodes"] for at in node["endpoints"].values()]
        assert endpoints
        assert all(at.startswith(("tcp://", "http://")) for at in endpoints)
        platform.cli("deploy", str(EXAMPLE / "job.yaml"))
        sent = platform.cli("send", "demo", "push", str(EXAMPLE / "push.json"), "--wait", "--json").json
        assert sent["outcome"] == "ok"
        assert sent["id"] in platform.cli("logs", "demo", "-n", "10", "--json").out
        for key in (home / "keys").glob("*.key"):
            assert key.stat().st_mode & 0o777 == 0o600
    finally:
        assert run_cli("down", home=home, **settings).code == 0
    assert not processes_of(home)


@pytest.mark.slow
def test_an_executor_with_a_home_of_its_own_joins_and_works(home: Path, tmp_path: Path) -> None:
    """As on another machine: it has nothing of the platform but the files that `peers make` gave it."""
    settings = {"JOBICO_TRANSPORT": "tcp", "JOBICO_CONTROL_PORT": str(free_port("127.0.0.1"))}
    away = tmp_path / "away"
    try:
        platform = Platform(home, "--executors", "1", **settings)
        platform.cli("deploy", str(EXAMPLE / "job.yaml"))
        platform.cli("peers", "make", "executor-7", "--out", str(tmp_path / "carry"))
        shutil.copytree(tmp_path / "carry", away / "keys")
        node = subprocess.Popen(
            [sys.executable, "-P", "-m", "cli", "node", "executor", "--name", "executor-7"],
            env={**os.environ, **settings, "JOBICO_HOME": str(away)},
            stderr=subprocess.DEVNULL,
        )
        try:
            until(lambda: _ready(platform, "executor-7"), 15, "the executor has joined")
            platform.supervisorctl("stop", "executor:executor-0")
            sent = platform.cli("send", "demo", "push", str(EXAMPLE / "push.json"), "--wait", "--json").json
            assert [attempt["executor"] for attempt in sent["attempts"]] == ["executor-7"]
        finally:
            node.terminate()
            assert node.wait(20) == 0
    finally:
        assert run_cli("down", home=home, **settings).code == 0
    assert not processes_of(home)


def _ready(platform: Platform, name: str) -> bool:
    return any(node["name"] == name and node["ready"] for node in platform.status()["nodes"])
