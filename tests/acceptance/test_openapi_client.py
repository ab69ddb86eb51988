"""The interface is what `/openapi.json` says: a client that reads only that finds no other answer.

The client is Schemathesis, a program of its own: it pins another release of a library that Jobico needs, so
it cannot be in the same environment. `python -m venv .toolchains/schemathesis`, then in it
`pip install "schemathesis>=4.32,<5"`, puts it where this test looks.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from http_listener import GOOD, Listener, bearer, key, running_listener

_TOOLS = Path(os.environ.get("JOBICO_TOOLCHAINS", Path(__file__).resolve().parents[2] / ".toolchains"))
_CLIENT = shutil.which(
    "schemathesis", path=f"{_TOOLS / 'schemathesis' / 'bin'}{os.pathsep}{os.environ['PATH']}"
)
_EXAMPLES = os.environ.get("JOBICO_API_EXAMPLES", "40")
_CONFIG = """
[parameters]
"query.wait" = "10ms"
[checks]
# Whether a good event is taken also depends on what was sent before: quotas, idempotency keys.
positive_data_acceptance.enabled = false
negative_data_rejection.expected-statuses = [400, 401, 403, 404, 405, 413, 415, 422]
"""


@pytest.fixture
def listener(home: Path) -> Iterator[Listener]:
    with running_listener(home) as running:
        yield running


@pytest.mark.slow
@pytest.mark.timeout(320)
def test_a_property_based_client_finds_no_undocumented_answer(listener: Listener, tmp_path: Path) -> None:
    if _CLIENT is None:
        if os.environ.get("CI"):
            pytest.fail(f"schemathesis is missing in {_TOOLS}: .ci/toolchains brings it")
        pytest.skip("needs schemathesis: see the module's docstring")
    (tmp_path / "schemathesis.toml").write_text(_CONFIG)
    command = [_CLIENT, "run", f"{listener.url}/openapi.json", "--header", f"Authorization: Bearer {key()}"]
    options = ["--phases", "coverage,fuzzing", "--max-examples", _EXAMPLES, "--no-color", "--workers", "1"]
    done = subprocess.run(
        command + options, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout[-8_000:]


def test_every_kind_of_answer_is_documented_and_has_the_shape_that_it_says(listener: Listener) -> None:
    """The part of the above that needs no other program."""
    document = httpx.get(listener.url + "/openapi.json", headers=bearer()).json()
    customer = "/events/acme/customer"
    posted = listener.post().json()
    answers = [
        ("post", customer, listener.post()),
        ("post", customer, listener.post({"data": [GOOD, GOOD]})),
        ("post", customer, listener.post({"customerId": 1})),
        ("post", customer, listener.post(headers=bearer(role="read"))),
        ("post", customer, listener.post(headers={"Authorization": "Bearer x"})),
        ("post", customer, listener.post(headers={"Content-Type": "text/plain"})),
        ("post", customer, listener.post({"x": "x" * 2_000_000})),
        ("post", customer, listener.post(path=customer + "?wait=never")),
        ("post", "/events/{tenant}/{name}", listener.post(path="/events/acme/nope")),
        ("get", "/events/{tenant}/{name}", httpx.get(listener.url + posted["status_url"], headers=bearer())),
        ("get", "/events/{tenant}/{name}", httpx.get(listener.url + posted["status_url"])),
        (
            "delete",
            "/events/{tenant}/{name}",
            httpx.delete(listener.url + posted["status_url"], headers=bearer()),
        ),
        ("get", "/healthz", httpx.get(listener.url + "/healthz")),
        ("get", "/readyz", httpx.get(listener.url + "/readyz")),
        ("get", "/metrics", httpx.get(listener.url + "/metrics")),
        ("get", "/openapi.json", httpx.get(listener.url + "/openapi.json")),
    ]
    statuses = {answer.status_code for _, _, answer in answers}
    assert statuses == {200, 202, 204, 400, 401, 403, 404, 413, 415, 422}
    for method, path, answer in answers:
        check_documented(document, method, path, answer)


def check_documented(document: dict[str, Any], method: str, path: str, answer: httpx.Response) -> None:
    told = document["paths"][path][method]["responses"][str(answer.status_code)]
    told = resolved(document, told)
    if not answer.content:
        assert "content" not in told
        return
    media = answer.headers["content-type"].partition(";")[0]
    assert media in told["content"], (method, path, answer.status_code, media)
    if media.endswith("json"):
        schema = {**told["content"][media]["schema"], "components": document["components"]}
        jsonschema.Draft202012Validator(schema).validate(json.loads(answer.content))


def resolved(document: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """What a `$ref` into the document means."""
    if "$ref" not in part:
        return part
    found: Any = document
    for token in part["$ref"].removeprefix("#/").split("/"):
        found = found[token]
    assert isinstance(found, dict)
    return found
