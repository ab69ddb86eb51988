"""Whatever the text, a definition gives a job whose references hold, or InvalidDefinition with places."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from jobico import limits
from jobico.definition import JobDefinition, parse_definition
from jobico.errors import InvalidDefinition

WORDS = st.sampled_from(
    [
        "e",
        "f",
        "q",
        "r",
        "m.wasm",
        "5s",
        "64MiB",
        "0",
        "1",
        "-1",
        "none",
        "key",
        "/id",
        "strict",
        "github",
        "S",
        "* * * * *",
    ]
) | st.text(max_size=6)
KEYS = st.sampled_from(
    [
        "id",
        "ID",
        "name",
        "tenant",
        "queues",
        "runtimes",
        "jobs",
        "event",
        "result",
        "ok",
        "error",
        "moduleref",
        "order",
        "key",
        "concurrency",
        "supplierqueue",
        "runtime",
        "schema",
        "schemaref",
        "verify",
        "scheme",
        "secret",
        "header",
        "retry",
        "attempts",
        "initial",
        "max",
        "never",
        "limits",
        "time",
        "memory",
        "env",
        "secrets",
        "emits",
        "schedule",
        "missed",
        "datatype",
        "type",
        "package",
        "x",
    ]
)
TREES = st.recursive(
    WORDS | st.none() | st.integers() | st.booleans(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=4), inner, max_size=8)
    ),
    max_leaves=40,
)


def _mapping(
    required: dict[str, st.SearchStrategy[Any]], **optional: st.SearchStrategy[Any]
) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(required, optional=optional)


EVENTS = _mapping(
    {"id": WORDS}, supplierqueue=WORDS, runtime=WORDS, verify=TREES, retry=TREES, schedule=WORDS, schema=TREES
)
RESULTS = _mapping({}, ok=WORDS | EVENTS, error=EVENTS)
RUNTIMES = _mapping({"id": WORDS, "moduleref": WORDS}, env=TREES)
QUEUES = _mapping({"id": WORDS}, order=WORDS, key=WORDS)
JOBS = _mapping(
    {
        "id": WORDS,
        "tenant": WORDS,
        "runtimes": st.lists(RUNTIMES, max_size=3),
        "jobs": st.lists(_mapping({"event": EVENTS}, result=RESULTS), max_size=4),
    },
    queues=st.lists(QUEUES, max_size=3),
)


def _read(source: bytes | str) -> JobDefinition | None:
    try:
        return parse_definition(source)
    except InvalidDefinition as error:
        problems = error.detail["problems"]
        assert 0 < len(problems) <= limits.DEFINITION_PROBLEMS_MAX
        lines = len(source.splitlines()) + 2
        for problem in problems:
            assert 1 <= problem["line"] <= lines
            assert problem["message"]
            assert len(problem["message"]) < 1_000
        assert [problem["line"] for problem in problems] == sorted(problem["line"] for problem in problems)
        return None


def _check(job: JobDefinition) -> None:
    queues, runtimes = {queue.id for queue in job.queues}, {runtime.id for runtime in job.runtimes}
    events = {event.id for event in job.events}
    assert len(events) == len(job.events) > 0
    for event in job.events:
        assert event.queue in queues
        assert event.runtime in runtimes
        assert {event.ok, event.error} <= {"", *events}
        assert 1 <= event.retry.attempts <= limits.ATTEMPTS_MAX
        assert event.retry.initial_ms <= event.retry.max_ms
    assert all((queue.key != "") == (queue.order == "key") for queue in job.queues)


@given(st.binary(max_size=300) | st.text(max_size=300))
def test_arbitrary_text_gives_a_job_or_places_of_problems(source: bytes | str) -> None:
    _read(source)


@given(TREES)
def test_arbitrary_trees_give_a_job_or_places_of_problems(tree: object) -> None:
    job = _read(yaml.safe_dump(tree, allow_unicode=True))
    if job:
        _check(job)


@given(JOBS)
def test_a_job_that_is_read_holds_together(tree: dict[str, Any]) -> None:
    job = _read(yaml.safe_dump(tree, allow_unicode=True))
    if job:
        _check(job)


@given(st.text(alphabet="abc:-[]{}#&*!|>'\"%@`,? \n\t", max_size=200))
def test_texts_that_are_almost_yaml_give_a_job_or_places_of_problems(source: str) -> None:
    _read(source)


@pytest.mark.parametrize(
    "opening", ["[", "{a: ", "- ", "? ", "&a [", "a:\n ", "'", '"', "|", "!!x ", "%TAG ! "]
)
def test_openings_without_end_are_refused(opening: str) -> None:
    assert _read(opening * (limits.DEFINITION_BYTES_MAX // len(opening) - 1)) is None
