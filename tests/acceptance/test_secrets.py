"""Secrets, keys and the audit log as an operator handles them, on a platform that logs all it can."""

import base64
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import webhook_senders as senders
from acceptance_kit import ECHO, Platform, Ran, job, processes_of, run_cli, until, wasm

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
]  # a platform is started and driven command by command
BODY = b'{"id": 1}'
TRAP = '(module (memory (export "memory") 1) (func (export "_start") unreachable))'


@pytest.fixture(scope="module")
def talkative(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform at log level debug; events `order`, which GitHub signs, and `fails`, which traps."""
    home = Path(tempfile.mkdtemp(prefix="jb"))
    try:
        platform = Platform(home, JOBICO_LOG_LEVEL="debug")
        folder = tmp_path_factory.mktemp("hooks")
        definition = job(folder, wasm(ECHO), verify={"scheme": "github", "secret": "HOOK"})
        (folder / "trap.wasm").write_bytes(wasm(TRAP))
        trap = {"id": "fails", "supplierqueue": "orders", "runtime": "trap", "retry": {"attempts": 1}}
        definition["runtimes"][0]["secrets"] = ["API_KEY"]
        definition["runtimes"].append({"id": "trap", "moduleref": "trap.wasm", "secrets": ["API_KEY"]})
        definition["jobs"].append({"event": trap})
        platform.deploy(folder, **definition)
        yield platform
    finally:
        stopped = run_cli("down", home=home)
        left = processes_of(home)
        shutil.rmtree(home, ignore_errors=True)
    assert stopped.code == 0, stopped.err
    assert not left


def _status(platform: Platform, secret: str, delivery: str = "") -> int:
    headers = senders.github(secret.encode(), BODY, message_id=delivery)
    return platform.http("POST", "/events/acme/order", BODY, Authorization="", **headers).status


def _within_a_second(platform: Platform, secret: str, status: int) -> None:
    begun_s = time.monotonic()
    until(lambda: _status(platform, secret) == status, 5, f"{status} for {secret}")
    assert time.monotonic() - begun_s < 1


def _set(platform: Platform, value: str, *options: str) -> Ran:
    return platform.cli("secrets", "set", "acme", "HOOK", *options, "--json", stdin=value)


def test_a_secret_that_is_set_or_rotated_while_running_is_in_force_within_a_second(
    talkative: Platform,
) -> None:
    assert _status(talkative, "first") == 401
    assert _set(talkative, "first\n").json == {"tenant": "acme", "name": "HOOK", "values": 1}
    _within_a_second(talkative, "first", 202)
    assert _set(talkative, "second\r\n", "--add").json["values"] == 2
    _within_a_second(talkative, "second", 202)
    assert _status(talkative, "first") == 202, "both are live: senders change over without a gap"
    assert _set(talkative, "third", "--add").json["values"] == 2
    _within_a_second(talkative, "first", 401)
    assert _status(talkative, "second") == _status(talkative, "third") == 202
    assert _set(talkative, "fourth").json["values"] == 1
    _within_a_second(talkative, "third", 401)
    assert _status(talkative, "fourth") == 202
    talkative.cli("secrets", "delete", "acme", "HOOK", "--yes")
    _within_a_second(talkative, "fourth", 401)


def test_a_secret_is_taken_from_the_command_line_or_stdin_and_must_be_one(talkative: Platform) -> None:
    assert talkative.cli("secrets", "set", "acme", "PLAIN", "value").code == 0
    assert "not empty" in talkative.cli("secrets", "set", "acme", "PLAIN", stdin="\n", code=1).err
    assert (
        "SECRET_BYTES_MAX" in talkative.cli("secrets", "set", "acme", "PLAIN", stdin="x" * 16_385, code=1).err
    )
    assert "cannot name a secret" in talkative.cli("secrets", "set", "acme", "a/b", "x", code=1).err
    assert "Did you mean 'acme'" in talkative.cli("secrets", "set", "amce", "PLAIN", "x", code=1).err
    assert "say --yes" in talkative.cli("secrets", "delete", "acme", "PLAIN", code=1).err
    talkative.cli("secrets", "delete", "acme", "PLAIN", "--yes")
    assert "has no secret" in talkative.cli("secrets", "delete", "acme", "PLAIN", "--yes", code=1).err


def test_a_key_is_replaced_and_the_former_is_live_as_long_as_was_said(talkative: Platform) -> None:
    def opens(key: str) -> bool:
        return talkative.post("fails", {}, Authorization=f"Bearer {key}").status == 202

    first = talkative.cli("keys", "create", "acme", "--role", "send", "--name", "ci", "--json").json
    second = talkative.cli("keys", "rotate", "acme", first["id"], "--grace", "2s", "--json").json
    assert (second["role"], second["name"], second["former"]) == ("send", "ci", first["id"])
    assert opens(first["key"])
    assert opens(second["key"])
    until(lambda: not opens(first["key"]), 4, "the grace is over")
    assert opens(second["key"])
    third = talkative.cli("keys", "rotate", "acme", second["id"], "--grace", "0s", "--json").json
    assert (opens(second["key"]), opens(third["key"])) == (False, True)
    again = talkative.cli("keys", "rotate", "acme", second["id"], code=1)
    assert "no live key" in again.err
    talkative.cli("keys", "revoke", "acme", third["id"])
    until(lambda: not opens(third["key"]), 1, "revoked")


def test_the_keys_of_a_tenant_that_is_deleted_open_nothing_within_a_second(talkative: Platform) -> None:
    talkative.cli("tenants", "create", "brief")
    key = talkative.cli("keys", "create", "brief", "--json").json["key"]

    def status() -> int:
        return talkative.http("GET", "/events/brief/nothing", Authorization=f"Bearer {key}").status

    assert status() == 404
    talkative.cli("tenants", "delete", "brief", "--yes")
    until(lambda: status() == 401, 1, "the key is gone")


def _ways_to_see(platform: Platform) -> list[str]:
    """What every command tells that tells anything of acme, as text and as JSON."""
    commands = [
        ("secrets", "list", "acme"), ("show", "tenant", "acme"), ("show", "job", "acme", "orders"),
        ("show", "env"), ("tenants", "list"), ("keys", "list", "acme"), ("audit",), ("audit", "acme"),
        ("logs", "acme", "-n", "100"), ("events", "list", "acme"), ("dead-letters", "list", "acme"),
        ("queues",), ("status",),
    ]  # fmt: skip
    told = []
    for command in commands:
        for options in ((), ("--json",)):
            ran = platform.cli(*command, *options)
            told.append(ran.out + ran.err)
    paths = ("/metrics", "/openapi.json", "/readyz")
    return [*told, *(platform.http("GET", path).body.decode() for path in paths)]


def _forms(value: str) -> list[bytes]:
    """How a value could be written down."""
    raw = value.encode()
    return [raw, raw.hex().encode(), base64.b64encode(raw)[:-4], base64.urlsafe_b64encode(raw)[:-4]]


def test_no_file_and_no_output_has_the_value_of_a_secret_or_a_key(talkative: Platform) -> None:
    """After good and bad messages, runs that end well and that trap, and all commands that show anything."""
    hook, api_key = "hook-0f6a7bcd9134a1", "api-77d1c2b0aa9e31f"
    _set(talkative, hook)
    talkative.cli("secrets", "set", "acme", "API_KEY", api_key)
    until(lambda: _status(talkative, hook, "d-1") == 202, 2, "in force")
    assert _status(talkative, "wrong", "d-2") == 401
    talkative.post("order", b"{", Authorization=f"Bearer {talkative.key}")
    dead = talkative.post("fails", {}).json["id"]
    talkative.final(dead)
    talkative.cli("secrets", "set", "acme", "API_KEY", stdin=api_key, code=0)
    talkative.cli("secrets", "set", "nobody", "API_KEY", api_key, code=1)
    until(lambda: dead in talkative.cli("logs", "acme", "--json").out, 5, "it is recorded")
    told = [text.encode() for text in _ways_to_see(talkative)]
    files = [path for path in talkative.home.rglob("*") if path.is_file()]
    assert {"listener.log", "data.mdb", "secrets.key", "control.snapshot"} <= {path.name for path in files}
    for value in (hook, api_key, talkative.key):
        for form in _forms(value):
            assert not [text for text in told if form in text]
            assert not [path for path in files if form in path.read_bytes()]


def test_keys_and_sealing_keys_are_their_owners_alone(talkative: Platform) -> None:
    keys = talkative.home / "keys"
    assert keys.stat().st_mode & 0o777 == 0o700
    assert (keys / "secrets.key").stat().st_mode & 0o777 == 0o600


def test_the_audit_log_tells_who_changed_what_newest_first(talkative: Platform) -> None:
    def audit(*options: str) -> Any:
        return talkative.cli("audit", *options, "--json").json

    talkative.cli("tenants", "create", "audited")
    made = talkative.cli("keys", "create", "audited", "--role", "read", "--json").json
    talkative.cli("secrets", "set", "audited", "WORD", "x")
    talkative.cli("secrets", "set", "audited", "WORD", "y", "--add")
    talkative.cli("secrets", "delete", "audited", "WORD", "--yes")
    talkative.cli("keys", "revoke", "audited", made["id"])
    items = audit("audited")["items"]
    assert [(item["action"], item["subject"], item["detail"]) for item in items] == [
        ("key.revoke", made["id"], ""),
        ("secret.delete", "WORD", ""),
        ("secret.set", "WORD", "rotated"),
        ("secret.set", "WORD", ""),
        ("key.create", made["id"], "role read"),
        ("tenant.create", "audited", ""),
    ]
    assert {item["role"] for item in items} == {"local"}
    now_ms = time.time_ns() // 1_000_000
    assert all(now_ms - 120_000 < item["at_ms"] <= now_ms for item in items)
    numbers = [item["number"] for item in items]
    assert numbers == sorted(numbers, reverse=True)
    page = audit("audited", "-n", "4")
    rest = audit("audited", "--before", str(page["next"]))
    assert [item["number"] for item in page["items"] + rest["items"]] == numbers
    assert rest["next"] == 0
    assert "secret.set" in talkative.cli("audit", "audited").out
    assert json.dumps(numbers[0]) in talkative.cli("audit", "-n", "5").out
