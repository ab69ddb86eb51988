"""What a sender sees, with a plain HTTP client against the real platform."""

import json
import subprocess
import time

import pytest
from acceptance_kit import ECHO, EXAMPLE, Platform, job, says, until, wasm

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["id"],
    "properties": {"id": {"type": "integer"}, "lines": {"type": "array", "items": {"type": "string"}}},
}


@pytest.fixture(scope="module", autouse=True)
def orders(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("orders")
    platform.deploy(folder, "--update", **job(folder, wasm(ECHO), SCHEMA))


def test_a_good_event_is_accepted_and_done_within_a_second(platform: Platform) -> None:
    begun = time.monotonic()
    accepted = platform.post("order", {"id": 1})
    assert accepted.status == 202
    status = platform.final(accepted.json["id"])
    assert time.monotonic() - begun < 1
    assert (status["state"], status["outcome"], status["code"]) == ("done", "ok", 0)
    assert status["result"] == {"id": 1}
    assert status["revision"] == 1
    assert [attempt["outcome"] for attempt in status["attempts"]] == ["ok"]


def test_curl_is_all_that_a_sender_needs(platform: Platform) -> None:
    command = ["curl", "-sS", "-w", "\n%{http_code}", "-H", f"Authorization: Bearer {platform.key}"]
    command += [
        "-H",
        "Content-Type: application/json",
        "-d",
        '{"id": 2}',
        f"{platform.url}/events/acme/order",
    ]
    body, code = subprocess.run(command, capture_output=True, text=True, check=True).stdout.rsplit("\n", 1)
    assert code == "202"
    status_url = json.loads(body)["status_url"]
    path = status_url.removeprefix(platform.url)
    assert until(lambda: platform.http("GET", path).json["state"] == "done", 5, "done")


def test_a_body_that_breaks_the_schema_is_422_with_pointers(platform: Platform) -> None:
    answer = platform.post("order", {"id": "1", "lines": ["a", 2]})
    assert answer.status == 422
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert {(item["pointer"], item["keyword"]) for item in answer.json["violations"]} == {
        ("/id", "type"),
        ("/lines/1", "type"),
    }


@pytest.mark.parametrize("body", [b"", b"{", b"{'id': 1}", b'{"id": 1} x', b'\xff{"id": 1}', b'{"id": NaN}'])
def test_what_is_not_json_is_400(platform: Platform, body: bytes) -> None:
    assert platform.post("order", body).status == 400


@pytest.mark.parametrize(("tenant", "event"), [("acme", "nothing"), ("nobody", "order")])
def test_an_unknown_tenant_or_event_is_not_to_be_had(platform: Platform, tenant: str, event: str) -> None:
    assert platform.post(event, {"id": 1}, tenant=tenant).status == 404


@pytest.mark.parametrize("authorization", ["", "Bearer jbc_a_wrong", "Basic YTpi"])
def test_without_a_right_key_it_is_401(platform: Platform, authorization: str) -> None:
    answer = platform.post("order", {"id": 1}, Authorization=authorization)
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_revoked_key_opens_nothing_within_a_second(platform: Platform) -> None:
    made = platform.cli("keys", "create", "acme", "--json").json
    bearer = f"Bearer {made['key']}"
    until(lambda: platform.post("order", {"id": 1}, Authorization=bearer).status == 202, 2, "the key works")
    platform.cli("keys", "revoke", "acme", made["id"])
    until(lambda: platform.post("order", {"id": 1}, Authorization=bearer).status == 401, 1, "it does not")


def test_a_body_past_its_bound_is_413(platform: Platform) -> None:
    answer = platform.post("order", {"id": 1, "lines": ["x" * (1 << 20)]})
    assert answer.status == 413


def test_a_batch_of_1000_is_recorded_whole(platform: Platform) -> None:
    before = platform.totals().final.get("ok", 0)
    answer = platform.post("order", {"data": [{"id": number} for number in range(1_000)]})
    assert answer.status == 202
    assert len(set(answer.json["ids"])) == 1_000
    until(lambda: platform.totals().final.get("ok", 0) >= before + 1_000, 20, "1 000 records")
    assert platform.event(answer.json["ids"][-1])["result"] == {"id": 999}


def test_a_batch_with_one_bad_event_stores_none(platform: Platform) -> None:
    answer = platform.post("order", {"data": [{"id": 1}, {"id": "2"}]})
    assert answer.status == 422
    assert [item["pointer"] for item in answer.json["violations"]] == ["/data/1/id"]


def test_waiting_gives_the_outcome(platform: Platform) -> None:
    answer = platform.http("POST", "/events/acme/order?wait=10s", b'{"id": 3}')
    assert answer.status == 200
    assert answer.json["outcome"] == "ok"
    assert answer.json["result"] == {"id": 3}


def test_the_same_idempotency_key_gives_the_first_answer(platform: Platform) -> None:
    headers = {"Idempotency_Key": "order-4"}
    first = platform.post("order", {"id": 4}, **headers)
    again = platform.post("order", {"id": 4}, **headers)
    assert (first.status, again.status) == (202, 202)
    assert first.json["id"] == again.json["id"]
    assert platform.post("order", {"id": 5}, **headers).status == 422


def test_an_event_of_another_tenant_is_not_to_be_seen(platform: Platform) -> None:
    platform.cli("tenants", "create", "rival", "--exist-ok")
    key = platform.cli("keys", "create", "rival", "--json").json["key"]
    event_id = platform.post("order", {"id": 6}).json["id"]
    until(
        lambda: platform.http("GET", "/healthz", Authorization=f"Bearer {key}").status == 200, 2, "it answers"
    )
    for tenant in ("acme", "rival"):
        answer = platform.http("GET", f"/events/{tenant}/{event_id}", Authorization=f"Bearer {key}")
        assert answer.status in (401, 404)


def test_machines_can_ask_how_it_is(platform: Platform) -> None:
    assert platform.http("GET", "/healthz", Authorization="").status == 200
    assert platform.http("GET", "/readyz", Authorization="").status == 200
    assert b"jobico" in platform.http("GET", "/metrics", Authorization="").body
    assert "paths" in platform.http("GET", "/openapi.json", Authorization="").json


def test_a_real_webhook_is_summarised_and_followed_up(platform: Platform) -> None:
    platform.cli("tenants", "create", "demo", "--exist-ok")
    platform.cli("deploy", str(EXAMPLE / "job.yaml"), "--update")
    ran = platform.cli("send", "demo", "push", str(EXAMPLE / "push.json"), "--wait", "--json")
    assert ran.json["outcome"] == "ok"
    assert ran.json["result"]["repository"] == "tidewater-labs/harbour"
    (follow_up,) = ran.json["follow_ups"]
    shown = until(
        lambda: (
            (found := platform.cli("events", "show", "demo", follow_up, "--json").json)["state"] == "done"
            and found
        ),
        5,
        "the notification",
    )
    assert shown["parent"] == ran.json["id"]
    assert "tidewater-labs/harbour" in shown["result"]


def test_a_guest_that_fails_is_retried_and_then_dead(platform: Platform) -> None:
    folder = platform.home / "failing"
    folder.mkdir()
    trap = wasm('(module (memory (export "memory") 1) (func (export "_start") unreachable))')
    definition = job(folder, trap, retry={"attempts": 2, "initial": "50ms"})
    definition["id"] = "failing"
    definition["jobs"][0]["event"]["id"] = "fails"
    platform.deploy(folder, **definition)
    event_id = until(lambda: (a := platform.post("fails", {})).status == 202 and a.json["id"], 2, "accepted")
    status = platform.final(event_id)
    assert (status["state"], status["outcome"]) == ("dead", "trap")
    assert [attempt["outcome"] for attempt in status["attempts"]] == ["trap", "trap"]
    letters = platform.cli("dead-letters", "list", "acme", "--json").json
    assert event_id in [item["id"] for item in letters["items"]]
    platform.cli("undeploy", "acme", "failing")


def test_what_a_guest_says_cannot_reach_the_terminal(platform: Platform) -> None:
    folder = platform.home / "rude"
    folder.mkdir()
    definition = job(folder, says("\x1b]0;owned\x07\x1b[2J\u202etxet"))
    definition["id"] = "rude"
    definition["jobs"][0]["event"]["id"] = "rude"
    platform.deploy(folder, **definition)
    ran = platform.cli("send", "acme", "rude", "--wait", stdin="{}")
    assert "\\x1b]0;owned\\x07" in ran.out
    assert not {"\x1b", "\x07", "\u202e"} & set(ran.out)
    assert not {"\x1b", "\x07", "\u202e"} & set(platform.cli("logs", "acme", "-n", "1", "--json").out)
