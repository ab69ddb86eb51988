"""Problem documents: stable types, right statuses, nothing that is not for strangers."""

import json

import pytest

from jobico.errors import (
    ERROR_TYPES,
    CorruptRecord,
    Internal,
    QuotaExceeded,
    SchemaViolation,
    StorageUnavailable,
)
from nodes.listener.problems import STATUSES, TITLES, problem_of


@pytest.mark.parametrize("code", sorted(ERROR_TYPES))
def test_every_error_has_a_document(code: str) -> None:
    answer = problem_of(ERROR_TYPES[code]("what happened"))
    document = json.loads(answer.body)
    assert document["status"] == answer.status
    assert document["type"] == f"urn:jobico:problem:{code if code in STATUSES else 'internal'}"
    assert document["title"] == TITLES[document["type"].rpartition(":")[2]]


def test_every_type_has_a_title() -> None:
    assert STATUSES.keys() == TITLES.keys()


@pytest.mark.parametrize("error", [Internal("at /home/x"), CorruptRecord("row 7 of queue")])
def test_what_is_not_the_senders_fault_is_not_explained(error: Internal | CorruptRecord) -> None:
    answer = problem_of(error)
    assert answer.status == 500
    assert error.message.encode() not in answer.body


def test_only_facts_for_the_sender_are_shown() -> None:
    detail = {"violations": [{"pointer": "", "keyword": "type", "message": "m"}], "path": "/secret"}
    document = json.loads(problem_of(SchemaViolation("m", detail=detail)).body)
    assert document["violations"] == detail["violations"]
    assert "path" not in document


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (QuotaExceeded("m", retry_after_s=0.2), "1"),
        (QuotaExceeded("m", retry_after_s=2.1), "3"),
        (StorageUnavailable("m"), "1"),
    ],
)
def test_what_may_pass_later_says_when(error: QuotaExceeded | StorageUnavailable, seconds: str) -> None:
    assert dict(problem_of(error).headers)["retry-after"] == seconds
