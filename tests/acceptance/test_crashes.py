"""Nodes are killed while events are posted: what got a 202 ends with exactly one recorded outcome."""

import itertools
import json
import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from acceptance_kit import ECHO, Platform, exchange, job, until, wasm

EVENTS = 2_000
_PAUSE_S = 0.02  # so that the posting goes on while every node is killed
NODES = ("executor-0", "listener", "recorder", "control", "repository", "executor-1")


class Senders:
    """Threads that post numbered events, each until it has got its 202, as a careful sender does.

    They go on for as long as the block runs, and until `least` events are accepted.
    """

    def __init__(self, platform: Platform, least: int, threads: int = 4) -> None:
        self._platform = platform
        self._least = least
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.accepted: dict[str, int] = {}
        self.refused = Counter[object]()
        self._threads = [threading.Thread(target=self._send) for _ in range(threads)]

    def __enter__(self) -> "Senders":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def _send(self) -> None:
        while not self._stop.is_set() or len(self.accepted) < self._least:
            with self._lock:
                number = next(self._numbers)
            self._post(number)
            time.sleep(_PAUSE_S)

    def _post(self, number: int) -> None:
        headers = self._platform.headers(Idempotency_Key=f"order-{number}")
        body = json.dumps({"id": number}).encode()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                with self._platform.connection() as connection:
                    answer = exchange(connection, "POST", "/events/acme/order", body, headers)
            except (OSError, ValueError) as error:
                self._count(type(error).__name__)
            except Exception as error:  # what http.client makes of a connection cut in the middle
                self._count(type(error).__name__)
            else:
                if answer.status == 202:
                    with self._lock:
                        self.accepted[answer.json["id"]] = number
                    return
                self._count(answer.status)
            time.sleep(0.05)
        raise AssertionError(f"event {number} was not accepted in 30 s: {self.refused}")

    def _count(self, what: object) -> None:
        with self._lock:
            self.refused[what] += 1


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
