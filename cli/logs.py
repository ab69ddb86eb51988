"""`jobico logs`: executions with what their guests logged, past ones and as they come."""

import contextlib
import json
import time
from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import render
from cli.options import Home, Json
from cli.session import Session, connect
from cli.timeline import log_line
from jobico import limits
from jobico.units import format_duration_ms, parse_duration_ms

if TYPE_CHECKING:
    from jobico.event import Record

__all__ = ["Filter", "describe", "logs"]

_LEVELS = ("debug", "info", "warning", "error", "fatal", "panic")


class Level(StrEnum):
    """The least level of a log line that is wanted."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    FATAL = "fatal"
    PANIC = "panic"


class Filter:
    """Which records are wanted, and which of their lines."""

    def __init__(self, *, job: str, event: str, status: str, level: str, text: str) -> None:
        self._job, self._event, self._status, self._text = job, event, status, text.lower()
        self._levels = {*_LEVELS[_LEVELS.index(level) :], "none"} if level else None

    def wants(self, facts: dict[str, Any]) -> bool:
        """True if the record is wanted; drops the lines of it that are not."""
        if self._job not in ("", facts["job"]) or self._event not in ("", facts["event"]):
            return False
        if self._status and self._status not in (facts["outcome"], facts["state"]):
            return False
        if self._levels is not None:
            facts["logs"] = [line for line in facts["logs"] if line["level"] in self._levels]
            if not facts["logs"]:
                return False
        return not self._text or self._text in self._searched(facts)

    @staticmethod
    def _searched(facts: dict[str, Any]) -> str:
        parts = [facts["id"], facts["error"], json.dumps(facts["result"], ensure_ascii=False)]
        return "\n".join([*parts, *(line["message"] for line in facts["logs"])]).lower()


def logs(
    tenant: Annotated[
        str, typer.Argument(metavar="TENANT", help="Only this tenant's.", show_default=False)
    ] = "",
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with those that come.")] = False,
    count: Annotated[int, typer.Option("-n", "--count", min=0, metavar="N", help="How many past ones.")] = 20,
    job: Annotated[str, typer.Option("--job", metavar="JOB", help="Only this job.")] = "",
    event: Annotated[str, typer.Option("--event", metavar="EVENT", help="Only this event.")] = "",
    status: Annotated[
        str, typer.Option("--status", metavar="STATUS", help="Only this outcome (ok, failed, …) or state.")
    ] = "",
    level: Annotated[Level | None, typer.Option("--level", help="Only lines of this level or worse.")] = None,
    text: Annotated[
        str, typer.Option("--grep", metavar="TEXT", help="Only with this in log or result.")
    ] = "",
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="Not older than this, such as 10m.")
    ] = "",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show executions with what their guests logged.

    The oldest comes first; with --json each is one line. With -f it goes on until Ctrl-C, across restarts of
    the platform, and shows none twice.

    Example: jobico logs acme -f --status failed
    """
    since_ms = time.time_ns() // 1_000_000 - parse_duration_ms(since) if since else 0
    wanted = Filter(job=job, event=event, status=status, level=level or "", text=text)
    with connect(home) as session, session.suggesting(tenant=tenant):
        rows, newest = _past(session, wanted, count, tenant=tenant, job=job, event=event, since_ms=since_ms)
        for facts in rows:
            _print(facts)
        if follow:
            import asyncio

            with contextlib.suppress(KeyboardInterrupt):
                asyncio.run(_follow(session, wanted, tenant, newest))
        elif not rows:
            render.line("Nothing matches." if count else "", "dim")


def _past(
    session: Session, wanted: Filter, count: int, *, tenant: str, job: str, event: str, since_ms: int
) -> tuple[list[dict[str, Any]], int]:
    """The newest `count` records that are wanted, oldest first, and the newest row there is."""
    from protocol.messages import ListExecutions

    found: list[dict[str, Any]] = []
    before, newest = 0, None
    while True:
        answer = session.ask(
            "recorder",
            ListExecutions(
                tenant=tenant,
                job=job,
                event=event,
                since_ms=since_ms,
                before=before,
                limit=min(max(1, count), limits.QUERY_ROWS_MAX),
            ),
        )
        newest = answer.newest if newest is None else newest
        for facts in _described(item for _, item in answer.rows):
            if len(found) < count and wanted.wants(facts):
                found.append(facts)
        before = answer.next
        if len(found) >= count or not before or not answer.rows:
            return found[::-1], newest


async def _follow(session: Session, wanted: Filter, tenant: str, newest: int) -> None:
    from protocol.aio import AsyncClient
    from protocol.following import Notice, follow_records

    rep, key = session.address("recorder", "rep")
    pub, _ = session.address("recorder", "pub")
    client = AsyncClient(session.wire, "cli")
    try:
        stream = follow_records(session.wire, client, (rep, pub), tenant=tenant, start=newest, server_key=key)
        async for item in stream:
            if isinstance(item, Notice):
                render.note(item.text, "yellow")
                continue
            for _, record in item:
                facts = describe(record)
                if wanted.wants(facts):
                    _print(facts)
    finally:
        client.close()


def _described(items: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    import msgspec

    from jobico.event import Record

    for item in items:
        yield describe(msgspec.msgpack.decode(item, type=Record))


def describe(record: "Record") -> dict[str, Any]:
    """A record as `--json` prints it; `docs/operating.md` has its fields."""
    import msgspec

    from jobico.event import Report

    report = msgspec.msgpack.decode(record.report, type=Report) if record.report else Report()
    return {
        "id": record.id,
        "attempt": record.attempt,
        "tenant": record.tenant,
        "job": record.job,
        "event": record.event,
        "queue": record.queue,
        "revision": record.revision,
        "state": str(record.state),
        "outcome": str(record.outcome),
        "code": record.code,
        "error": record.error,
        "reason": record.reason,
        "result": _json_or_text(record.result),
        "logs": [{"level": str(line.level), "message": line.message} for line in report.logs],
        "logs_dropped": report.logs_dropped,
        "accepted_ms": record.accepted_ms,
        "leased_ms": record.leased_ms,
        "settled_ms": record.settled_ms,
        "next_attempt_ms": record.next_attempt_ms,
        "run_us": record.run_us,
        "fuel": report.fuel,
        "memory_bytes": report.memory_bytes,
        "listener": record.listener,
        "executor": record.executor,
        "source": str(record.source),
        "parent": record.parent,
        "hop": record.hop,
        "follow_ups": list(record.follow_ups),
        "payload_bytes": record.payload_bytes,
    }


def _json_or_text(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content.decode("utf-8", "replace") or None


def _print(facts: dict[str, Any]) -> None:
    render.report(facts, lambda: _draw(facts))


def _draw(facts: dict[str, Any]) -> None:
    attempt = f"  attempt {facts['attempt']}" if facts["attempt"] > 1 or facts["state"] == "delayed" else ""
    code = f" {facts['code']}" if facts["code"] else ""
    render.line(
        f"{render.clock(facts['settled_ms'])}  {facts['outcome']}{code}  {facts['tenant']}/{facts['event']}"
        f"  {facts['id']}{attempt}  {format_duration_ms(facts['run_us'] / 1_000)}  {facts['executor']}",
        render.STATE_STYLES.get(facts["outcome"], "red"),
    )
    for line in facts["logs"]:
        render.show(log_line(line))
    if facts["logs_dropped"]:
        render.line(f"  {facts['logs_dropped']} more lines were dropped", "dim")
    if facts["error"]:
        render.line(f"  {facts['error']}", "red")
