"""The job definition of `docs/design.md` section 3, from YAML to checked types.

Queues and runtimes are read first, so that an event's references are checked as it is read; follow-ups
that are named by id are checked at the end. All problems are collected and raised together.
"""

import difflib
from collections.abc import Collection
from typing import Final, TypeVar

from jobico import limits
from jobico.definition.document import Mapping, Node, Problems, read_document
from jobico.definition.fields import Fields, shorten
from jobico.definition.policies import read_retry, read_schedule, read_schema, read_verification
from jobico.definition.runtimes import read_runtime
from jobico.definition.types import (
    EventDefinition,
    JobDefinition,
    Order,
    QueueDefinition,
    RuntimeDefinition,
    Verification,
)
from jobico.errors import InvalidInput
from jobico.payload import parse_pointer

__all__ = ["parse_definition"]

_JOB_KEYS: Final = ("name", "id", "tenant", "queues", "runtimes", "jobs")
_QUEUE_KEYS: Final = ("id", "name", "order", "key", "concurrency")
_ITEM_KEYS: Final = ("event", "result")
_RESULT_KEYS: Final = ("ok", "error")
_FOLLOW_UP_KEYS: Final = ("id", "name", "datatype", "schema", "supplierqueue", "runtime", "retry", "result")
_EVENT_KEYS: Final = (*_FOLLOW_UP_KEYS, "verify", "schedule", "missed")
_Thing = TypeVar("_Thing", QueueDefinition, RuntimeDefinition)
_IMPLICIT_QUEUE: Final = QueueDefinition(id="default", name="Default queue")


def parse_definition(source: bytes | str) -> JobDefinition:
    """Reads a job definition.

    Raises:
        InvalidDefinition: `detail["problems"]` has line, path and message of each problem, at most
            DEFINITION_PROBLEMS_MAX, in the order of their lines.
    """
    root = read_document(source)
    problems = Problems()
    path = ""
    if isinstance(root, Mapping) and any(key.text.lower() == "package" for key, _ in root.pairs):
        path = "package"
        root = Fields(problems, root, "", (path,)).node(path) or Mapping(root.line, [])
    definition = _Parser(problems).read_job(root, path)
    problems.raise_any()
    return definition


