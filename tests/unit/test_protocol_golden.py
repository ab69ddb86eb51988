"""The bytes of every message are what they were: a peer of any release of this version is understood."""

import msgpack
import msgspec
import pytest
from protocol_samples import CORRELATION, SENDER, forms, sample

from jobico.errors import ProtocolError
from protocol import codec
from protocol.messages import MESSAGES, Message

KINDS = [pytest.param(kind, id=name) for name, kind in sorted(MESSAGES.items())]


def _decode(payload: object, kind: type[Message]) -> Message:
    header = msgpack.packb([codec.PROTOCOL_VERSION, kind.TYPE, CORRELATION, SENDER])
    return codec.decode([header, msgpack.packb(payload)])[1]


def test_every_type_has_a_golden_form_and_no_form_is_of_an_unknown_type() -> None:
    assert forms().keys() == MESSAGES.keys(), "run: python tests/protocol_samples.py"


@pytest.mark.parametrize("kind", KINDS)
def test_the_bytes_of_a_message_are_the_golden_ones(kind: type[Message]) -> None:
    frames = codec.encode(sample(kind), correlation=CORRELATION, sender=SENDER)
    assert [frame.hex() for frame in frames] == forms()[kind.TYPE][-1], (
        "run: python tests/protocol_samples.py"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_form_ever_sent_is_understood_and_the_newest_is_whole(kind: type[Message]) -> None:
    for form in forms()[kind.TYPE]:
        header, message = codec.decode([bytes.fromhex(frame) for frame in form])
        assert header == codec.Header(1, kind.TYPE, CORRELATION, SENDER)
        assert type(message) is kind
    again = codec.encode(message, correlation=CORRELATION, sender=SENDER)
    assert [frame.hex() for frame in again] == form


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_that_only_a_newer_peer_knows_is_ignored(kind: type[Message]) -> None:
    payload = msgpack.unpackb(codec.encode(sample(kind))[1])
    newer = _decode({"field_of_tomorrow": [1, {"a": 2}], **payload}, kind)
    assert newer == _decode(payload, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_that_an_older_peer_does_not_know_has_its_default(kind: type[Message]) -> None:
    payload = msgpack.unpackb(codec.encode(sample(kind))[1])
    required = {field.encode_name for field in msgspec.structs.fields(kind) if field.required}
    older = _decode({key: value for key, value in payload.items() if key in required}, kind)
    for field in msgspec.structs.fields(kind):
        if not field.required:
            default = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
            assert getattr(older, field.name) == default


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_without_one_of_its_required_fields_is_refused(kind: type[Message]) -> None:
    payload = msgpack.unpackb(codec.encode(sample(kind))[1])
    for field in msgspec.structs.fields(kind):
        if field.required:
            with pytest.raises(ProtocolError, match=field.encode_name):
                _decode({key: value for key, value in payload.items() if key != field.encode_name}, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_of_another_type_is_refused(kind: type[Message]) -> None:
    payload = msgpack.unpackb(codec.encode(sample(kind))[1])
    for field in msgspec.structs.fields(kind):
        if field.type not in (object, msgspec.inspect.Any):
            with pytest.raises(ProtocolError):
                _decode({**payload, field.encode_name: [["neither"]]}, kind)
