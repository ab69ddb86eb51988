"""Schemas that end, stay local and run in linear time are taken; what an event breaks is said in bounds."""

import contextlib
import json
import time
from typing import Any

import jsonschema
import pytest

from jobico import limits
from jobico.errors import InvalidSchema, SchemaViolation
from jobico.schemas import Validator, check_schema

DRAFTS = {
    4: "http://json-schema.org/draft-04/schema#",
    6: "http://json-schema.org/draft-06/schema#",
    7: "http://json-schema.org/draft-07/schema",
    2019: "https://json-schema.org/draft/2019-09/schema",
    2020: "https://json-schema.org/draft/2020-12/schema",
}


def _check(schema: object) -> None:
    check_schema(json.dumps(schema).encode())


def _refused(schema: object, match: str) -> None:
    with pytest.raises(InvalidSchema, match=match):
        _check(schema)


def _validator(schema: object) -> Validator:
    content = json.dumps(schema).encode()
    check_schema(content)
    return Validator(content)


def _violations(schema: object, value: object) -> list[dict[str, str]]:
    with pytest.raises(SchemaViolation) as caught:
        _validator(schema).check(value)
    violations: list[dict[str, str]] = caught.value.detail["violations"]
    return violations


# --- Which schemas are taken ---


@pytest.mark.parametrize("schema", [True, False, {}, {"type": "object"}, {"$comment": "x", "title": "y"}])
def test_a_schema_is_an_object_or_a_boolean(schema: object) -> None:
    _check(schema)


@pytest.mark.parametrize("schema", [None, 1, "x", []])
def test_anything_else_is_no_schema(schema: object) -> None:
    _refused(schema, "object or a boolean")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"type": "object", "type": "string"}'])
def test_a_schema_is_json(content: bytes) -> None:
    with pytest.raises(InvalidSchema, match="not usable JSON"):
        check_schema(content)


@pytest.mark.parametrize(
    ("draft", "schema"),
    [
        (4, {"minimum": 1, "exclusiveMinimum": True}),
        (6, {"exclusiveMinimum": 1, "contains": {"const": 1}}),
        (7, {"if": {"type": "string"}, "then": {"minLength": 1}}),
        (2019, {"dependentRequired": {"a": ["b"]}, "unevaluatedProperties": False}),
        (2020, {"prefixItems": [{"type": "string"}], "items": False}),
    ],
)
def test_each_draft_is_checked_by_its_own_rules(draft: int, schema: dict[str, Any]) -> None:
    _check({"$schema": DRAFTS[draft], **schema})


@pytest.mark.parametrize(
    ("draft", "schema"),
    [
        (4, {"exclusiveMinimum": 1, "minimum": 1}),
        (6, {"exclusiveMinimum": True}),
        (7, {"then": 3}),
        (2019, {"dependentRequired": {"a": "b"}}),
        (2020, {"items": [{"type": "string"}]}),
        (2020, {"type": "strin"}),
        (2020, {"properties": {"a": {"required": ["x", "x"]}}}),
        (2020, {"minLength": -1}),
    ],
)
def test_what_a_draft_does_not_allow_is_refused_with_its_place(draft: int, schema: dict[str, Any]) -> None:
    _refused({"$schema": DRAFTS[draft], **schema}, f"Not a JSON Schema of .*{next(iter(schema))}")


def test_without_a_draft_the_newest_counts() -> None:
    _refused({"items": [{}]}, "2020-12")


@pytest.mark.parametrize(
    "uri", ["http://json-schema.org/draft-03/schema#", "https://example.com/mine", "", 7, None]
)
def test_a_draft_that_is_not_known_is_refused(uri: object) -> None:
    _refused({"$schema": uri}, r"\$schema .* is not taken")


def test_a_document_has_one_dialect() -> None:
    _refused({"properties": {"a": {"$schema": DRAFTS[7]}}}, "differs from the root's")
    _check({"$schema": DRAFTS[7], "properties": {"a": {"$schema": DRAFTS[7]}}})


def test_names_of_properties_and_plain_values_are_not_taken_for_keywords() -> None:
    _check({"properties": {"$ref": {"type": "string"}, "pattern": {"const": {"$ref": "http://x/y"}}}})
    _check(
        {"enum": [{"$ref": "http://x/y"}], "default": {"pattern": "("}, "examples": [{"$ref": "#/nowhere"}]}
    )


