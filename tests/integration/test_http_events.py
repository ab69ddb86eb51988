"""Posting and asking over HTTP: what each kind of request is answered."""

import hashlib
import hmac
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from http_listener import GOOD, HOOKS, Listener, bearer, running_listener

from jobico import limits
from jobico.errors import NotFound, SchemaViolation
from jobico.ids import new_event_id, parse_event_id
from protocol.client import Client
from protocol.messages import Ping, PostEvents
from protocol.sockets import Wire, endpoint

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    home = Path(tempfile.mkdtemp(prefix="jb"))
    with running_listener(home) as running:
        yield running
    shutil.rmtree(home)


def check_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Every error is an RFC 9457 document of a stable type."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["type"] == f"urn:jobico:problem:{code}"
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    return document


def test_an_event_is_answered_with_its_id_and_where_to_ask(listener: Listener) -> None:
    response = listener.post()
    assert response.status_code == 202
    answer = response.json()
    assert set(answer) == {"id", "status_url"}
    parse_event_id(answer["id"])
    assert answer["status_url"] == f"/events/acme/{answer['id']}"


def test_the_status_url_tells_the_state_of_the_event(listener: Listener) -> None:
    answer = listener.post().json()
    status = httpx.get(listener.url + answer["status_url"], headers=bearer()).json()
    assert status["id"] == answer["id"]
    assert status["state"] == "queued"
    assert status["tenant"] == "acme"
    assert status["event"] == "customer"
    assert status["outcome"] is None


def test_a_batch_is_answered_with_its_ids_in_order(listener: Listener) -> None:
    ids = listener.post({"data": [GOOD] * 10}).json()["ids"]
    assert len(set(ids)) == 10
    assert ids == sorted(ids)


def test_the_largest_batch_is_taken_and_one_more_is_not(listener: Listener) -> None:
    assert (
        len(listener.post({"data": [GOOD] * limits.BATCH_EVENTS_MAX}).json()["ids"])
        == limits.BATCH_EVENTS_MAX
    )
    check_problem(listener.post({"data": [GOOD] * (limits.BATCH_EVENTS_MAX + 1)}), 413, "too-large")


def test_an_object_with_data_and_another_key_is_one_event(listener: Listener) -> None:
    response = listener.post({"data": [1], "customerId": "c"})
    assert "id" in response.json()


def test_a_body_that_breaks_the_schema_is_explained(listener: Listener) -> None:
    response = listener.post({"amount": -1})
    problem = check_problem(response, 422, "schema-violation")
    found = {(violation["pointer"], violation["keyword"]) for violation in problem["violations"]}
    assert found == {("", "required"), ("/amount", "minimum")}


def test_a_batch_with_a_bad_event_stores_none_and_points_into_the_batch(listener: Listener) -> None:
    before = queued(listener)
    response = listener.post({"data": [GOOD, GOOD, {"customerId": 3}]})
    problem = check_problem(response, 422, "schema-violation")
    assert [violation["pointer"] for violation in problem["violations"]] == ["/data/2/customerId"]
    assert queued(listener) == before


def queued(listener: Listener) -> float:
    for line in httpx.get(listener.url + "/metrics").text.splitlines():
        if line.startswith('jobico_queue{what="queued"}'):
            return float(line.split()[-1])
    raise AssertionError("no such metric")


def test_violations_of_a_batch_are_bounded(listener: Listener) -> None:
    problem = check_problem(listener.post({"data": [{}] * 100}), 422, "schema-violation")
    assert len(problem["violations"]) == limits.VIOLATIONS_REPORTED_MAX


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b'{"a":NaN}', b"\xef\xbb\xbf{}", b'{"a":1,"a":2}', b'"\\ud800"']
)
def test_a_body_that_is_not_json_is_400(listener: Listener, body: bytes) -> None:
    response = httpx.post(listener.url + "/events/acme/keyed", content=body, headers={**bearer(), **JSON})
    check_problem(response, 400, "not-json")


def test_json_nested_too_deep_is_400(listener: Listener) -> None:
    deepest = b"[" * limits.JSON_DEPTH_MAX + b"]" * limits.JSON_DEPTH_MAX
    url = listener.url + "/events/acme/open"
    assert httpx.post(url, content=deepest, headers=JSON).status_code == 202
    check_problem(httpx.post(url, content=b"[" + deepest + b"]", headers=JSON), 400, "not-json")


