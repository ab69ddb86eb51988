"""Whatever the bytes, a body gives events or a documented error, as the standard library would judge."""

import json
import math

from hypothesis import example, given
from hypothesis import strategies as st

from jobico import limits
from jobico.errors import InvalidInput, NotJson, TooLarge
from jobico.payload import parse_body, parse_json

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
# Few names and odd ones: repeats, escapes and what looks like the end of a key are likely.
NAMES = st.sampled_from(["", "a", "b", ":", '":', " ", "data", "é", "\\"]) | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(NAMES, inner, max_size=5)
)
TOKENS = st.sampled_from(
    [
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        '"',
        '"a"',
        '"a":',
        '":',
        "\\",
        "1",
        "-",
        "1e9",
        "null",
        " ",
        "\n",
        '"data":',
        '\\"',
    ]
)


class _RepeatError(Exception):
    pass


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise _RepeatError
    return dict(pairs)


def _reference(text: str) -> object:
    """The value by the standard library; raises ValueError, RecursionError or _RepeatError."""

    def number(literal: str) -> float:
        value = float(literal)
        if math.isinf(value):
            raise ValueError(literal)
        return value

    def constant(literal: str) -> object:
        raise ValueError(literal)

    return json.loads(text, object_pairs_hook=_unique, parse_float=number, parse_constant=constant)


@given(st.binary(max_size=200))
@example(b"\xef\xbb\xbf{}")
@example(b'{"data":[{}')
def test_arbitrary_bytes_give_events_or_a_documented_error(body: bytes) -> None:
    try:
        events = parse_body(body).events
    except (NotJson, InvalidInput, TooLarge):
        return
    assert all(parse_json(event.raw) == event.value for event in events)


@given(st.lists(TOKENS, max_size=30).map("".join))
def test_texts_that_are_almost_json_are_judged_as_the_standard_library_judges_them(text: str) -> None:
    try:
        expected = _reference(text)
    except (ValueError, _RepeatError):
        expected = NotJson
    try:
        found = parse_json(text.encode())
    except NotJson:
        found = NotJson
    assert found == expected


@given(VALUES, st.sampled_from([None, 1]), st.booleans(), st.sampled_from([(",", ":"), (" ,\n", "\t: ")]))
def test_a_value_reads_back_however_it_was_written(
    value: object, indent: int | None, ascii_only: bool, separators: tuple[str, str]
) -> None:
    body = json.dumps(value, indent=indent, ensure_ascii=ascii_only, separators=separators).encode()
    assert parse_json(body) == value


@given(st.lists(VALUES, min_size=1, max_size=10), st.booleans())
def test_a_batch_is_its_events_one_by_one(values: list[object], spaced: bool) -> None:
    separators = (" , ", " : ") if spaced else (",", ":")
    texts = [json.dumps(value, separators=separators).encode() for value in values]
    body = parse_body(b'{"data":[' + b" ,".join(texts) + b"]}")
    assert body.batch
    assert [event.raw for event in body.events] == texts
    assert [event.value for event in body.events] == values


@given(VALUES, NAMES, st.data())
def test_a_repeated_key_is_refused_wherever_it_stands(value: object, name: str, data: st.DataObject) -> None:
    key, again = json.dumps(name), json.dumps(name, ensure_ascii=False)
    gap = data.draw(st.sampled_from(["", " ", "\n\t"]))
    inner = f"{{{key}{gap}:1,{again}:2}}"
    around = json.dumps({"x": value, "hole": 0}, separators=(",", ":")).replace('"hole":0', f'"hole":{inner}')
    try:
        parse_json(around.encode())
    except NotJson:
        return
    raise AssertionError(around)


@given(
    st.integers(min_value=1, max_value=limits.JSON_DEPTH_MAX * 2),
    st.lists(st.booleans(), min_size=200, max_size=200),
)
def test_depth_is_counted_through_lists_and_objects(depth: int, lists: list[bool]) -> None:
    kinds = lists[:depth]
    body = "".join("[" if kind else '{"k":' for kind in kinds)
    body += "1" + "".join("]" if kind else "}" for kind in reversed(kinds))
    try:
        parse_json(body.encode())
        assert depth <= limits.JSON_DEPTH_MAX
    except NotJson:
        assert depth > limits.JSON_DEPTH_MAX
