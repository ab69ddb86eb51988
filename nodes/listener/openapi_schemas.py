"""The JSON Schemas that the OpenAPI document is put together from. Pure."""

from typing import Any, Final

from jobico import limits
from jobico.payload import parse_pointer
from nodes.listener.problems import STATUSES, problem_type

__all__ = [
    "ACCEPTED",
    "ACCEPTED_BATCH",
    "NAME_PATTERN",
    "batch_of",
    "cloud_event",
    "moved",
    "problem_schema",
    "with_order_key",
]

Json = dict[str, Any]

NAME_PATTERN: Final = "[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?"
"""What tenants and events are called."""

_ID: Final = "[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
_DATA_KEYWORDS: Final = frozenset({"const", "enum", "default", "examples", "example"})

_EVENT_ID: Final[Json] = {"type": "string", "pattern": f"^{_ID}$"}
ACCEPTED: Final[Json] = {
    "type": "object",
    "required": ["id", "status_url"],
    "properties": {"id": _EVENT_ID, "status_url": {"type": "string", "format": "uri-reference"}},
}
ACCEPTED_BATCH: Final[Json] = {
    "type": "object",
    "required": ["ids"],
    "properties": {
        "ids": {"type": "array", "items": _EVENT_ID, "minItems": 1, "maxItems": limits.BATCH_EVENTS_MAX}
    },
}


def batch_of(event: Json) -> Json:
    """The schema of a batch of events."""
    return {
        "type": "object",
        "required": ["data"],
        "additionalProperties": False,
        "properties": {
            "data": {"type": "array", "items": event, "minItems": 1, "maxItems": limits.BATCH_EVENTS_MAX}
        },
    }


def problem_schema() -> Json:
    """The schema of a problem document."""
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


def cloud_event(data: Json) -> Json:
    """The schema of a CloudEvent in structured mode whose data has the schema `data`."""
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


def with_order_key(schema: object, pointer: str) -> object:
    """A schema, or None, that also asks for the value that the event's queue orders by."""
    wanted: Json = {"type": ["string", "number", "boolean"]}
    for token in reversed(parse_pointer(pointer)):
        if token.isdecimal():  # it may be an index or a name: nothing to ask for that holds for both
            return schema
        wanted = {"type": "object", "required": [token], "properties": {token: wanted}}
    return wanted if schema is None else {"allOf": [schema, wanted]}


def moved(schema: object, name: str) -> object:
    """A schema as part of the document: what its `$ref`s point at has moved with it."""
    if isinstance(schema, dict):
        return {
            key: f"#/components/schemas/{name}{value[1:]}"
            if key == "$ref" and isinstance(value, str) and value.startswith("#")
            else value
            if key in _DATA_KEYWORDS
            else moved(value, name)
            for key, value in schema.items()
        }
    return [moved(item, name) for item in schema] if isinstance(schema, list) else schema