def test_the_largest_body_is_taken_and_one_byte_more_is_not(listener: Listener) -> None:
    url = listener.url + "/events/acme/open"
    largest = b'"' + b"x" * (limits.BODY_BYTES_MAX - 2) + b'"'
    assert httpx.post(url, content=largest, headers=JSON).status_code == 202
    check_problem(httpx.post(url, content=largest + b" ", headers=JSON), 413, "too-large")


def test_the_bound_holds_for_chunked_bodies_too(listener: Listener) -> None:
    url = listener.url + "/events/acme/open"

    def chunks(size_bytes: int) -> Iterator[bytes]:
        yield b'"'
        for _ in range(size_bytes // 1024):
            yield b"x" * 1024
        yield b'"'

    assert httpx.post(url, content=chunks(limits.BODY_BYTES_MAX - 1024), headers=JSON).status_code == 202
    check_problem(httpx.post(url, content=chunks(limits.BODY_BYTES_MAX), headers=JSON), 413, "too-large")


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        {"Content-Type": "application/jsonx"},
        {},
    ],
)
def test_what_is_not_plain_json_is_415(listener: Listener, headers: dict[str, str]) -> None:
    response = httpx.post(
        listener.url + "/events/acme/customer", content=b"{}", headers={**bearer(), **headers}
    )
    check_problem(response, 415, "unsupported-media")


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "Application/JSON", "application/vnd.acme+json"]
)
def test_other_spellings_of_json_are_taken(listener: Listener, content_type: str) -> None:
    headers = {**bearer(), "Content-Type": content_type, "Content-Encoding": "identity"}
    response = httpx.post(listener.url + "/events/acme/customer", json=GOOD, headers=headers)
    assert response.status_code == 202


@pytest.mark.parametrize(
    "path", ["/events/acme/nope", "/events/acme/inner", "/nope", "/events", "/events/acme"]
)
def test_what_is_not_there_is_404(listener: Listener, path: str) -> None:
    """An event that only a result can make is not there for senders."""
    check_problem(listener.post(path=path), 404, "not-found")


def test_another_method_is_405_and_says_which_there_are(listener: Listener) -> None:
    response = httpx.put(listener.url + "/events/acme/customer", headers=bearer())
    check_problem(response, 405, "method-not-allowed")
    assert {"GET", "POST", "DELETE"} <= set(response.headers["allow"].split(", "))


def signed_post(
    listener: Listener, secret: str, *, tenant: str = "acme", delivery: str = ""
) -> httpx.Response:
    """Posts as GitHub does."""
    body = json.dumps(GOOD).encode()
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {**JSON, "X-Hub-Signature-256": f"sha256={signature}", "X-GitHub-Delivery": delivery}
    return httpx.post(f"{listener.url}/events/{tenant}/signed", content=body, headers=headers)


class TestIdempotency:
    def test_the_same_key_and_body_give_the_first_answer(self, listener: Listener) -> None:
        headers = {"Idempotency-Key": "k-1"}
        first, again = listener.post(headers=headers), listener.post(headers=headers)
        assert first.status_code == again.status_code == 202
        assert first.content == again.content
        assert "idempotency-replayed" not in first.headers
        assert again.headers["idempotency-replayed"] == "true"

    def test_the_same_key_with_another_body_is_422(self, listener: Listener) -> None:
        headers = {"Idempotency-Key": "k-2"}
        listener.post(headers=headers)
        check_problem(listener.post({"customerId": "other"}, headers=headers), 422, "conflict")

    def test_a_batch_is_replayed_whole(self, listener: Listener) -> None:
        headers = {"Idempotency-Key": "k-3"}
        batch = {"data": [GOOD] * 3}
        assert listener.post(batch, headers=headers).json() == listener.post(batch, headers=headers).json()

    def test_a_key_counts_for_one_tenant_and_event_only(self, listener: Listener) -> None:
        headers = {"Idempotency-Key": "k-4"}
        ids = {
            listener.post(headers=headers).json()["id"],
            listener.post(path="/events/acme/keyed", headers=headers).json()["id"],
            listener.post(path="/events/globex/customer", headers={**headers, **bearer("globex")}).json()[
                "id"
            ],
        }
        assert len(ids) == 3

    @pytest.mark.parametrize("value", ["", "x" * (limits.IDEMPOTENCY_KEY_CHARS_MAX + 1), "schlüssel"])
    def test_a_key_that_is_none_is_400(self, listener: Listener, value: str) -> None:
        check_problem(listener.post(headers={"Idempotency-Key": value.encode()}), 400, "invalid-input")

    def test_the_longest_key_is_taken(self, listener: Listener) -> None:
        headers = {"Idempotency-Key": "y" * limits.IDEMPOTENCY_KEY_CHARS_MAX}
        assert listener.post(headers=headers).status_code == 202


