"""What is told of one event: its records and its place in the queue as one `EventStatus`. No I/O."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from jobico.event import EventStatus, Record, Report
from jobico.ordering import Pending

__all__ = ["merged", "of_pending", "of_records"]

_decode_json = msgspec.json.Decoder().decode
_decode_report = msgspec.msgpack.Decoder(Report).decode


def merged(*groups: Iterable[Record]) -> list[Record]:
    """Records of one event from several places, by attempt, each once."""
    by_attempt = {record.attempt: record for group in groups for record in group}
    return [by_attempt[attempt] for attempt in sorted(by_attempt)]


def of_records(records: Sequence[Record]) -> EventStatus:
    """The status of an event that is known by its records alone; the last one says how it is."""
    last = records[-1]
    return EventStatus(
        id=last.id,
        tenant=last.tenant,
        event=last.event,
        job=last.job,
        state=last.state,
        outcome=last.outcome if last.final else None,
        code=last.code if last.final else None,
        result=_value(last.result) if last.final else None,
        error=last.error,
        revision=last.revision or None,
        accepted_ms=last.accepted_ms,
        finished_ms=last.settled_ms if last.final else None,
        attempts=_attempts(records),
        follow_ups=last.follow_ups,
        parent=last.parent,
        source=last.source,
        reason=last.reason,
        payload=_whole_payload(records),
    )


def of_pending(item: Pending, records: Sequence[Record], payload: bytes | None) -> EventStatus:
    """The status of an event that has not ended."""
    event = item.event
    route = item.route
    return EventStatus(
        id=event.id,
        tenant=event.tenant,
        event=event.event,
        job=event.job,
        state=item.state,
        outcome=None,
        code=None,
        result=None,
        error=records[-1].error if records else "",
        revision=route.revision.number if route else None,
        accepted_ms=event.accepted_ms,
        finished_ms=None,
        attempts=_attempts(records),
        parent=event.parent,
        source=event.source,
        payload=_value(payload) if payload else None,
    )


def _attempts(records: Sequence[Record]) -> tuple[dict[str, Any], ...]:
    """One map an attempt; an end without a run (withdrawn, no route) is none."""
    return tuple(_attempt(record) for record in records if record.leased_ms)


def _attempt(record: Record) -> dict[str, Any]:
    report = _report(record.report)
    return {
        "attempt": record.attempt,
        "outcome": record.outcome,
        "code": record.code,
        "error": record.error,
        "state": record.state,
        "started_ms": report.started_ms,
        "leased_ms": record.leased_ms,
        "settled_ms": record.settled_ms,
        "run_us": record.run_us,
        "executor": record.executor,
        "revision": record.revision,
        "logs": [{"level": line.level, "message": line.message} for line in report.logs],
        "fuel": report.fuel,
        "memory_bytes": report.memory_bytes,
    }


def _report(content: bytes) -> Report:
    try:
        return _decode_report(content) if content else Report()
    except msgspec.MsgspecError:
        return Report()


def _whole_payload(records: Sequence[Record]) -> object:
    first = records[0]
    if first.attempt != 1 or len(first.payload) < first.payload_bytes:
        return None
    return _value(first.payload)


def _value(content: bytes) -> object:
    """JSON where it is JSON, else text."""
    try:
        return _decode_json(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return content.decode(errors="replace")
