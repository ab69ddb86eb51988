"""The example that the demo shows: its files belong together, and its programs take any push."""

import json
from pathlib import Path
from typing import Any

import pytest
from guest_kit import Runner

from jobico import limits
from jobico.definition import Abi, parse_definition
from jobico.errors import SchemaViolation
from jobico.event import LogLevel, Outcome
from jobico.payload import parse_body
from jobico.schemas import Validator, check_schema

EXAMPLE = Path(__file__).parents[2] / "examples" / "github-push"
PUSH = (EXAMPLE / "push.json").read_bytes()
SUMMARISE = (EXAMPLE / "summarise.wasm").read_bytes()
NOTIFY = (EXAMPLE / "notify.wasm").read_bytes()


def _push(**changes: Any) -> bytes:
    return json.dumps({**json.loads(PUSH), **changes}).encode()


def _commit(**changes: Any) -> dict[str, Any]:
    commit: dict[str, Any] = {**json.loads(PUSH)["commits"][0], **changes}
    return commit


def _validator() -> Validator:
    content = (EXAMPLE / "push.schema.json").read_bytes()
    check_schema(content)
    return Validator(content)


def test_the_job_names_files_that_are_there_and_small() -> None:
    job = parse_definition((EXAMPLE / "job.yaml").read_bytes())
    assert job.tenant == "demo"
    for runtime in job.runtimes:
        assert (EXAMPLE / runtime.module).stat().st_size < 100 * limits.KIB
    for event in job.events:
        assert event.schema is None or (EXAMPLE / event.schema.ref).is_file()


def test_the_payload_is_a_full_one_and_fits_the_schema() -> None:
    assert len(json.dumps(json.loads(PUSH), separators=(",", ":"))) > 8_000
    _validator().check(parse_body(PUSH).events[0].value)


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"ref": "main"}, "/ref"),
        ({"after": "HEAD"}, "/after"),
        ({"commits": None}, "/commits"),
        ({"commits": [_commit(timestamp="yesterday")]}, "/commits/0/timestamp"),
        ({"commits": [_commit(added=[1])]}, "/commits/0/added/0"),
        ({"deleted": True}, "/after"),
    ],
)
def test_what_is_no_push_breaks_the_schema(changes: dict[str, Any], pointer: str) -> None:
    with pytest.raises(SchemaViolation) as caught:
        _validator().check(json.loads(_push(**changes)))
    assert pointer in [violation["pointer"] for violation in caught.value.detail["violations"]]


def test_a_push_is_summarised_and_written_up(run: Runner) -> None:
    summarised = run(SUMMARISE, Abi.AUTO, PUSH)
    assert summarised.outcome is Outcome.OK
    summary = json.loads(summarised.result)
    assert (summary["repository"], summary["branch"], summary["pusher"]) == (
        "tidewater-labs/harbour",
        "main",
        "jfaria",
    )
    assert (summary["commit_count"], summary["files"]) == (3, {"added": 3, "removed": 2, "modified": 6})
    assert [commit["message"] for commit in summary["commits"]] == [
        "Read tide tables of the Kartverket API",
        "Drop the CSV importer",
        "Plan berths by the new tables (#318)",
    ]
    assert summarised.logs[0].level is LogLevel.INFO
    assert summarised.logs[0].message == "3 commits on refs/heads/main of tidewater-labs/harbour"

    notified = run(NOTIFY, Abi.AUTO, summarised.result, env={"CHANNEL": "#harbour-dev"})
    assert notified.outcome is Outcome.OK
    lines = notified.result.decode().splitlines()
    assert lines[0] == "To #harbour-dev: jfaria pushed 3 commits to main of tidewater-labs/harbour"
    assert lines[1] == "  2f22765  Read tide tables of the Kartverket API  (Marit Ødegård)"
    assert lines[4] == "Files: 3 added, 2 removed, 6 modified"
    assert notified.logs[0].message == f"wrote a notification of {len(notified.result)} bytes"


ZERO = "0" * 40
ODD_PUSHES = {
    "a deleted branch": (
        {"deleted": True, "after": ZERO, "commits": [], "head_commit": None},
        "deleted the branch main",
    ),
    "a new tag": ({"ref": "refs/tags/v1/é", "created": True, "commits": []}, "created the tag v1/é"),
    "rewritten history": ({"forced": True}, "force-pushed 3 commits"),
    "one commit": ({"commits": [_commit()]}, "pushed 1 commit to"),
    "a branch with quotes": ({"ref": 'refs/heads/a"b\\c😀'}, 'to a"b\\c😀 of'),
    "many commits": ({"commits": [_commit()] * 500}, "and 480 more"),
    "a message of escapes": (
        {"commits": [_commit(message='\t"\\ \u2028 \x1b[31m\u0000 é😀')]},
        '"\\ \u2028  [31m  é😀',
    ),
    "a message without end": ({"commits": [_commit(message="é" * 9_000)]}, "é…"),
    "a commit without an author": ({"commits": [_commit(author={"name": ""})]}, "()"),
}


@pytest.mark.parametrize(("changes", "expected"), ODD_PUSHES.values(), ids=ODD_PUSHES)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_odd_pushes_are_summarised_and_written_up(
    run: Runner, changes: dict[str, Any], expected: str, ascii_only: bool
) -> None:
    payload = json.dumps({**json.loads(PUSH), **changes}, ensure_ascii=ascii_only, indent=1).encode()
    summarised = run(SUMMARISE, Abi.JOBICOLET, payload)
    assert summarised.outcome is Outcome.OK
    parse_body(summarised.result)
    notified = run(NOTIFY, Abi.COMMAND, summarised.result)
    assert notified.outcome is Outcome.OK
    assert expected in notified.result.decode()


@pytest.mark.parametrize("payload", [b"{}", b"[]", b'"x"', b'{"ref": 1}', b'{"ref": "a"}'])
def test_what_is_no_push_fails_with_its_code(run: Runner, payload: bytes) -> None:
    result = run(SUMMARISE, Abi.JOBICOLET, payload)
    assert (result.outcome, result.code) == (Outcome.FAILED, 1)
    assert result.logs[-1].level is LogLevel.ERROR


def test_a_failure_is_written_up(run: Runner) -> None:
    result = run(NOTIFY, Abi.COMMAND, b'{"code": 7, "error": "no ref", "event": {}}')
    assert result.result == b"A push could not be summarised (code 7): no ref\n"