class TestCredentials:
    @pytest.mark.parametrize(
        "path", ["/events/acme/customer", "/events/acme/nope", "/events/nobody/customer"]
    )
    @pytest.mark.parametrize(
        "authorization", ["", "Bearer", "Bearer wrong", "Basic YTpi", "Bearer " + "x" * 500]
    )
    def test_without_a_good_key_every_event_is_401_and_alike(
        self, listener: Listener, path: str, authorization: str
    ) -> None:
        """A stranger does not learn which tenants and events there are."""
        headers = {"Authorization": authorization} if authorization else {}
        response = httpx.post(listener.url + path, json=GOOD, headers=headers)
        problem = check_problem(response, 401, "unauthenticated")
        assert response.headers["www-authenticate"].startswith("Bearer")
        assert problem["detail"].startswith("Send a live key")

    @pytest.mark.parametrize(
        "path", ["/events/globex/customer", "/events/globex/nope", "/events/nobody/customer"]
    )
    def test_another_tenants_event_is_like_none(self, listener: Listener, path: str) -> None:
        assert listener.post(path=path).content == listener.post(path="/events/acme/nope").content

    def test_a_send_key_may_post_and_a_read_key_may_not(self, listener: Listener) -> None:
        assert listener.post(headers=bearer(role="send")).status_code == 202
        check_problem(listener.post(headers=bearer(role="read")), 403, "forbidden")

    @pytest.mark.parametrize("role", ["admin", "send", "read"])
    def test_every_role_may_ask_for_an_event_by_its_id(self, listener: Listener, role: str) -> None:
        url = listener.url + listener.post().json()["status_url"]
        assert httpx.get(url, headers=bearer(role=role)).status_code == 200

    def test_another_tenants_event_cannot_be_asked_for(self, listener: Listener) -> None:
        answer = listener.post().json()
        url = listener.url + answer["status_url"]
        check_problem(httpx.get(url), 401, "unauthenticated")
        foreign = httpx.get(url, headers=bearer("globex"))
        check_problem(foreign, 404, "not-found")
        own_path = f"{listener.url}/events/globex/{answer['id']}"
        check_problem(httpx.get(own_path, headers=bearer("globex")), 404, "not-found")

    def test_only_an_admin_key_may_cancel(self, listener: Listener) -> None:
        url = listener.url + listener.post().json()["status_url"]
        check_problem(httpx.delete(url, headers=bearer(role="send")), 403, "forbidden")
        check_problem(httpx.delete(url, headers=bearer("globex")), 404, "not-found")
        assert httpx.delete(url, headers=bearer()).status_code == 204

    def test_an_event_that_verifies_nothing_is_open_to_all(self, listener: Listener) -> None:
        assert httpx.post(listener.url + "/events/acme/open", json=GOOD).status_code == 202

    @pytest.mark.parametrize("secret", HOOKS)
    def test_a_signed_event_takes_every_live_secret(self, listener: Listener, secret: str) -> None:
        assert signed_post(listener, secret).status_code == 202

    def test_a_signed_event_takes_no_other_secret_and_no_other_tenants(self, listener: Listener) -> None:
        check_problem(signed_post(listener, "hook-older"), 401, "unauthenticated")
        check_problem(signed_post(listener, HOOKS[0], tenant="globex"), 401, "unauthenticated")

    def test_a_signed_event_also_takes_a_key(self, listener: Listener) -> None:
        assert listener.post(path="/events/acme/signed").status_code == 202

    def test_a_delivery_that_is_repeated_is_one_event(self, listener: Listener) -> None:
        first, again = (signed_post(listener, HOOKS[0], delivery="d-1") for _ in range(2))
        assert first.json() == again.json()
        assert again.headers["idempotency-replayed"] == "true"


