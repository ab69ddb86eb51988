"""`up`, `down`, `status` and supervisord: the platform as an operator handles it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from acceptance_kit import ROOT, Platform, processes_of, run_cli, until


def test_it_is_ready_within_five_seconds(own_platform: Platform) -> None:
    if os.getloadavg()[0] > (os.cpu_count() or 1) + 1:
        pytest.skip("the machine has other work")
    assert own_platform.ready_ms < 5_000


def test_status_names_every_node_and_where_http_is(platform: Platform) -> None:
    status = platform.status()
    assert status["ready"] is True
    assert status["listener"]["url"] == platform.url
    roles = {node["name"]: node["role"] for node in status["nodes"]}
    assert roles == {
        "control": "control",
        "repository": "repository",
        "recorder": "recorder",
        "listener": "listener",
        "executor-0": "executor",
        "executor-1": "executor",
    }
    for node in status["nodes"]:
        assert node["ready"] is True
        os.kill(node["pid"], 0)
    assert "listener" in platform.cli("status").out


def test_a_second_platform_in_the_same_home_is_refused(platform: Platform) -> None:
    ran = platform.cli("up", "--detach", code=1)
    assert "already" in ran.err
    assert "jobico down" in ran.err
    assert platform.status()["ready"] is True


def test_down_leaves_no_process_even_if_supervisord_was_killed(own_platform: Platform) -> None:
    os.kill(own_platform.status()["supervisord_pid"], signal.SIGKILL)
    until(lambda: own_platform.status()["supervisord_pid"] is None, 5, "supervisord is gone")
    assert processes_of(own_platform.home)
    own_platform.stop()
    assert not processes_of(own_platform.home)


def test_the_data_directory_is_closed_to_others_and_keeps_everything(platform: Platform) -> None:
    for name in ("", "data", "logs", "run"):
        assert (platform.home / name).stat().st_mode & 0o777 == 0o700, name
    logs = {path.name for path in (platform.home / "logs").glob("*.log")}
    assert {f"{name}.log" for name in ("control", "listener", "recorder", "repository", "executor-0")} <= logs


def test_what_was_deployed_outlives_a_restart_of_the_platform(own_platform: Platform) -> None:
    own_platform.stop()
    ran = run_cli("up", "--detach", "--port", "0", "--json", home=own_platform.home)
    assert ran.code == 0, ran.err
    own_platform.url = ran.json["url"]
    assert [item["name"] for item in own_platform.cli("tenants", "list", "--json").json] == ["acme"]
    answer = own_platform.http("GET", "/events/acme/0190c8b5-7e2a-7cc0-b1c9-3f0e6a1f2b3c")
    assert answer.status == 404  # and not 401: the key is known


def test_in_the_foreground_ctrl_c_stops_everything(home: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "cli", "up", "--port", "0"],
        env={**os.environ, "JOBICO_HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert any("Ready in" in line for line in process.stdout)
            process.send_signal(signal.SIGINT)
            assert process.wait(40) == 0
        finally:
            process.kill()
            run_cli("down", home=home)
    assert not processes_of(home)


def test_a_port_that_is_taken_is_said_and_nothing_is_left_running(platform: Platform, home: Path) -> None:
    port = platform.url.rpartition(":")[2]
    ran = run_cli("up", "--detach", "--port", port, home=home)
    assert ran.code == 1
    assert f"Port {port}" in ran.err
    assert "--port" in ran.err
    assert not processes_of(home)


@pytest.mark.slow
def test_supervisord_runs_the_platform_from_a_checkout(home: Path) -> None:
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("JOBICO_")},
        "JOBICO_HOME": str(home),
        "JOBICO_HTTP_PORT": "0",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    with subprocess.Popen(
        ["supervisord", "-n", "-c", "supervisord.conf"], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL
    ) as process:
        try:
            until(
                lambda: (s := run_cli("status", "--json", home=home).json)["ready"] and len(s["nodes"]) == 6,
                20,
                "ready",
            )
            assert (home / "logs" / "listener.log").stat().st_size
        finally:
            process.terminate()
            process.wait(60)
    assert not processes_of(home)
