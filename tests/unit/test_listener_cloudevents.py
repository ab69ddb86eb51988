"""CloudEvents: each mode read as events with a key, and what is none refused."""

import json
from typing import Any

import pytest

from jobico import limits
from jobico.errors import InvalidInput, JobicoError, NotJson, TooLarge, UnsupportedMedia
from nodes.listener.cloudevents import BATCH_TYPE, STRUCTURED_TYPE, Mode, mode_of, read_message

ATTRIBUTES = {
    "specversion": "1.0",
    "id": "A234-1234-1234",
    "source": "/mycontext",
    "type": "com.example.someevent",
}
DATA = b'{"appinfoA" : "abc", "appinfoB": 123}'
HEADERS = {
    "content-type": "application/json",
    "ce-specversion": "1.0",
    "ce-id": "A234-1234-1234",
    "ce-source": "/mycontext",
    "ce-type": "com.example.someevent",
    "ce-time": "2018-04-05T17:31:00Z",
    "ce-comexampleextension1": "value",
}


def structured(**changes: Any) -> bytes:
    """The example of the specification's JSON format, changed; None takes an attribute away."""
    event = {**ATTRIBUTES, "time": "2018-04-05T17:31:00Z", "datacontenttype": "application/json", **changes}
    head = json.dumps({name: value for name, value in event.items() if value is not None})
    return head[:-1].encode() + b', "data": ' + DATA + b"}"


@pytest.mark.parametrize(
    ("content_type", "specversion", "mode"),
    [
        (STRUCTURED_TYPE, None, Mode.STRUCTURED),
        ("Application/CloudEvents+JSON; charset=utf-8", None, Mode.STRUCTURED),
        (BATCH_TYPE, None, Mode.BATCH),
        ("application/json", "1.0", Mode.BINARY),
        ("application/json", None, None),
        (None, None, None),
    ],
)
def test_the_mode_is_told_by_the_headers(
    content_type: str | None, specversion: str | None, mode: Mode | None
) -> None:
    assert mode_of(content_type, specversion) is mode


def test_all_modes_give_the_same_event_with_the_bytes_of_its_data() -> None:
    """A sender that changes its mode sends no new event."""
    binary = read_message(Mode.BINARY, HEADERS, DATA)
    one = read_message(Mode.STRUCTURED, {}, structured())
    batch = read_message(Mode.BATCH, {}, b"[" + structured() + b"]")
    assert binary.events == one.events == batch.events
    assert binary.events[0].raw == DATA
    assert binary.keys == one.keys == batch.keys


def test_the_key_is_source_and_id() -> None:
    def key(**changes: Any) -> str:
        return read_message(Mode.STRUCTURED, {}, structured(**changes)).keys[0]

    same = key()
    assert key(type="other", time=None, subject="s") == same
    assert len({same, key(id="b"), key(source="/b"), key(source="/mycontextA", id="234-1234-1234")}) == 4


def test_pointers_lead_to_the_data() -> None:
    batch = read_message(Mode.BATCH, {}, b"[" + structured(id="1") + b"," + structured(id="2") + b"]")
    assert [batch.pointer(index) for index in range(2)] == ["/0/data", "/1/data"]
    assert read_message(Mode.STRUCTURED, {}, structured()).pointer(0) == "/data"
    assert read_message(Mode.BINARY, HEADERS, DATA).pointer(0) == ""


def test_an_event_without_data_is_null() -> None:
    bare = json.dumps(ATTRIBUTES).encode()
    assert read_message(Mode.STRUCTURED, {}, bare).events[0].raw == b"null"
    assert read_message(Mode.BINARY, HEADERS, b"").events[0].raw == b"null"


def test_attributes_in_headers_are_percent_decoded() -> None:
    plain = read_message(Mode.STRUCTURED, {}, structured(source="/euro/€"))
    assert read_message(Mode.BINARY, {**HEADERS, "ce-source": "/euro/%E2%82%AC"}, DATA).keys == plain.keys


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (structured(id=None), InvalidInput),
        (structured(id=""), InvalidInput),
        (structured(id=7), InvalidInput),
        (structured(source=None), InvalidInput),
        (structured(type=None), InvalidInput),
        (structured(specversion=None), InvalidInput),
        (structured(specversion="0.3"), InvalidInput),
        (structured(time="yesterday"), InvalidInput),
        (structured(time="2018-04-05T17:31:00"), InvalidInput),
        (structured(Extension="upper case"), InvalidInput),
        (structured(extension={"an": "object"}), InvalidInput),
        (structured(datacontenttype="text/xml"), UnsupportedMedia),
        (structured(data_base64="AA=="), UnsupportedMedia),
        (b'["not", "an", "object"]', InvalidInput),
        (b'{"id": 1, "id": 2}', NotJson),
        (b"{", NotJson),
    ],
)
def test_what_is_no_cloud_event_is_refused(body: bytes, error: type[JobicoError]) -> None:
    with pytest.raises(error):
        read_message(Mode.STRUCTURED, {}, body)


@pytest.mark.parametrize("body", [b"[]", b"{}", b"[1]", b"null"])
def test_what_is_no_batch_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        read_message(Mode.BATCH, {}, body)


def test_a_batch_is_bounded() -> None:
    most = b",".join([structured()] * limits.BATCH_EVENTS_MAX)
    assert len(read_message(Mode.BATCH, {}, b"[" + most + b"]").events) == limits.BATCH_EVENTS_MAX
    with pytest.raises(TooLarge):
        read_message(Mode.BATCH, {}, b"[" + most + b"," + structured() + b"]")
