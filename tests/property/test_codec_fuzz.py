"""Whatever bytes come, the codec gives a message or a ProtocolError; what is encoded comes back."""

import msgpack
import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol_samples import sample, samples

from jobico.errors import ProtocolError
from jobico.event import Delivery, Outcome, Settlement
from protocol import codec
from protocol.messages import MESSAGES, Deliveries, Failure, Message, Records, Settlements

KINDS = st.sampled_from(sorted(MESSAGES.values(), key=lambda kind: kind.TYPE))
FORMS = [codec.encode(message) for message in samples()]

leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.binary(max_size=8)
    | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=8))
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6) | leaves, inner, max_size=4)
    ),
    max_leaves=12,
)
numbers = st.integers(0, 2**63 - 1)
texts = st.text(max_size=20)


def _decode(frames: list[bytes]) -> Message | None:
    """The message, or None where the codec refuses it as it should."""
    try:
        header, message = codec.decode(frames)
    except ProtocolError:
        return None
    assert MESSAGES[header.type] is type(message)
    return message


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=4))
def test_random_frames(frames: list[bytes]) -> None:
    _decode(frames)


@settings(max_examples=200, deadline=None)
@given(KINDS, st.binary(max_size=300))
def test_random_payloads_of_every_type(kind: type[Message], payload: bytes) -> None:
    _decode([codec.encode(sample(kind))[0], payload])


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(FORMS), st.data())
def test_damaged_messages(form: list[bytes], data: st.DataObject) -> None:
    frames = [bytearray(frame) for frame in form]
    for _ in range(data.draw(st.integers(1, 4))):
        frame = frames[data.draw(st.integers(0, 1))]
        if frame:
            frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    _decode([bytes(frame) for frame in frames])


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(FORMS), st.data())
def test_messages_that_are_cut_off_or_go_on(form: list[bytes], data: st.DataObject) -> None:
    header, payload = form
    cut = data.draw(st.integers(0, len(payload)))
    more = data.draw(st.binary(max_size=9))
    if cut < len(payload):
        assert _decode([header, payload[:cut]]) is None
    if more:
        assert _decode([header, payload + more]) is None


@settings(max_examples=200, deadline=None)
@given(KINDS, st.data())
def test_fields_with_any_value_of_msgpack(kind: type[Message], data: st.DataObject) -> None:
    payload = msgspec.to_builtins(sample(kind), builtin_types=(bytes,))
    for name in data.draw(st.lists(st.sampled_from([*kind.__struct_fields__, "unknown"]), max_size=3)):
        payload[name] = data.draw(values)
    message = _decode([codec.encode(sample(kind))[0], _pack(payload)])
    if message is not None:
        again = _decode(codec.encode(message))
        assert msgspec.to_builtins(again, builtin_types=(bytes,)) == msgspec.to_builtins(
            message, builtin_types=(bytes,)
        )


@settings(max_examples=200, deadline=None)
@given(values)
def test_headers_of_any_value_of_msgpack(header: object) -> None:
    frame = _pack(header)
    try:
        read = codec.decode_header(frame)
    except ProtocolError:
        return
    assert read.version == codec.PROTOCOL_VERSION


def _pack(value: object) -> bytes:
    return msgpack.packb(value)


deliveries = st.builds(
    Delivery,
    token=numbers, id=texts, tenant=texts, event=texts, job=texts, revision=numbers, attempt=numbers,
    runtime=st.binary(max_size=50), payload=st.binary(max_size=50),
)  # fmt: skip
settlements = st.builds(
    Settlement,
    token=numbers, outcome=st.sampled_from(Outcome), code=st.integers(-(2**63), 2**64 - 1), error=texts,
    result=st.binary(max_size=50), run_us=numbers, report=st.binary(max_size=50),
)  # fmt: skip
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | texts | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
messages = (
    st.builds(Deliveries, listener=texts, items=st.lists(deliveries, max_size=5).map(tuple))
    | st.builds(
        Settlements, executor=texts, instance=texts, items=st.lists(settlements, max_size=5).map(tuple)
    )
    | st.builds(Records, listener=texts, first=numbers, last=numbers, items=st.lists(st.binary()).map(tuple))
    | st.builds(Failure, code=texts, message=texts, detail=st.dictionaries(texts, plain, max_size=4))
)


@settings(max_examples=200, deadline=None)
@given(messages, texts, texts)
def test_every_message_comes_back_as_it_was(message: Message, correlation: str, sender: str) -> None:
    header, again = codec.decode(codec.encode(message, correlation=correlation, sender=sender))
    assert (header.type, header.correlation, header.sender) == (message.TYPE, correlation, sender)
    assert again == message
