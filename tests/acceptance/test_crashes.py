"""Nodes are killed while events are posted: what got a 202 ends with exactly one recorded outcome."""

import json
import os
import signal
from collections import Counter
from pathlib import Path

import pytest
from acceptance_kit import ECHO, Platform, job, until, wasm
from senders import Senders

EVENTS = 2_000
NODES = ("executor-0", "listener", "recorder", "control", "repository", "executor-1")


def _records(platform: Platform) -> list[tuple[str, int, str]]:
    ran = platform.cli("logs", "acme", "-n", "100000", "--json")
    records = [json.loads(line) for line in ran.out.splitlines()]
    return [(item["id"], item["attempt"], item["state"]) for item in records]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_no_event_is_lost_or_doubled_whatever_is_killed(own_platform: Platform, tmp_path: Path) -> None:
    platform = own_platform
    platform.deploy(tmp_path, **job(tmp_path, wasm(ECHO)))
    with Senders(platform, EVENTS) as senders:
        for name in NODES:
            pid = platform.node_pid(name)
            os.kill(pid, signal.SIGKILL)
            until(
                lambda name=name, pid=pid: _restarted(platform, name, pid),  # type: ignore[misc]
                20,
                f"supervisord restarts {name}",
            )
            before = len(senders.accepted)
            until(lambda before=before: len(senders.accepted) > before + 20, 10, "events flow again")  # type: ignore[misc]
    count = len(senders.accepted)
    assert count == len(set(senders.accepted.values())) >= EVENTS
    until(lambda: platform.status()["ready"], 20, "every node is ready again")
    until(lambda: sum(platform.totals().final.values()) >= count, 40, "every event has an outcome")
    records = _records(platform)
    assert len(records) == len({(event_id, attempt) for event_id, attempt, _ in records})
    final = Counter(event_id for event_id, _, state in records if state in ("done", "dead"))
    assert set(final) == set(senders.accepted)
    assert set(final.values()) == {1}


def _restarted(platform: Platform, name: str, pid: int) -> bool:
    node = next((item for item in platform.status()["nodes"] if item["name"] == name), None)
    return node is not None and node["ready"] and node["pid"] not in (0, pid)


def test_nodes_work_from_their_snapshot_while_control_is_down(own_platform: Platform, tmp_path: Path) -> None:
    platform = own_platform
    platform.deploy(tmp_path, **job(tmp_path, wasm(ECHO)))
    first = until(lambda: (a := platform.post("order", {"id": 0})).status == 202 and a, 2, "deployed")
    platform.final(first.json["id"])
    platform.supervisorctl("stop", "control")
    for name in ("listener", "executor:executor-0", "executor:executor-1"):
        platform.supervisorctl("restart", name)
    answer = until(lambda: _posted(platform), 15, "the listener answers without control")
    assert platform.final(answer.json["id"])["outcome"] == "ok"
    status = platform.status()
    assert status["ready"] is False
    assert {node["name"]: node["ready"] for node in status["nodes"]}["control"] is False
    platform.supervisorctl("start", "control")
    until(lambda: platform.status()["ready"], 15, "ready again")


def _posted(platform: Platform) -> object:
    try:
        answer = platform.post("order", {"id": 1})
    except OSError:
        return None
    return answer if answer.status == 202 else None
