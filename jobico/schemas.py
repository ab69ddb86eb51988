"""JSON Schemas of events: which ones are taken, and what an event breaks.

`check_schema` is the gate at upload and deploy: `jsonschema` checks the schema against its meta-schema,
and what a meta-schema cannot say (references, loops, work, regular expressions) is checked here.
`Validator` is the gate at the door: a compiled validator decides, and explains what it refused. Python's
`re` never runs a tenant's pattern (`docs/decisions/020-schema-engines.md`); nothing here fetches anything.
"""

import itertools
from collections.abc import Iterable
from typing import Any, Final

import jsonschema
import jsonschema_rs
import referencing.jsonschema

from jobico import limits
from jobico.errors import InvalidSchema, NotJson, SchemaViolation
from jobico.payload import parse_json
from jobico.schema_graph import Node, SchemaGraph
from jobico.schema_work import evaluations_by_depth, evaluations_outside_loops
from jobico.units import format_size

__all__ = ["Validator", "check_schema"]


_DIALECTS: Final = {
    "http://json-schema.org/draft-04/schema": jsonschema.Draft4Validator,
    "http://json-schema.org/draft-06/schema": jsonschema.Draft6Validator,
    "http://json-schema.org/draft-07/schema": jsonschema.Draft7Validator,
    "https://json-schema.org/draft/2019-09/schema": jsonschema.Draft201909Validator,
    "https://json-schema.org/draft/2020-12/schema": jsonschema.Draft202012Validator,
}
_DEFAULT_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_MESSAGE_CHARS_MAX: Final = 200
_POINTER_CHARS_MAX: Final = 500
_MASK: Final = "the value"
_PATTERNS: Final = jsonschema_rs.RegexOptions(
    size_limit=limits.SCHEMA_PATTERN_BYTES_MAX, dfa_size_limit=2 * limits.SCHEMA_PATTERN_BYTES_MAX
)

# What explaining a refusal may cost: a compiled validator finds all errors before it hands out the first, at
# about 8 µs each, or stops at the first error, at up to 0.2 µs for each subschema that it applied.
_EXPLAINED_PARTS_MAX: Final = 2_000
_EXPLAINED_ALL_MAX: Final = 20_000
_EXPLAINED_FIRST_MAX: Final = 1_000_000


def check_schema(content: bytes) -> None:
    """Refuses a schema that Jobico will not run.

    Raises:
        InvalidSchema: it is over SCHEMA_BYTES_MAX, not JSON, not a schema of draft 4, 6, 7, 2019-09 or
        2020-12
            (`$schema` says which; without it 2020-12), refers to another document, never ends, asks for too
            much work, or has a regular expression that does not run in linear time.
    """
    schema, dialect = _read(content)
    if isinstance(schema, bool):
        return
    _check_shape(schema, dialect)
    graph = _graph(schema, dialect)
    graph.check_loops()
    _check_work(graph)
    for node in graph.nodes:
        _check_node(node, dialect)
    _check_by_authority(schema, dialect)
    _check_patterns(graph.patterns)
    _compile(schema)


class Validator:
    """A compiled schema. Its content has passed `check_schema`."""

    def __init__(self, content: bytes) -> None:
        schema, dialect = _read(content)
        self._compiled = _compile(schema)
        self._is_valid = self._compiled.is_valid
        self._work: tuple[int, ...] = (1,)
        if isinstance(schema, dict):
            self._work = evaluations_by_depth(_graph(schema, dialect), _EXPLAINED_FIRST_MAX)

    def check(self, value: object) -> None:
        """Passes a value that fits the schema.

        Raises:
            SchemaViolation: it does not; `detail["violations"]` says where and why, at most
                VIOLATIONS_REPORTED_MAX times, without quoting values. Of a large value that breaks a
                demanding schema only the first violation is looked for, or none.
        """
        if self._is_valid(value):
            return
        violations = self._explain(value)
        where = violations[0]["pointer"] or "the root"
        raise SchemaViolation(
            f"The event breaks its schema at {where}: {violations[0]['message']}",
            detail={"violations": violations},
        )

    def _explain(self, value: object) -> list[dict[str, str]]:
        parts, depth = _measure(value)
        work = parts * self._work[min(depth, len(self._work) - 1)]
        if parts <= _EXPLAINED_PARTS_MAX and work <= _EXPLAINED_ALL_MAX:
            errors = self._compiled.iter_errors(value)
            return [_violation(error) for error in itertools.islice(errors, limits.VIOLATIONS_REPORTED_MAX)]
        if work <= _EXPLAINED_FIRST_MAX:
            try:
                self._compiled.validate(value)
            except jsonschema_rs.ValidationError as error:
                return [_violation(error)]
        message = (
            "the value breaks the schema somewhere; it is too large and the schema too demanding to say where"
        )
        return [{"pointer": "", "keyword": "", "message": message}]


def _read(content: bytes) -> tuple[dict[str, Any] | bool, str]:
    if len(content) > limits.SCHEMA_BYTES_MAX:
        raise InvalidSchema(f"The schema is over {format_size(limits.SCHEMA_BYTES_MAX)}.")
    try:
        schema = parse_json(content, depth_max=limits.SCHEMA_DEPTH_MAX)
    except NotJson as error:
        raise InvalidSchema(f"The schema is not usable JSON. {error.message}") from error
    if isinstance(schema, bool):
        return schema, _DEFAULT_DIALECT
    if not isinstance(schema, dict):
        raise InvalidSchema("A JSON Schema is an object or a boolean.")
    return schema, _dialect_of(schema.get("$schema", _DEFAULT_DIALECT))


