"""Bodies are read as RFC 8259 has JSON and within bounds; what was sent is kept byte for byte."""

import json

import pytest

from jobico import limits
from jobico.errors import InvalidInput, NotJson, SchemaViolation, TooLarge
from jobico.payload import order_key, parse_body, parse_json, parse_pointer


def _nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def test_one_event_keeps_its_bytes_and_has_its_value() -> None:
    raw = b' {"b": 1.50, "a": "\\u00e9"}\n'
    body = parse_body(raw)
    assert not body.batch
    assert [(event.raw, event.value) for event in body.events] == [(raw, {"b": 1.5, "a": "é"})]


def test_data_with_a_list_alone_is_a_batch_of_its_items_as_they_were_written() -> None:
    body = parse_body(b'{ "data" : [ {"n": 1.0},\t"x" , [ ], null]}')
    assert body.batch
    assert [event.raw for event in body.events] == [b'{"n": 1.0}', b'"x"', b"[ ]", b"null"]
    assert [event.value for event in body.events] == [{"n": 1.0}, "x", [], None]


@pytest.mark.parametrize(
    "raw", [b'{"data": {"a": 1}}', b'{"data": [1], "more": 2}', b'{"Data": [1]}', b"[1, 2]"]
)
def test_anything_else_is_one_event(raw: bytes) -> None:
    assert not parse_body(raw).batch


def test_a_batch_written_with_an_escaped_key_is_a_batch() -> None:
    assert [event.raw for event in parse_body(b'{"d\\u0061ta": [1, 2]}').events] == [b"1", b"2"]


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(InvalidInput, match="empty"):
        parse_body(b'{"data": []}')


def test_a_batch_at_its_bound_is_taken_and_one_more_event_is_not() -> None:
    items = ["1"] * limits.BATCH_EVENTS_MAX
    assert len(parse_body(f'{{"data": [{",".join(items)}]}}'.encode()).events) == limits.BATCH_EVENTS_MAX
    with pytest.raises(TooLarge, match="1001"):
        parse_body(f'{{"data": [{",".join([*items, "1"])}]}}'.encode())


def test_a_body_at_its_bound_is_taken_and_one_more_byte_is_not() -> None:
    body = b'"' + b"x" * (limits.BODY_BYTES_MAX - 2) + b'"'
    assert parse_body(body).events[0].raw == body
    with pytest.raises(TooLarge):
        parse_body(body + b" ")


@pytest.mark.parametrize("wrap", [b"%s", b'{"data": [%s]}'])
def test_an_event_at_the_bound_of_depth_is_taken_alone_and_in_a_batch_and_one_deeper_is_not(
    wrap: bytes,
) -> None:
    parse_body(wrap % _nested(limits.JSON_DEPTH_MAX))
    with pytest.raises(NotJson, match="deep"):
        parse_body(wrap % _nested(limits.JSON_DEPTH_MAX + 1))


@pytest.mark.parametrize("depth", [500, 5_000, 100_000])
def test_depth_past_any_stack_is_refused(depth: int) -> None:
    with pytest.raises(NotJson, match="deep"):
        parse_body(_nested(depth))
    with pytest.raises(NotJson, match="deep"):
        parse_body(b'{"a":' * depth + b"1" + b"}" * depth)


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"nul",
        b"1 2",
        b"01",
        b"1.",
        b".5",
        b"+1",
        b"'a'",
        b"{a: 1}",
        b"[1,]",
        b'{"a": 1,}',
        b"// c\n1",
        b'"\x01"',
        b'"\\x41"',
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b'{"a": nan}',
        b"1e400",
        b"-1e400",
        b"9" * 5_000,
        b'"\\ud800"',
        b'"\\ud800x"',
        b'"\\ude00\\ud83d"',
        b'{"\\udfff": 1}',
        b'"\xed\xa0\x80"',
        b'"\xff"',
        b'"\xc3"',
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\x00}\x00",
        b"\x00",
        b"{}\x00",
    ],
)
def test_what_is_not_json_is_refused(raw: bytes) -> None:
    with pytest.raises(NotJson):
        parse_body(raw)
    with pytest.raises(NotJson):
        parse_body(b'{"data": [%s]}' % raw)


