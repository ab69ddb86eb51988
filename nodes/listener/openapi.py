"""The OpenAPI 3.1 document of the listener, made from its tables of parameters, problems and events. Pure."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from jobico import __version__, limits
from jobico.event import EventStatus
from jobico.payload import parse_pointer
from nodes.listener.cloudevents import BATCH_TYPE, STRUCTURED_TYPE
from nodes.listener.problems import MEDIA_TYPE, STATUSES, TITLES, problem_type
from nodes.listener.query import IDEMPOTENCY_KEY_PATTERN, PARAMETERS

__all__ = ["document", "with_order_key"]

Json = dict[str, Any]

_NAME: Final = "[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?"
_ID: Final = "[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
_DATA_KEYWORDS: Final = frozenset({"const", "enum", "default", "examples", "example"})
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
        f"event.{name}": _moved(schema, f"event.{name}")
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
                "Problem": _problem_schema(),
                "Accepted": _ACCEPTED,
                "AcceptedBatch": _BATCH,
                **schemas,
            },
            "responses": _responses(status),
        },
    }


def _any_json(_kind: type) -> Json:
    return {"description": "Any JSON."}


_EVENT_ID: Final[Json] = {"type": "string", "pattern": f"^{_ID}$"}
_ACCEPTED: Final[Json] = {
    "type": "object",
    "required": ["id", "status_url"],
    "properties": {"id": _EVENT_ID, "status_url": {"type": "string", "format": "uri-reference"}},
}
_BATCH: Final[Json] = {
    "type": "object",
    "required": ["ids"],
    "properties": {
        "ids": {"type": "array", "items": _EVENT_ID, "minItems": 1, "maxItems": limits.BATCH_EVENTS_MAX}
    },
}


def _problem_schema() -> Json:
    return {
        "type": "object",
        "description": "RFC 9457.",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string", "enum": [problem_type(code) for code in STATUSES]},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "retry_after_s": {"type": "number"},
            "violations": {
                "type": "array",
                "maxItems": limits.VIOLATIONS_REPORTED_MAX,
                "items": {
                    "type": "object",
                    "required": ["pointer", "keyword", "message"],
                    "properties": {
                        "pointer": {
                            "type": "string",
                            "description": "JSON Pointer (RFC 6901) into the body.",
                        },
                        "keyword": {
                            "type": "string",
                            "description": "The keyword of the schema that it breaks.",
                        },
                        "message": {"type": "string"},
                    },
                },
            },
        },
    }


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
    batch: Json = {
        "type": "object",
        "required": ["data"],
        "additionalProperties": False,
        "properties": {
            "data": {"type": "array", "items": event, "minItems": 1, "maxItems": limits.BATCH_EVENTS_MAX}
        },
    }
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
                STRUCTURED_TYPE: {"schema": _cloud_event(event)},
                BATCH_TYPE: {
                    "schema": {
                        "type": "array",
                        "items": _cloud_event(event),
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


def _cloud_event(data: Json) -> Json:
    text = {"type": "string", "minLength": 1}
    unset = {"type": ["string", "null"], "minLength": 1}  # null is as good as not there
    return {
        "type": "object",
        "description": "CloudEvents 1.0; `source` and `id` are the idempotency key.",
        "required": ["specversion", "id", "source", "type", *(["data"] if data else [])],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": text,
            "source": text,
            "type": text,
            "subject": unset,
            "time": {"type": ["string", "null"], "format": "date-time"},
            "dataschema": unset,
            "datacontenttype": {"enum": ["application/json", None]},
            "data": data,
        },
        "propertyNames": {"pattern": "^[a-z0-9]{1,20}$"},
        "additionalProperties": {"type": ["string", "integer", "boolean", "null"]},
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
            "schema": {"type": "string", "pattern": f"^{_NAME}$"},
        },
        {
            "name": "name",
            "in": "path",
            "required": True,
            "description": "To post: the name of an event. Else: the id of one, as the 202 gave it.",
            "schema": {"type": "string", "pattern": f"^{_NAME}$"},
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


def with_order_key(schema: object, pointer: str) -> object:
    """A schema, or None, that also asks for the value that the event's queue orders by."""
    wanted: Json = {"type": ["string", "number", "boolean"]}
    for token in reversed(parse_pointer(pointer)):
        if token.isdecimal():  # it may be an index or a name: nothing to ask for that holds for both
            return schema
        wanted = {"type": "object", "required": [token], "properties": {token: wanted}}
    return wanted if schema is None else {"allOf": [schema, wanted]}


def _moved(schema: object, name: str) -> object:
    """A schema as part of the document: what its `$ref`s point at has moved with it."""
    if isinstance(schema, dict):
        return {
            key: f"#/components/schemas/{name}{value[1:]}"
            if key == "$ref" and isinstance(value, str) and value.startswith("#")
            else value
            if key in _DATA_KEYWORDS
            else _moved(value, name)
            for key, value in schema.items()
        }
    return [_moved(item, name) for item in schema] if isinstance(schema, list) else schema
