"""A backup made while events come, and what a platform that is restored from it has."""

import shutil
import tempfile
from pathlib import Path

from acceptance_kit import ECHO, Platform, job, run_cli, until, wasm
from senders import Senders


def test_a_platform_comes_back_from_a_backup_made_under_load(own_platform: Platform, tmp_path: Path) -> None:
    """What was accepted before the backup began has one outcome in the restored platform; its keys work."""
    platform = own_platform
    platform.deploy(tmp_path, **job(tmp_path, wasm(ECHO)))
    platform.cli("secrets", "set", "acme", "TOKEN", stdin="s3cret")
    with Senders(platform) as senders:
        until(lambda: len(senders.accepted) > 100, 20, "events flow")
        before = set(senders.accepted)
        made = platform.cli("backup", str(tmp_path / "backup"), "--json").json
        count = len(senders.accepted)
        until(lambda: len(senders.accepted) > count, 10, "events flow during and after it")
    assert [store["kind"] for store in made["stores"]] == ["queue", "executions", "catalog", "artifacts"]
    assert not any(store["damaged"] for store in made["stores"])
    home = Path(tempfile.mkdtemp(prefix="jb"))
    try:
        restored = run_cli("restore", str(tmp_path / "backup"), "--json", home=home)
        assert restored.code == 0, restored.err
        again = run_cli("restore", str(tmp_path / "backup"), home=home)
        assert again.code == 1
        assert "has stores already" in again.err
        _check_restored(home, platform.key, before)
    finally:
        run_cli("down", home=home)
        shutil.rmtree(home)


def _check_restored(home: Path, key: str, before: set[str]) -> None:
    """Starts the restored platform: the old key posts, and every event is there once."""
    started = run_cli("up", "--detach", "--port", "0", "--json", home=home)
    assert started.code == 0, started.err
    platform = Platform.__new__(Platform)
    platform.home, platform.url, platform.key, platform._settings = home, started.json["url"], key, {}
    assert platform.cli("secrets", "list", "acme", "--json").json[0]["name"] == "TOKEN"
    new = platform.post("order", {"id": "new"})
    assert new.status == 202
    assert platform.final(new.json["id"])["outcome"] == "ok"
    states = {event_id: platform.final(event_id) for event_id in before}
    assert {(state["outcome"], len(state["attempts"])) for state in states.values()} == {("ok", 1)}


def test_what_is_no_finished_backup_is_refused(tmp_path: Path) -> None:
    (tmp_path / "half" / "data").mkdir(parents=True)
    ran = run_cli("restore", str(tmp_path / "half"), home=tmp_path / "home")
    assert ran.code == 1
    assert "no finished backup" in ran.err
    ran = run_cli("backup", str(tmp_path / "backup"), home=tmp_path / "home")
    assert ran.code == 1
    assert "holds no store" in ran.err