@pytest.mark.parametrize("raw", [b"", b" ", b"\n\t"])
def test_nothing_is_not_json(raw: bytes) -> None:
    with pytest.raises(NotJson):
        parse_body(raw)


def test_a_byte_order_mark_is_named() -> None:
    with pytest.raises(NotJson, match="byte order mark"):
        parse_body(b"\xef\xbb\xbf{}")


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a": 1, "a": 2}',
        b'{"a" : 1, "a"\n\t: 2}',
        b'{"a": 1, "\\u0061": 1}',
        b'[{"x": {"a": 1, "b": 2, "a": 3}}]',
        b'{"data": [1], "data": [2]}',
        b'{"data": [{"k": 1, "k": 1}]}',
        # As many quote-colons as distinct keys, though one repeats: space hides two, strings show others.
        b'{"a" :1,"a" :2,"b":":x"}',
        b'{"a" :1,"a" :2,"b":"\\":"}',
        b'{"":1,"":2}',
    ],
)
def test_a_key_that_is_twice_in_one_object_is_refused(raw: bytes) -> None:
    with pytest.raises(NotJson, match="twice"):
        parse_body(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a": ":x", "b": "y\\":z", "c": "\\": \\":"}',
        b'[{"a": 1}, {"a": 1}]',
        b'{"a": {"a": {"a": 1}}}',
        b'{" ": 1, "": 2, "  ": 3}',
        b'{"a ": 1, "a": 2}',
        b'{"a\\u0020": 1, "a": 2}',
    ],
)
def test_strings_that_look_like_keys_and_keys_of_other_objects_are_no_repeats(raw: bytes) -> None:
    assert parse_body(raw).events[0].value == json.loads(raw)


def test_whole_numbers_keep_all_their_digits() -> None:
    assert parse_json(b"[123456789012345678901234567890, -0]") == [123456789012345678901234567890, 0]


@pytest.mark.parametrize(
    ("pointer", "tokens"),
    [
        ("", ()),
        ("/a/b", ("a", "b")),
        ("/", ("",)),
        ("/a~1b/~0x/~01", ("a/b", "~x", "~1")),
        ("/0/-", ("0", "-")),
    ],
)
def test_pointers_are_read_as_rfc_6901_has_them(pointer: str, tokens: tuple[str, ...]) -> None:
    assert parse_pointer(pointer) == tokens


@pytest.mark.parametrize("pointer", ["a", "a/b", "/~", "/~2", "#/a"])
def test_what_is_no_pointer_is_refused(pointer: str) -> None:
    with pytest.raises(InvalidInput, match="JSON Pointer"):
        parse_pointer(pointer)


@pytest.mark.parametrize(
    ("value", "pointer", "key"),
    [
        ({"id": "c-1"}, "/id", "c-1"),
        ({"a": [{"b/c": 7}]}, "/a/0/b~1c", "7"),
        ({"id": 7.0}, "/id", "7"),
        ({"id": 0.5}, "/id", "0.5"),
        ({"id": True}, "/id", "true"),
        ({"id": ""}, "/id", ""),
        ("whole", "", "whole"),
    ],
)
def test_the_order_key_is_the_scalar_at_the_pointer(value: object, pointer: str, key: str) -> None:
    assert order_key(value, pointer) == key


def test_a_long_order_key_is_shortened_and_still_told_apart() -> None:
    one, other = (order_key({"id": "x" * 10_000 + end}, "/id") for end in "ab")
    assert len(one) == len(other) == 64
    assert one != other


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        ({}, "/id"),
        ({"id": None}, "/id"),
        ({"id": {}}, "/id"),
        ({"id": [1]}, "/id"),
        ([1], "/1"),
        ([1], "/00"),
        ([1], "/-"),
        ("text", "/0"),
    ],
)
def test_an_event_without_its_order_key_is_a_violation_at_the_pointer(value: object, pointer: str) -> None:
    with pytest.raises(SchemaViolation) as caught:
        order_key(value, pointer)
    assert caught.value.detail["violations"][0]["pointer"] == pointer
