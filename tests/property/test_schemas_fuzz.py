"""Whatever the schema, it is taken or InvalidSchema; what is taken judges as the reference engine does."""

import json
from typing import Any

import jsonschema
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobico import limits
from jobico.errors import InvalidSchema, SchemaViolation
from jobico.payload import parse_json
from jobico.schemas import Validator, check_schema

DRAFTS = {
    "http://json-schema.org/draft-04/schema#": jsonschema.Draft4Validator,
    "http://json-schema.org/draft-06/schema#": jsonschema.Draft6Validator,
    "http://json-schema.org/draft-07/schema#": jsonschema.Draft7Validator,
    "https://json-schema.org/draft/2019-09/schema": jsonschema.Draft201909Validator,
    "https://json-schema.org/draft/2020-12/schema": jsonschema.Draft202012Validator,
}
# Not "": paths of `jsonschema-rs` leave empty names out, so pointers through them lead elsewhere.
NAMES = st.sampled_from(["a", "b", "c", "a/b", "é", "~1"])
NUMBERS = st.integers(min_value=-3, max_value=3) | st.sampled_from([0.5, 1.0, -1.5, 2.0, 10**20])
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(alphabet="abé1 ", max_size=4)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4)
)
COUNTS = st.integers(min_value=0, max_value=3)
TYPES = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])
# What both engines read alike: no `format`, no `\d`, which is ASCII in one and Unicode in the other.
PATTERNS = st.sampled_from(["^a", "b$", "[ab]+", "^(a|b)*$", "a{2}", ".", "é", ""])


def _subschemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists, maps = st.lists(inner, min_size=1, max_size=3), st.dictionaries(NAMES, inner, max_size=3)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES | st.lists(TYPES, min_size=1, max_size=3, unique=True),
            "enum": st.lists(VALUES, min_size=1, max_size=3, unique_by=json.dumps),
            "minimum": NUMBERS,
            "maximum": NUMBERS,
            "multipleOf": st.sampled_from([1, 2, 0.5]),
            "minLength": COUNTS,
            "maxLength": COUNTS,
            "pattern": PATTERNS,
            "minItems": COUNTS,
            "maxItems": COUNTS,
            "uniqueItems": st.booleans(),
            "minProperties": COUNTS,
            "maxProperties": COUNTS,
            "required": st.lists(NAMES, min_size=1, max_size=3, unique=True),
            "properties": maps,
            "patternProperties": st.dictionaries(PATTERNS, inner, max_size=2),
            "additionalProperties": inner,
            "items": inner,
            "not": inner,
            "allOf": lists,
            "anyOf": lists,
            "oneOf": lists,
            "$ref": st.sampled_from(["#/definitions/x", "#/definitions/y"]),
        },
    )


SCHEMAS = st.recursive(_subschemas(st.just({})), _subschemas, max_leaves=8)
KEYWORDS = st.sampled_from(
    [
        "$ref",
        "$id",
        "id",
        "$schema",
        "$defs",
        "definitions",
        "$anchor",
        "$dynamicRef",
        "$dynamicAnchor",
        "$recursiveRef",
        "$recursiveAnchor",
        "type",
        "enum",
        "const",
        "properties",
        "patternProperties",
        "items",
        "prefixItems",
        "allOf",
        "anyOf",
        "oneOf",
        "not",
        "if",
        "then",
        "else",
        "dependencies",
        "dependentSchemas",
        "contains",
        "propertyNames",
        "pattern",
        "unevaluatedProperties",
        "required",
        "x",
    ]
)
ODD = st.sampled_from(
    ["#", "#/x", "#a", "a", "http://x/y", "#/definitions/a", "object", "(", "(?=a)", "^a$", *DRAFTS]
)
ANYTHING = st.recursive(
    SCALARS | ODD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYWORDS | NAMES, inner, max_size=4),
)


def _taken(schema: object) -> bytes | None:
    content = json.dumps(schema).encode()
    try:
        check_schema(content)
    except InvalidSchema:
        return None
    return content


def _violations(validator: Validator, value: object) -> list[dict[str, str]]:
    try:
        validator.check(value)
    except SchemaViolation as error:
        violations: list[dict[str, str]] = error.detail["violations"]
        assert 0 < len(violations) <= limits.VIOLATIONS_REPORTED_MAX
        return violations
    return []


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_taken_or_refused(content: bytes) -> None:
    try:
        check_schema(content)
    except InvalidSchema:
        return
    Validator(content)


@given(ANYTHING, st.lists(VALUES, min_size=1, max_size=3))
def test_arbitrary_keywords_are_taken_or_refused_and_what_is_taken_judges(
    schema: object, values: list[object]
) -> None:
    content = _taken(schema)
    if content:
        validator = Validator(content)
        for value in values:
            _violations(validator, value)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sampled_from(sorted(DRAFTS)), SCHEMAS, SCHEMAS, SCHEMAS, st.lists(VALUES, min_size=1, max_size=5))
def test_both_engines_judge_alike(
    draft: str, schema: dict[str, Any], x: dict[str, Any], y: dict[str, Any], values: list[object]
) -> None:
    document = {**schema, "$schema": draft, "definitions": {"x": x, "y": y}}
    content = _taken(document)
    if not content:
        return
    validator = Validator(content)
    authority = DRAFTS[draft](document)
    for value in values:
        same = parse_json(json.dumps(value).encode())
        violations = _violations(validator, same)
        assert (not violations) == authority.is_valid(value), (document, value, violations)
        for violation in violations:
            assert _at(value, violation["pointer"]) is not None


def _at(value: Any, pointer: str) -> object:
    """What a pointer finds; raises where it finds nothing."""
    for token in pointer.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value if value is not None else "null"