# --- References ---


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}},
        {"properties": {"x": {"$ref": "#a"}}, "$defs": {"a": {"$anchor": "a"}}},
        {
            "$id": "https://x.example/s",
            "properties": {"x": {"$ref": "other"}},
            "$defs": {"o": {"$id": "other"}},
        },
        {
            "$id": "https://x.example/s",
            "properties": {"x": {"$ref": "https://x.example/s#/$defs/o"}},
            "$defs": {"o": {}},
        },
        {
            "$schema": DRAFTS[7],
            "definitions": {"a~/b": {}},
            "properties": {"x": {"$ref": "#/definitions/a~0~1b"}},
        },
        {
            "$schema": DRAFTS[4],
            "id": "http://x/s",
            "definitions": {"o": {"id": "#o"}},
            "items": {"$ref": "#o"},
        },
    ],
)
def test_references_within_the_document_are_taken(schema: object) -> None:
    _check(schema)


@pytest.mark.parametrize(
    "reference",
    [
        "http://127.0.0.1:9/s.json",
        "https://json-schema.org/draft/2020-12/schema",
        "http://json-schema.org/draft-07/schema#",
        "file:///etc/passwd",
        "other.json",
        "//x/y",
        "urn:x:y",
        "#/nowhere",
        "#/$defs/a/b",
        "#nowhere",
        "#/$defs/a%ZZ",
        "http://[::1",
    ],
)
@pytest.mark.parametrize("place", ["$ref", "$dynamicRef"])
def test_a_reference_that_leads_out_or_nowhere_is_refused_and_never_fetched(
    reference: str, place: str
) -> None:
    _refused(
        {"$defs": {"a": {"properties": {"x": {place: reference}}}}}, "not in this document|Not a JSON Schema"
    )


def test_a_reference_that_only_a_referenced_place_holds_is_seen() -> None:
    _refused({"$ref": "#/x-hidden", "x-hidden": {"$ref": "http://x/y"}}, "not in this document")


def test_a_reference_to_what_is_no_schema_is_refused() -> None:
    _refused({"$ref": "#/title", "title": "a"}, "neither an object nor a boolean")


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}]},
        {
            "$ref": "#/$defs/a",
            "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"not": {"$ref": "#/$defs/a"}}},
        },
        {"properties": {"x": {"if": {"$ref": "#/properties/x"}}}},
        {"dependentSchemas": {"a": {"$ref": "#"}}},
        {"$schema": DRAFTS[7], "dependencies": {"a": {"$ref": "#"}}},
        {"$dynamicAnchor": "node", "allOf": [{"$dynamicRef": "#node"}]},
        {"$schema": DRAFTS[2019], "$recursiveAnchor": True, "anyOf": [{"$recursiveRef": "#"}]},
    ],
)
def test_a_schema_that_is_applied_to_one_value_for_ever_is_refused(schema: object) -> None:
    _refused(schema, "never ends")


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"child": {"$ref": "#"}}},
        {"items": {"$ref": "#"}},
        {"additionalProperties": {"anyOf": [{"type": "null"}, {"$ref": "#"}]}},
        {"$dynamicAnchor": "node", "properties": {"children": {"items": {"$dynamicRef": "#node"}}}},
    ],
)
def test_a_schema_that_is_applied_to_parts_again_is_taken(schema: object) -> None:
    _check(schema)


# --- Work and size ---


def _doubling(levels: int, part: bool = False) -> dict[str, Any]:
    """Each level applies the next twice, to the same value or to the same part of it."""
    definitions: dict[str, Any] = {f"d{levels}": {"type": "object"}}
    for level in range(levels):
        target: dict[str, Any] = {"$ref": f"#/$defs/d{level + 1}"}
        if part:
            target = {"properties": {"x": target}}
        definitions[f"d{level}"] = {"allOf": [{**target, "minProperties": 0}, {**target, "maxProperties": 9}]}
    return {"$ref": "#/$defs/d0", "$defs": definitions}


@pytest.mark.parametrize("part", [False, True])
def test_a_schema_that_doubles_its_work_again_and_again_is_refused(part: bool) -> None:
    _check(_doubling(6, part))
    _refused(_doubling(30, part), "subschemas to one value")


def test_a_large_schema_that_does_little_to_each_value_is_taken() -> None:
    branch = {"type": "object", "properties": {f"q{i}": {"type": "string"} for i in range(10)}}
    _check({"properties": {f"p{i}": branch for i in range(150)}})


