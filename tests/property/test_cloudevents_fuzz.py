"""Whatever is sent as a CloudEvent, it is one, or one of the documented errors comes out."""

import json

from hypothesis import given
from hypothesis import strategies as st

from jobico.errors import InvalidInput, NotJson, TooLarge, UnsupportedMedia
from nodes.listener.cloudevents import CloudMessage, Mode, read_message

DOCUMENTED = (InvalidInput, NotJson, TooLarge, UnsupportedMedia)
TEXT = st.text(max_size=12)
SCALAR = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
VALUE = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
)
NAMES = st.sampled_from(
    ["specversion", "id", "source", "type", "time", "subject", "datacontenttype", "dataschema", "data_base64",
     "data", "ext", "traceparent"]
)  # fmt: skip
RIGHT = st.fixed_dictionaries(
    {
        "specversion": st.just("1.0"),
        "id": st.text("abc-1", min_size=1),
        "source": st.sampled_from(["/a", "urn:x", "https://a.example/b?c"]),
        "type": st.just("com.example.x"),
    },
    optional={
        "time": st.datetimes(timezones=st.timezones()).map(lambda at: at.replace(fold=0).isoformat()),
        "subject": st.just("s"),
        "data": VALUE,
    },
)
ODD = st.builds(lambda right, odd: right | odd, RIGHT, st.dictionaries(NAMES | TEXT, VALUE, max_size=3))


def _read(mode: Mode, headers: dict[str, str], body: bytes) -> CloudMessage | None:
    try:
        message = read_message(mode, headers, body)
    except DOCUMENTED:
        return None
    assert len(message.events) == len(message.keys) >= 1
    for event, key in zip(message.events, message.keys, strict=True):
        assert json.loads(event.raw) == event.value
        assert key.startswith("cloudevent:")
        assert len(key) == len("cloudevent:") + 64
    return message


@given(st.sampled_from(list(Mode)), st.binary(max_size=200))
def test_arbitrary_bytes(mode: Mode, body: bytes) -> None:
    headers = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t"}
    _read(mode, headers, body)


@given(st.lists(ODD, max_size=3), st.booleans())
def test_events_with_odd_attributes(events: list[dict[str, object]], ascii_only: bool) -> None:
    def written(value: object) -> bytes:
        return json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")

    _read(Mode.BATCH, {}, written(events))
    for event in events:
        _read(Mode.STRUCTURED, {}, written(event))


@given(st.dictionaries(NAMES.map(lambda name: f"ce-{name}") | TEXT, st.text(max_size=40), max_size=6), VALUE)
def test_headers_of_any_kind(headers: dict[str, str], data: object) -> None:
    right = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t"}
    _read(Mode.BINARY, {**right, **headers}, json.dumps(data).encode())
    _read(Mode.BINARY, headers, json.dumps(data).encode())


@given(RIGHT)
def test_what_is_right_is_taken_and_the_same_source_and_id_are_the_same_key_in_every_mode(
    event: dict[str, object],
) -> None:
    body = json.dumps(event).encode()
    structured = _read(Mode.STRUCTURED, {}, body)
    batch = _read(Mode.BATCH, {}, b"[" + body + b"]")
    attributes = {f"ce-{name}": str(value) for name, value in event.items() if name != "data"}
    binary = _read(Mode.BINARY, attributes, json.dumps(event.get("data")).encode())
    assert structured is not None
    assert batch is not None
    assert binary is not None
    assert structured.keys == batch.keys == binary.keys
