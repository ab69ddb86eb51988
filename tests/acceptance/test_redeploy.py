"""A job is redeployed while events come: no request fails, and the new one is in force within a second."""

import json
import threading
import time
from collections import Counter
from pathlib import Path

from acceptance_kit import Platform, exchange, job, says, until

ANY = {"type": "object"}
NEEDS_B = {"type": "object", "required": ["b"]}


class Load:
    """Posts events that both schemas take, over connections that stay open, until it is told to stop."""

    def __init__(self, platform: Platform, threads: int = 4) -> None:
        self._platform = platform
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send) for _ in range(threads)]
        self.statuses = Counter[int]()
        self.last_id = ""

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    def _send(self) -> None:
        with self._platform.connection() as connection:
            while not self._stop.is_set():
                answer = exchange(
                    connection, "POST", "/events/acme/order", b'{"a": 1, "b": 2}', self._platform.headers()
                )
                self.statuses[answer.status] += 1
                if answer.status == 202:
                    self.last_id = answer.json["id"]


def test_a_redeploy_fails_no_request_and_is_in_force_within_a_second(
    own_platform: Platform, tmp_path: Path
) -> None:
    platform = own_platform
    first = platform.deploy(tmp_path, **job(tmp_path, says("one"), ANY))
    assert first["revision"] == 1
    until(lambda: platform.post("order", {"a": 1}).status == 202, 2, "the first revision is in force")
    with Load(platform) as load:
        until(lambda: load.statuses[202] > 100, 10, "events flow")
        second = platform.deploy(tmp_path, "--update", **job(tmp_path, says("two"), NEEDS_B))
        assert (second["revision"], second["previous"]) == (2, 1)
        until(lambda: platform.post("order", {"a": 1}).status == 422, 1, "the new schema is in force")
        status = platform.final(platform.post("order", {"b": 1}).json["id"])
        assert (status["result"], status["revision"]) == ("two", 2)
        platform.cli("rollback", "acme", "orders")
        until(lambda: platform.post("order", {"a": 1}).status == 202, 1, "the first revision is back")
        time.sleep(0.2)
    assert set(load.statuses) == {202}, load.statuses
    platform.final(load.last_id, 30)
    records = [
        json.loads(line) for line in platform.cli("logs", "acme", "-n", "5000", "--json").out.splitlines()
    ]
    assert {(item["revision"], item["result"]) for item in records} == {(1, "one"), (2, "two")}


def test_a_deploy_that_is_wrong_changes_nothing(platform: Platform, tmp_path: Path) -> None:
    definition = job(tmp_path, b"no program", ANY)
    definition["id"] = "wrong"
    definition["jobs"][0]["event"]["id"] = "wrong"
    import yaml

    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(definition))
    ran = platform.cli("deploy", str(file), code=1)
    assert "program.wasm" in ran.err
    assert platform.post("wrong", {}).status == 404


def test_a_job_that_exists_is_replaced_only_with_update(platform: Platform, tmp_path: Path) -> None:
    definition = job(tmp_path, says("x"), ANY)
    definition["id"] = "twice"
    definition["jobs"][0]["event"]["id"] = "twice"
    platform.deploy(tmp_path, **definition)
    assert platform.deploy(tmp_path, **definition)["unchanged"] is True
    (tmp_path / "program.wasm").write_bytes(says("y"))
    ran = platform.cli("deploy", str(tmp_path / "job.yaml"), code=1)
    assert "--update" in ran.err
    dry = platform.deploy(tmp_path, "--update", "--dry-run", **definition)
    assert (dry["revision"], dry["dry_run"]) == (2, True)
    assert platform.cli("show", "job", "acme", "twice", "--json").json["current"] == 1
    assert platform.deploy(tmp_path, "--update", **definition)["revision"] == 2