def test_a_union_of_recursive_types_is_taken() -> None:
    """What an expression of a language looks like: several branches descend into the same property."""
    both = {"left": {"$ref": "#"}, "right": {"$ref": "#"}}
    operators = [
        {"type": "object", "properties": {"op": {"const": op}, **both}, "required": ["op"]} for op in "+-*/"
    ]
    schema = {"anyOf": [{"type": "number"}, *operators]}
    value: dict[str, Any] = {"op": "+", "left": 1, "right": 2}
    for _ in range(25):
        value = {"op": "*", "left": value, "right": 3}
    started = time.monotonic()
    validator = _validator(schema)
    validator.check(value)
    value["left"]["left"]["right"] = "x"
    with pytest.raises(SchemaViolation):
        validator.check(value)
    assert time.monotonic() - started < 2


def test_the_number_of_subschemas_is_bounded() -> None:
    _refused({"properties": {f"p{i}": {} for i in range(limits.SCHEMA_NODES_MAX)}}, "10000 subschemas")


def test_a_schema_at_its_bound_of_bytes_is_taken_and_one_more_is_not() -> None:
    content = b'{"type": "object"}'.ljust(limits.SCHEMA_BYTES_MAX)
    check_schema(content)
    with pytest.raises(InvalidSchema, match="over 1 MiB"):
        check_schema(content + b" ")


def test_a_schema_at_its_bound_of_depth_is_taken_and_one_deeper_is_not() -> None:
    def nested(depth: int) -> object:
        schema: object = {}
        for _ in range(depth - 1):
            schema = {"not": schema}
        return schema

    _check(nested(limits.SCHEMA_DEPTH_MAX))
    _refused(nested(limits.SCHEMA_DEPTH_MAX + 1), "deep")


def test_lists_of_objects_to_compare_with_are_bounded_and_lists_of_words_are_not() -> None:
    _check({"enum": [f"word {i}" for i in range(5_000)]})
    _check({"enum": [{"a": i} for i in range(limits.SCHEMA_ENUM_CONTAINERS_MAX)]})
    _refused({"enum": [{"a": i} for i in range(limits.SCHEMA_ENUM_CONTAINERS_MAX + 1)]}, "objects and lists")
    _refused({"enum": [None, *range(limits.SCHEMA_ENUM_MIXED_MAX)]}, "different types")


def test_a_mesh_in_which_every_subschema_leads_to_many_others_is_checked_in_bounded_time() -> None:
    count = 300
    mesh = {
        f"d{i}": {"properties": {f"p{k}": {"$ref": f"#/$defs/d{(i * 7 + k) % count}"} for k in range(9)}}
        for i in range(count)
    }
    started = time.monotonic()
    with contextlib.suppress(InvalidSchema):
        _check({"$ref": "#/$defs/d0", "$defs": mesh})
    assert time.monotonic() - started < 10


# --- Patterns ---


@pytest.mark.parametrize(
    "pattern", [r"(?=a)b", r"(?<!a)b", r"(a)\1", r"(?P<n>a)(?P=n)", "(", r"\p{L}{1000}", "a{999}{999}"]
)
def test_a_pattern_that_needs_backtracking_or_much_memory_is_refused_with_its_place(pattern: str) -> None:
    _refused({"properties": {"a": {"pattern": pattern}}}, "/properties/a/pattern|Not a JSON Schema")
    _refused({"items": {"patternProperties": {pattern: {}}}}, "/items/patternProperties|Not a JSON Schema")


@pytest.mark.parametrize(
    "pattern", [r"^(a+)+$", r"^\d{4}-\d{2}$", r"^[^/\s]+/[^/\s]+$", r"^\p{L}+$", r"\u00e9", r"\cA", ""]
)
def test_a_pattern_of_a_regular_language_is_taken(pattern: str) -> None:
    _check({"pattern": pattern})


def test_a_pattern_that_would_stop_a_backtracking_engine_takes_no_time_to_judge_or_to_explain() -> None:
    started = time.monotonic()
    violations = _violations({"pattern": "^(a+)+$"}, "a" * 50_000 + "!")
    assert time.monotonic() - started < 1
    assert violations[0]["keyword"] == "pattern"


def test_the_number_of_patterns_is_bounded() -> None:
    def patterns(count: int) -> dict[str, Any]:
        return {"properties": {f"p{i}": {"pattern": f"^{i}$"} for i in range(count)}}

    _check(patterns(limits.SCHEMA_PATTERNS_MAX))
    _refused(patterns(limits.SCHEMA_PATTERNS_MAX + 1), "over 500 regular expressions")


# --- What an event breaks ---