class TestCancel:
    def test_a_cancelled_event_is_dead_or_done_and_cannot_be_cancelled_again(
        self, listener: Listener
    ) -> None:
        url = listener.url + listener.post().json()["status_url"]
        assert httpx.delete(url, headers=bearer()).status_code == 204
        again = httpx.delete(url, headers=bearer(), timeout=10)
        assert again.status_code in (409, 503)  # the recorder, which would know, is away

    def test_an_id_that_is_none_is_404(self, listener: Listener) -> None:
        for unknown in ("customer", new_event_id().upper(), "x" * 200):
            url = f"{listener.url}/events/acme/{unknown}"
            check_problem(httpx.get(url, headers=bearer()), 404, "not-found")
            check_problem(httpx.delete(url, headers=bearer()), 404, "not-found")

    def test_while_the_recorder_is_away_an_ended_event_is_503(self, listener: Listener) -> None:
        """The answer does not tell where its sockets are."""
        url = f"{listener.url}/events/acme/{new_event_id()}"
        response = httpx.get(url, headers=bearer(), timeout=10)
        check_problem(response, 503, "node-unavailable")
        assert int(response.headers["retry-after"]) >= 1
        assert "ipc:" not in response.text


class TestQuery:
    def test_waiting_in_vain_is_answered_202(self, listener: Listener) -> None:
        response = listener.post(path="/events/acme/customer?wait=100ms")
        assert response.status_code == 202
        assert "id" in response.json()

    def test_a_delayed_event_is_delayed(self, listener: Listener) -> None:
        for query in ("delay=1h", "delay=30s"):
            answer = listener.post(path=f"/events/acme/customer?{query}").json()
            status = httpx.get(listener.url + answer["status_url"], headers=bearer()).json()
            assert status["state"] == "delayed"

    @pytest.mark.parametrize(
        "query",
        [
            "wait=31s", "wait=soon", "wait=-1s", "wait=", "wait=1s&wait=2s", "delay=31d", "later=1s",
            "at=tomorrow", "at=2199-01-01T00:00:00Z", "at=2030-13-01T00:00:00Z",
        ],
    )  # fmt: skip
    def test_a_malformed_query_is_400(self, listener: Listener, query: str) -> None:
        check_problem(listener.post(path=f"/events/acme/customer?{query}"), 400, "invalid-input")

    def test_a_batch_cannot_be_waited_for(self, listener: Listener) -> None:
        response = listener.post({"data": [GOOD]}, path="/events/acme/customer?wait=1s")
        check_problem(response, 400, "invalid-input")

    def test_a_time_that_has_passed_is_at_once(self, listener: Listener) -> None:
        answer = listener.post(path="/events/acme/customer?at=2020-01-01T00:00:00%2B02:00").json()
        status = httpx.get(listener.url + answer["status_url"], headers=bearer()).json()
        assert status["state"] == "queued"


def test_an_order_key_that_is_missing_is_422(listener: Listener) -> None:
    response = listener.post({"other": 1}, path="/events/acme/keyed")
    problem = check_problem(response, 422, "schema-violation")
    assert problem["violations"][0]["pointer"] == "/customerId"


class TestCloudEvents:
    """CloudEvents 1.0 in all three modes."""

    ATTRIBUTES: ClassVar = {"specversion": "1.0", "source": "/shop", "type": "order.made"}

    def post(self, listener: Listener, content_type: str, document: Any, **headers: str) -> httpx.Response:
        headers = {**bearer(), "Content-Type": content_type, **headers}
        return httpx.post(
            listener.url + "/events/acme/customer", content=json.dumps(document), headers=headers
        )

    def test_the_same_event_in_another_mode_is_the_same(self, listener: Listener) -> None:
        event = {**self.ATTRIBUTES, "id": "ce-1", "data": GOOD}
        binary = {f"ce-{name}": value for name, value in {**self.ATTRIBUTES, "id": "ce-1"}.items()}
        first = self.post(listener, "application/cloudevents+json", event)
        again = self.post(listener, "application/json", GOOD, **binary)
        batch = self.post(listener, "application/cloudevents-batch+json", [event])
        assert (first.status_code, again.status_code, batch.status_code) == (202, 202, 202)
        assert first.json()["id"] == again.json()["id"] == batch.json()["ids"][0]
        assert again.headers["idempotency-replayed"] == "true"

    def test_what_is_stored_is_the_data(self, listener: Listener) -> None:
        event = {**self.ATTRIBUTES, "id": "ce-2", "data": GOOD}
        answer = self.post(listener, "application/cloudevents+json", event).json()
        assert httpx.get(listener.url + answer["status_url"], headers=bearer()).json()["payload"] == GOOD

    def test_each_event_of_a_batch_is_known_again(self, listener: Listener) -> None:
        def events(*names: str) -> list[Any]:
            return [{**self.ATTRIBUTES, "id": name, "data": GOOD} for name in names]

        kind = "application/cloudevents-batch+json"
        first = self.post(listener, kind, events("ce-3", "ce-4")).json()["ids"]
        later = self.post(listener, kind, events("ce-4", "ce-5")).json()["ids"]
        assert first[1] == later[0]
        assert len({*first, *later}) == 3

    def test_violations_point_into_the_body(self, listener: Listener) -> None:
        event = {**self.ATTRIBUTES, "id": "ce-6", "data": {}}
        one = self.post(listener, "application/cloudevents+json", event)
        problem = check_problem(one, 422, "schema-violation")
        assert problem["violations"][0]["pointer"] == "/data"
        batch = self.post(listener, "application/cloudevents-batch+json", [event])
        problem = check_problem(batch, 422, "schema-violation")
        assert problem["violations"][0]["pointer"] == "/0/data"

    def test_the_same_id_with_other_data_is_422(self, listener: Listener) -> None:
        for amount, status in ((1, 202), (2, 422)):
            event = {**self.ATTRIBUTES, "id": "ce-7", "data": {**GOOD, "amount": amount}}
            assert self.post(listener, "application/cloudevents+json", event).status_code == status

    def test_what_is_no_cloud_event_is_refused(self, listener: Listener) -> None:
        kind = "application/cloudevents+json"
        check_problem(self.post(listener, kind, self.ATTRIBUTES), 400, "invalid-input")
        event = {**self.ATTRIBUTES, "id": "1", "data_base64": "AA=="}
        check_problem(self.post(listener, kind, event), 415, "unsupported-media")