class _Parser:
    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._queues: dict[str, QueueDefinition] = {}
        self._runtimes: dict[str, RuntimeDefinition] = {}
        self._events: dict[str, EventDefinition] = {}
        # What is to be found in `_events` at the end.
        self._follow_ups: list[tuple[Fields, str, str]] = []
        self._emits: list[tuple[str, int, str]] = []

    def read_job(self, node: Node, path: str) -> JobDefinition:
        fields = Fields(self._problems, node, path, _JOB_KEYS)
        for at, item in fields.items("queues", limits.QUEUES_MAX):
            self._add(self._queues, self._read_queue(item, at), item, at)
        if not self._queues:
            self._queues[_IMPLICIT_QUEUE.id] = _IMPLICIT_QUEUE
        for at, item in fields.items("runtimes", limits.RUNTIMES_MAX, least=1):
            runtime = read_runtime(self._problems, item, at)
            self._add(self._runtimes, runtime, item, at)
            self._emits += [(target, item.line, f"{at}.emits") for target in runtime.emits]
        for at, item in fields.items("jobs", limits.EVENTS_MAX, least=1):
            self._read_item(item, at)
        self._check_targets()
        if len(self._events) > limits.EVENTS_MAX:
            fields.problem(
                "jobs",
                f"{len(self._events)} events; at most {limits.EVENTS_MAX} are taken",
            )
        return JobDefinition(
            id=fields.name("id", "job"),
            tenant=fields.name("tenant", "tenant"),
            name=fields.text("name"),
            queues=tuple(self._queues.values()),
            runtimes=tuple(self._runtimes.values()),
            events=tuple(self._events.values()),
        )

    def _add(self, table: dict[str, _Thing], thing: _Thing, node: Node, path: str) -> None:
        if thing.id in table:
            self._problems.add(node.line, f"{path}.id", f"{shorten(thing.id)!r} is there twice")
        elif thing.id:
            table[thing.id] = thing

    def _read_queue(self, node: Node, path: str) -> QueueDefinition:
        fields = Fields(self._problems, node, path, _QUEUE_KEYS)
        order, key = fields.choice("order", Order.NONE), fields.text("key")
        if order is Order.KEY:
            try:
                if not parse_pointer(key):
                    raise InvalidInput("order: key needs a JSON Pointer to the key, such as /customer/id")
            except InvalidInput as error:
                fields.problem("key", error.message)
        elif key:
            fields.problem("key", f"is for order: key; the order here is {order}")
        concurrency = fields.integer("concurrency", 0, 0, limits.TENANT_CONCURRENT_RUNS)
        if order is Order.STRICT and concurrency > 1:
            fields.problem("concurrency", "a strict queue runs one event at a time")
        return QueueDefinition(
            id=fields.name("id", "queue"),
            name=fields.text("name"),
            order=order,
            key=key,
            concurrency=concurrency,
        )

    def _read_item(self, node: Node, path: str) -> None:
        fields = Fields(self._problems, node, path, _ITEM_KEYS)
        event = fields.node("event")
        if event is None:
            fields.problem("event", "is missing")
            return
        for found, line, at in self._read_event(event, fields.at("event"), fields):
            if found.id in self._events:
                self._problems.add(line, f"{at}.id", f"the event {shorten(found.id)!r} is there twice")
            elif found.id:
                self._events[found.id] = found

    def _read_event(
        self, node: Node, path: str, item: Fields | None
    ) -> list[tuple[EventDefinition, int, str]]:
        """An event and the follow-ups inside it, with line and path; without `item` it is one itself."""
        fields = Fields(self._problems, node, path, _EVENT_KEYS if item else _FOLLOW_UP_KEYS)
        fields.constant("datatype", "json", "0")
        follow_ups: list[tuple[EventDefinition, int, str]] = []
        targets = self._read_result(fields, item, follow_ups)
        schedule, missed = read_schedule(fields)
        event = EventDefinition(
            id=fields.name("id", "event"),
            name=fields.text("name"),
            queue=self._reference(fields, "supplierqueue", self._queues),
            runtime=self._reference(fields, "runtime", self._runtimes),
            schema=read_schema(self._problems, fields),
            verify=read_verification(self._problems, fields) if item else Verification(),
            retry=read_retry(self._problems, fields),
            ok=targets.get("ok", ""),
            error=targets.get("error", ""),
            schedule=schedule,
            missed=missed,
            inline=item is None,
        )
        return [(event, fields.line_of("id"), path), *follow_ups]

    def _read_result(
        self, event: Fields, item: Fields | None, follow_ups: list[tuple[EventDefinition, int, str]]
    ) -> dict[str, str]:
        """Ids of the follow-ups by outcome; those that are defined on the spot are added to `follow_ups`."""
        owner = item if item and item.has("result") else event
        if owner is item and event.has("result"):
            event.problem("result", "is there twice: beside the event and in it")
        result = Fields(self._problems, owner.node("result"), owner.at("result"), _RESULT_KEYS)
        targets = {}
        for key in _RESULT_KEYS:
            node = result.node(key)
            if isinstance(node, Mapping):
                found = self._read_event(node, result.at(key), None)
                follow_ups += found
                targets[key] = found[0][0].id
            elif node is not None:
                targets[key] = result.text(key)
                self._follow_ups.append((result, key, targets[key]))
        return targets

    def _reference(self, fields: Fields, key: str, known: Collection[str]) -> str:
        text = fields.text(key)
        if not text and len(known) == 1:
            return next(iter(known))
        if not text:
            fields.problem(key, f"is missing: {_choices(known)}")
        elif text not in known:
            fields.problem(key, f"{shorten(text)!r} is not defined{_suggestion(text, known)}")
        return text

    def _check_targets(self) -> None:
        for fields, key, target in self._follow_ups:
            if target and target not in self._events:
                fields.problem(key, self._no_event(target))
        for target, line, path in self._emits:
            if target not in self._events:
                self._problems.add(line, path, self._no_event(target))

    def _no_event(self, target: str) -> str:
        return f"{shorten(target)!r} is not an event of this job{_suggestion(target, self._events)}"


def _choices(known: Collection[str]) -> str:
    return f"it may be {', '.join(map(shorten, list(known)[:5]))}" if known else "and none is defined"


def _suggestion(text: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(text[:64], known, n=1)
    return f"; did you mean {shorten(close[0])}?" if close else f"; {_choices(known)}"