CUSTOMER = {
    "type": "object",
    "required": ["id", "mail"],
    "properties": {
        "id": {"type": "integer", "minimum": 1},
        "mail": {"type": "string", "format": "email"},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 3},
        "a/b": {"type": "object", "additionalProperties": False, "properties": {"~": {"const": 1}}},
    },
}


def test_a_value_that_fits_passes() -> None:
    _validator(CUSTOMER).check(
        {"id": 1, "mail": "ada@example.com", "tags": ["a"], "a/b": {"~": 1}, "more": None}
    )


@pytest.mark.parametrize(
    ("change", "pointer", "keyword"),
    [
        ({"id": "1"}, "/id", "type"),
        ({"id": 0}, "/id", "minimum"),
        ({"mail": "nobody"}, "/mail", "format"),
        ({"tags": ["a", 2]}, "/tags/1", "type"),
        ({"tags": ["a"] * 4}, "/tags", "maxItems"),
        ({"a/b": {"~": 2}}, "/a~1b/~0", "const"),
        ({"a/b": {"x": 1}}, "/a~1b", "additionalProperties"),
    ],
)
def test_a_violation_has_its_pointer_and_keyword(change: dict[str, Any], pointer: str, keyword: str) -> None:
    violations = _violations(CUSTOMER, {"id": 1, "mail": "ada@example.com", **change})
    assert [(found["pointer"], found["keyword"]) for found in violations] == [(pointer, keyword)]


def test_what_is_missing_is_named_at_the_object_that_lacks_it() -> None:
    assert [(found["pointer"], found["keyword"]) for found in _violations(CUSTOMER, {})] == [
        ("", "required")
    ] * 2
    assert '"id"' in _violations(CUSTOMER, {})[0]["message"]


def test_a_schema_that_takes_nothing_is_named_by_the_keyword_that_holds_it() -> None:
    assert _violations({"additionalProperties": False}, {"a": 1})[0]["keyword"] == "additionalProperties"
    assert _violations(False, 1)[0]["keyword"] == "falseSchema"


def test_all_violations_are_found_up_to_the_bound() -> None:
    schema = {"items": {"type": "string"}}
    assert (
        len(_violations(schema, [1] * (limits.VIOLATIONS_REPORTED_MAX - 1)))
        == limits.VIOLATIONS_REPORTED_MAX - 1
    )
    assert len(_violations(schema, [1] * 100)) == limits.VIOLATIONS_REPORTED_MAX


def test_values_are_never_quoted_and_texts_are_bounded() -> None:
    secret = "hunter2" * 1_000
    for schema in (
        {"type": "integer"},
        {"enum": ["x" * 500, "y"]},
        {"const": 1},
        {"maxLength": 1},
        {"pattern": "^$"},
    ):
        for violation in _violations(schema, secret):
            assert "hunter2" not in violation["message"]
            assert len(violation["message"]) <= 200
    deep = _violations({"additionalProperties": {"type": "integer"}}, {"k" * 10_000: "x"})[0]
    assert len(deep["pointer"]) <= 500


def test_a_large_value_that_is_wrong_everywhere_is_refused_fast_with_its_first_violation() -> None:
    validator = _validator({"items": {"type": "string"}})
    value = list(range(300_000))
    started = time.monotonic()
    with pytest.raises(SchemaViolation) as caught:
        validator.check(value)
    assert time.monotonic() - started < 0.5
    assert [found["pointer"] for found in caught.value.detail["violations"]] == ["/0"]


def test_a_value_too_demanding_to_explain_is_refused_without_an_explanation() -> None:
    both = [{"properties": {"c": {"$ref": "#"}, name: {"type": "string"}}} for name in "ab"]
    validator = _validator({"allOf": both})
    value: dict[str, Any] = {"a": 1}
    for _ in range(40):
        value = {"c": value}
    started = time.monotonic()
    with pytest.raises(SchemaViolation) as caught:
        validator.check(value)
    assert time.monotonic() - started < 0.5
    assert caught.value.detail["violations"][0]["pointer"] == ""


@pytest.mark.parametrize("draft", [4, 6, 7])
def test_the_meta_schemas_that_stand_alone_are_schemas(draft: int) -> None:
    _check(jsonschema.validators.validator_for({"$schema": DRAFTS[draft]}).META_SCHEMA)


def test_numbers_of_any_size_are_judged() -> None:
    validator = _validator({"type": "integer", "maximum": 10**30})
    validator.check(10**30)
    with pytest.raises(SchemaViolation):
        validator.check(10**30 + 1)