class TestMachines:
    def test_health_and_readiness_ask_for_no_key(self, listener: Listener) -> None:
        assert httpx.get(listener.url + "/healthz").json() == {"status": "ok"}
        assert httpx.get(listener.url + "/readyz").json() == {"status": "ready"}

    def test_metrics_count_answers_and_name_no_tenant(self, listener: Listener) -> None:
        listener.post()
        text = httpx.get(listener.url + "/metrics").text
        assert 'jobico_http_requests_total{status="202"}' in text
        assert "jobico_events_accepted_total" in text
        assert "acme" not in text

    def test_openapi_without_a_key_names_no_tenant(self, listener: Listener) -> None:
        document = httpx.get(listener.url + "/openapi.json").json()
        assert document["openapi"].startswith("3.1")
        assert "/events/{tenant}/{name}" in document["paths"]
        assert "acme" not in json.dumps(document)

    def test_openapi_with_a_key_has_its_events_and_schemas(self, listener: Listener) -> None:
        document = httpx.get(listener.url + "/openapi.json", headers=bearer()).json()
        posts = {path for path in document["paths"] if path.startswith("/events/acme/")}
        assert posts == {f"/events/acme/{name}" for name in ("customer", "keyed", "open", "signed")}
        schema = document["components"]["schemas"]["event.customer"]
        assert schema["required"] == ["customerId"]
        assert "globex" not in json.dumps(document)


class TestNodeSocket:
    """The listener's own socket, through which the command line posts."""

    @pytest.fixture
    def ask(self, listener: Listener) -> Iterator[Callable[[Any], Any]]:
        with Wire(listener.settings, "cli") as wire:
            client = Client(wire, "test")
            yield lambda message: client.call(endpoint(listener.settings, "listener", "rep"), message)
            client.close()

    def test_posting_there_is_judged_as_over_http(
        self, listener: Listener, ask: Callable[[Any], Any]
    ) -> None:
        def post(event: str, body: bytes) -> Any:
            return ask(PostEvents(request_id=new_event_id(), tenant="acme", event=event, body=body))

        (posted,) = post("customer", b'{"customerId": "c"}').ids
        assert httpx.get(f"{listener.url}/events/acme/{posted}", headers=bearer()).status_code == 200
        assert len(post("customer", b'{"data": [{"customerId": "c"}, {"customerId": "d"}]}').ids) == 2
        with pytest.raises(SchemaViolation):
            post("customer", b"{}")
        with pytest.raises(NotFound):
            post("inner", b"{}")
        with pytest.raises(NotFound):
            post("nope", b"{}")

    def test_the_same_request_is_one_event(self, ask: Callable[[Any], Any]) -> None:
        request = PostEvents(request_id="r-1", tenant="acme", event="open", body=b"1")
        assert ask(request) == ask(request)

    def test_a_ping_tells_what_change_is_in_force(self, ask: Callable[[Any], Any]) -> None:
        pong = ask(Ping())
        assert (pong.ready, pong.seq) == (True, 1)