def _dialect_of(uri: object) -> str:
    dialect = uri.removesuffix("#") if isinstance(uri, str) else ""
    if dialect not in _DIALECTS:
        raise InvalidSchema(f"$schema {_cut(str(uri))!r} is not taken; use one of: {', '.join(_DIALECTS)}.")
    return dialect


def _graph(schema: dict[str, Any], dialect: str) -> SchemaGraph:
    return SchemaGraph(schema, referencing.jsonschema.specification_with(dialect))


def _compile(schema: dict[str, Any] | bool) -> jsonschema_rs.Validator:
    try:
        return jsonschema_rs.validator_for(
            schema, pattern_options=_PATTERNS, validate_formats=True, offline=True, mask=_MASK
        )
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        raise InvalidSchema(f"The schema does not compile: {_cut(str(error))}") from error


def _check_shape(schema: dict[str, Any], dialect: str) -> None:
    # SECURITY: this check takes milliseconds for the largest schema; the bounds on what follows rest on it.
    try:
        jsonschema_rs.meta.validate(schema)
    except jsonschema_rs.ValidationError as error:
        raise _not_a_schema(dialect, error.instance_path, error.message) from error
    except (jsonschema_rs.ReferencingError, ValueError) as error:
        raise InvalidSchema(f"Not a JSON Schema of {dialect}: {_cut(str(error))}") from error


def _check_by_authority(schema: dict[str, Any], dialect: str) -> None:
    try:
        # NOTE: no format checker: it would compile patterns with `re`, whose syntax is another.
        _DIALECTS[dialect].check_schema(schema, format_checker=None)
    except jsonschema.SchemaError as error:
        raise _not_a_schema(dialect, error.path, error.message) from error


def _not_a_schema(dialect: str, path: Iterable[str | int], why: str) -> InvalidSchema:
    return InvalidSchema(
        f"Not a JSON Schema of {dialect}, at {_cut(_pointer(path)) or 'the root'}: {_cut(why)}"
    )


def _check_work(graph: SchemaGraph) -> None:
    most = limits.SCHEMA_EVALUATIONS_MAX
    if evaluations_outside_loops(graph, most + 1) > most:
        raise InvalidSchema(
            f"The schema can apply over {most} subschemas to one value, or is too tangled to tell: "
            "combine fewer references by allOf, anyOf and oneOf."
        )


def _check_node(node: Node, dialect: str) -> None:
    if "$schema" in node.schema and _dialect_of(node.schema["$schema"]) != dialect:
        raise InvalidSchema(f"{node.pointer}/$schema differs from the root's: a document has one dialect.")
    options = node.schema.get("enum")
    if not isinstance(options, list):
        return
    # SECURITY: objects and lists are compared in turn with each value, where strings and numbers are
    # looked up; and `jsonschema` compares each with each where it cannot sort them.
    containers = sum(isinstance(option, dict | list) for option in options)
    kinds = {type(option) for option in options}
    for count, count_max, what in (
        (containers, limits.SCHEMA_ENUM_CONTAINERS_MAX, "objects and lists"),
        (len(options) if len(kinds) > 1 else 0, limits.SCHEMA_ENUM_MIXED_MAX, "values of different types"),
    ):
        if count > count_max:
            raise InvalidSchema(f"{node.pointer}/enum has {count} {what}, of which {count_max} are taken.")


def _check_patterns(patterns: dict[str, str]) -> None:
    if len(patterns) > limits.SCHEMA_PATTERNS_MAX:
        raise InvalidSchema(f"The schema has over {limits.SCHEMA_PATTERNS_MAX} regular expressions.")
    for pattern, pointer in patterns.items():
        try:
            jsonschema_rs.validator_for({"pattern": pattern}, pattern_options=_PATTERNS, offline=True)
        except (jsonschema_rs.ValidationError, ValueError) as error:
            raise InvalidSchema(
                f"{pointer}: {_cut(pattern)!r} is not a regular expression that runs in linear time and "
                f"{format_size(limits.SCHEMA_PATTERN_BYTES_MAX)}: no look-around and no back-references."
            ) from error


def _measure(value: object) -> tuple[int, int]:
    """How many parts a value has, itself included, and how deep it is; stops past what is explained."""
    parts, depth = 1, 0
    level = [value]
    while level and parts <= _EXPLAINED_FIRST_MAX:
        children: list[object] = []
        for node in level:
            if isinstance(node, dict):
                children += node.values()
            elif isinstance(node, list):
                children += node
        parts += len(children)
        depth += bool(children)
        level = children
    return parts, depth


def _violation(error: jsonschema_rs.ValidationError) -> dict[str, str]:
    # NOTE: `instance_path` (jsonschema-rs 0.61) leaves out names that are empty, so the pointer does too.
    keyword = error.kind.name
    if keyword == "falseSchema" and error.schema_path:
        keyword = str(error.schema_path[-1])
    return {
        "pointer": _cut(_pointer(error.instance_path), _POINTER_CHARS_MAX),
        "keyword": _cut(keyword),
        "message": _cut(error.message),
    }


def _pointer(path: Iterable[str | int]) -> str:
    return "".join(f"/{str(token).replace('~', '~0').replace('/', '~1')}" for token in path)


def _cut(text: str, chars_max: int = _MESSAGE_CHARS_MAX) -> str:
    return text if len(text) <= chars_max else text[: chars_max - 1] + "…"
