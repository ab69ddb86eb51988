"""Which records `jobico logs` shows, and how."""

import msgspec
import pytest

from cli.logs import Filter, describe
from jobico.event import LogLevel, LogLine, Outcome, Record, Report, State

REPORT = Report(
    logs=(LogLine(LogLevel.DEBUG, "begin"), LogLine(LogLevel.ERROR, "Harbour is full")), logs_dropped=3
)
RECORD = Record(
    id="0190c8b5-7e2a-7cc0-b1c9-3f0e6a1f2b3c",
    attempt=2,
    tenant="acme",
    job="orders",
    event="order",
    queue="default",
    revision=4,
    outcome=Outcome.FAILED,
    state=State.DELAYED,
    code=7,
    accepted_ms=1_000,
    leased_ms=1_010,
    settled_ms=1_020,
    run_us=900,
    listener="listener",
    executor="executor-0",
    result=b'{"berth": null}',
    report=msgspec.msgpack.encode(REPORT),
)


def _filter(**wanted: str) -> Filter:
    return Filter(**{"job": "", "event": "", "status": "", "level": "", "text": "", **wanted})


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [
        ({}, True),
        ({"job": "orders"}, True),
        ({"job": "other"}, False),
        ({"event": "order"}, True),
        ({"event": "other"}, False),
        ({"status": "failed"}, True),
        ({"status": "delayed"}, True),
        ({"status": "ok"}, False),
        ({"level": "error"}, True),
        ({"level": "fatal"}, False),
        ({"text": "harbour"}, True),
        ({"text": "berth"}, True),
        ({"text": "3f0e6a1f2b3c"}, True),
        ({"text": "begin"}, True),
        ({"text": "begin", "level": "error"}, False),
    ],
)
def test_a_record_is_shown_where_every_filter_wants_it(wanted: dict[str, str], shown: bool) -> None:
    assert _filter(**wanted).wants(describe(RECORD)) is shown


def test_lines_below_the_level_are_left_out() -> None:
    facts = describe(RECORD)
    assert _filter(level="warning").wants(facts)
    assert [line["message"] for line in facts["logs"]] == ["Harbour is full"]


def test_a_record_is_described_whole() -> None:
    facts = describe(RECORD)
    assert facts["result"] == {"berth": None}
    assert facts["logs_dropped"] == 3
    assert set(Record.__struct_fields__) - {"report", "payload"} <= set(facts)


@pytest.mark.parametrize(
    ("result", "shown"), [(b"", None), (b"done", "done"), (b"\xff", "\ufffd"), (b"7", 7)]
)
def test_a_result_is_json_or_text(result: bytes, shown: object) -> None:
    assert describe(msgspec.structs.replace(RECORD, result=result))["result"] == shown
