"""The OpenAPI 3.1 document of the listener, made from its tables of parameters, problems and events. Pure."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from jobico import __version__, limits
from jobico.event import EventStatus
from nodes.listener.cloudevents import BATCH_TYPE, STRUCTURED_TYPE
from nodes.listener.openapi_schemas import (
    ACCEPTED,
    ACCEPTED_BATCH,
    NAME_PATTERN,
    batch_of,
    cloud_event,
    moved,
    problem_schema,
)
from nodes.listener.problems import MEDIA_TYPE, STATUSES, TITLES
from nodes.listener.query import IDEMPOTENCY_KEY_PATTERN, PARAMETERS

__all__ = ["document"]

Json = dict[str, Any]

_ANYWHERE: Final = ("internal", "node-unavailable")
_POST: Final = (
    "invalid-input", "not-json", "unauthenticated", "forbidden", "not-found", "timeout", "too-large",
    "unsupported-media", "conflict", "schema-violation", "quota-exceeded", "storage-unavailable", *_ANYWHERE,
)  # fmt: skip
_GET: Final = ("unauthenticated", "not-found", *_ANYWHERE)
_DELETE: Final = ("unauthenticated", "forbidden", "not-found", "ended", *_ANYWHERE)


def document(url: str, tenant: str, events: Mapping[str, object]) -> Json:
    """The document of the server at `url`, with the events of a tenant and their schemas (None: any JSON).

    Args:
        url: Where the listener is reached.
        tenant: Whose events they are; empty without a key.
        events: The schema of each event by the event's name.
    """
    schemas = {
        f"event.{name}": moved(schema, f"event.{name}")
        for name, schema in events.items()
        if schema is not None
    }
    paths: Json = {}
    for name in sorted(events):
        # NOTE: a path without variables wins over the one with them, so each event has its own body.
        schema = f"event.{name}" if f"event.{name}" in schemas else ""
        paths[f"/events/{tenant}/{name}"] = {"post": _post(name, schema), **_ABOUT_ONE}
    paths["/events/{tenant}/{name}"] = _any_event()
    paths |= _machine_paths()
    (status,), components = msgspec.json.schema_components(
        [EventStatus], schema_hook=_any_json, ref_template="#/components/schemas/{name}"
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Jobico listener",
            "version": __version__,
            "description": "Takes events as webhooks, stores them durably, and tells what came of them.",
        },
        "servers": [{"url": url}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A key of the tenant (`jobico keys create`).",
                }
            },
            "schemas": {
                **components,
                "Problem": problem_schema(),
                "Accepted": ACCEPTED,
                "AcceptedBatch": ACCEPTED_BATCH,
                **schemas,
            },
            "responses": _responses(status),
        },
    }


def _any_json(_kind: type) -> Json:
    return {"description": "Any JSON."}


def _responses(status: Json) -> Json:
    """The shared answers: one a status, for problems that share it."""
    by_status: dict[int, list[str]] = {}
    for code, number in STATUSES.items():
        by_status.setdefault(number, []).append(code)
    found: Json = {
        f"problem{number}": {
            "description": "; ".join(TITLES[code] for code in codes) + ".",
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
            **({"headers": {"Retry-After": {"schema": {"type": "integer"}}}} if number in (429, 503) else {}),
        }
        for number, codes in by_status.items()
    }
    one_or_batch = {
        "anyOf": [{"$ref": "#/components/schemas/Accepted"}, {"$ref": "#/components/schemas/AcceptedBatch"}]
    }
    found["accepted"] = _json_response("Stored: synced to disk, and it will be run.", one_or_batch)
    found["status"] = _json_response("The event, its attempts and its outcome.", status)
    return found


def _json_response(description: str, schema: Json) -> Json:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _answers(codes: tuple[str, ...]) -> Json:
    numbers = sorted({STATUSES[code] for code in codes})
    return {str(number): {"$ref": f"#/components/responses/problem{number}"} for number in numbers}


def _post(name: str, schema: str) -> Json:
    event: Json = {"$ref": f"#/components/schemas/{schema}"} if schema else {}
    batch = batch_of(event)
    return {
        "summary": f"Post the event {name}" if name else "Post an event",
        "description": 'One event, or a batch as `{"data": [...]}`, all or nothing. An event that is '
        "verified by a signature needs no key.",
        "security": [{"key": []}, {}],
        "parameters": [*_query_parameters(), _IDEMPOTENCY],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"anyOf": [event, batch]} if schema else {}},
                STRUCTURED_TYPE: {"schema": cloud_event(event)},
                BATCH_TYPE: {
                    "schema": {
                        "type": "array",
                        "items": cloud_event(event),
                        "minItems": 1,
                        "maxItems": limits.BATCH_EVENTS_MAX,
                    }
                },
            },
        },
        "responses": {
            "200": {"$ref": "#/components/responses/status"},
            "202": {"$ref": "#/components/responses/accepted"},
            **_answers(_POST),
        },
    }


_IDEMPOTENCY: Final[Json] = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same key and body give the first answer again for a day; with another body, 422.",
    "schema": {"type": "string", "pattern": f"^{IDEMPOTENCY_KEY_PATTERN}$"},
}


def _query_parameters() -> list[Json]:
    shapes: Json = {
        "wait": {"type": "string", "pattern": "^([0-9]{1,4}ms|([0-9]|[12][0-9]|30)s)$"},
        "delay": {"type": "string", "pattern": "^[0-9]{1,4}(ms|s|m)$"},
        "at": {"type": "string", "format": "date-time"},
    }
    return [
        {"name": name, "in": "query", "description": text, "schema": shapes[name]}
        for name, text in PARAMETERS.items()
    ]


def _path_parameters() -> list[Json]:
    return [
        {
            "name": "tenant",
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": f"^{NAME_PATTERN}$"},
        },
        {
            "name": "name",
            "in": "path",
            "required": True,
            "description": "To post: the name of an event. Else: the id of one, as the 202 gave it.",
            "schema": {"type": "string", "pattern": f"^{NAME_PATTERN}$"},
        },
    ]


def _any_event() -> Json:
    return {"parameters": _path_parameters(), "post": _post("", ""), **_ABOUT_ONE}


_ABOUT_ONE: Final[Json] = {
    "get": {
        "summary": "Ask how the event with this id is doing",
        "security": [{"key": []}],
        "responses": {"200": {"$ref": "#/components/responses/status"}, **_answers(_GET)},
    },
    "delete": {
        "summary": "Cancel the event with this id, which has not ended",
        "security": [{"key": []}],
        "responses": {"204": {"description": "Withdrawn."}, **_answers(_DELETE)},
    },
}


def _machine_paths() -> Json:
    state: Json = {"type": "object", "required": ["status"], "properties": {"status": {"type": "string"}}}
    text = {
        "description": "Prometheus' text format.",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }
    return {
        "/healthz": {
            "get": {"summary": "Is the process alive", "responses": {"200": _json_response("It is.", state)}}
        },
        "/readyz": {
            "get": {
                "summary": "Can it take events now",
                "responses": {"200": _json_response("It can.", state), **_answers(("node-unavailable",))},
            }
        },
        "/metrics": {"get": {"summary": "Counts and times", "responses": {"200": text}}},
        "/openapi.json": {
            "get": {
                "summary": "This document; with a key, the events of its tenant",
                "security": [{"key": []}, {}],
                "responses": {
                    "200": _json_response("OpenAPI 3.1.", {"type": "object"}),
                    **_answers(_ANYWHERE),
                },
            }
        },
    }
