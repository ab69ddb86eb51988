"""The codec takes messages of this version within their bounds; all else is a ProtocolError."""

import contextlib
import random
import resource
import time

import msgpack
import msgspec
import pytest
from protocol_samples import sample, samples

from jobico import limits
from jobico.errors import ProtocolError
from protocol import codec
from protocol.messages import (
    ArtifactContent,
    ControlChange,
    ControlSnapshot,
    Deliveries,
    Events,
    EventShown,
    Failure,
    GetArtifact,
    Message,
    Ping,
    Queues,
    Records,
    Settlements,
)

PING = codec.encode(Ping())


def _frames(payload: object, kind: type[Message] = Ping, version: int = 1) -> list[bytes]:
    return [msgpack.packb([version, kind.TYPE, "", ""]), msgpack.packb(payload)]


def _nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("message", samples(), ids=lambda message: message.TYPE)
def test_the_fast_encoder_writes_the_bytes_that_msgpack_writes(message: Message) -> None:
    assert codec.encode(message)[1] == msgpack.packb(msgspec.to_builtins(message, builtin_types=(bytes,)))


@pytest.mark.parametrize("message", samples(), ids=lambda message: message.TYPE)
def test_what_is_encoded_decodes_to_the_same(message: Message) -> None:
    header, again = codec.decode(codec.encode(message, correlation="7", sender="listener"))
    assert header == codec.Header(codec.PROTOCOL_VERSION, message.TYPE, "7", "listener")
    assert msgspec.to_builtins(again) == msgspec.to_builtins(message)


def test_bytes_that_are_no_text_stay_bytes() -> None:
    content = bytes(range(256))
    assert codec.decode(codec.encode(ArtifactContent(content=content)))[1] == ArtifactContent(content=content)


@pytest.mark.parametrize("count", [0, 1, 3, 9])
def test_a_message_of_other_than_two_frames_is_refused(count: int) -> None:
    with pytest.raises(ProtocolError, match="2 frames"):
        codec.decode([*PING, b"", b"", b"", b"", b"", b"", b""][:count])


def test_a_header_at_its_bound_passes_and_one_byte_more_is_refused() -> None:
    longest = "s" * (limits.HEADER_FRAME_BYTES_MAX - len(codec.encode(Ping(), sender="s" * 256)[0]) + 256)
    header, payload = codec.encode(Ping(), sender=longest)
    assert len(header) == limits.HEADER_FRAME_BYTES_MAX
    assert codec.decode([header, payload])[0].sender == longest
    with pytest.raises(ProtocolError, match="header of 513 bytes"):
        codec.decode([header + b"\0", payload])


def test_a_payload_at_its_bound_passes_and_one_byte_more_is_refused() -> None:
    frames = codec.encode(ArtifactContent(content=b"x" * 100))
    assert codec.decode(frames, bytes_max=len(frames[1]))
    with pytest.raises(ProtocolError, match="over the bound"):
        codec.decode(frames, bytes_max=len(frames[1]) - 1)


def test_the_size_is_checked_before_the_payload_is_read() -> None:
    with pytest.raises(ProtocolError, match="over the bound"):
        codec.decode([PING[0], b"\xc1" * 9], bytes_max=8)


def test_the_version_is_checked_before_type_and_shape() -> None:
    for header in ([2, "no-such-type", "", ""], [2], [2, {"another": "shape"}], [0, "ping", "", ""]):
        with pytest.raises(ProtocolError, match="speaks version"):
            codec.decode([msgpack.packb(header), PING[1]])


def test_an_unknown_type_is_refused_by_its_name() -> None:
    with pytest.raises(ProtocolError, match="no-such-type"):
        codec.decode([msgpack.packb([1, "no-such-type", "", ""]), b"\xc1"])


def test_a_header_that_a_newer_peer_made_longer_is_read() -> None:
    header, _ = codec.decode([msgpack.packb([1, "ping", "7", "me", {"new": 1}]), PING[1]])
    assert header == codec.Header(1, "ping", "7", "me")


@pytest.mark.parametrize(
    "header",
    [
        {},
        None,
        1,
        "ping",
        [],
        ["1", "ping"],
        [True, "ping", "", ""],
        [1],
        [1, 2, "", ""],
        [1, "ping", b"", ""],
    ],
)
def test_what_is_no_header_is_refused(header: object) -> None:
    with pytest.raises(ProtocolError):
        codec.decode([msgpack.packb(header), PING[1]])


def test_what_follows_the_payload_in_its_frame_is_refused() -> None:
    with pytest.raises(ProtocolError):
        codec.decode([PING[0], PING[1] + b"\xc0"])


@pytest.mark.parametrize("payload", [None, 1, [], "text", [1, 2]])
def test_a_payload_that_is_no_map_is_refused(payload: object) -> None:
    with pytest.raises(ProtocolError):
        codec.decode(_frames(payload))


@pytest.mark.parametrize(
    "bomb",
    [
        pytest.param(b"\xdd\xff\xff\xff\xff", id="array of 2**32-1"),
        pytest.param(b"\xdf\xff\xff\xff\xff", id="map of 2**32-1"),
        pytest.param(b"\xdb\xff\xff\xff\xff", id="text of 2**32-1 bytes"),
        pytest.param(b"\xc6\xff\xff\xff\xff", id="bytes of 2**32-1"),
        pytest.param(b"\xc9\xff\xff\xff\xff\x01", id="extension of 2**32-1 bytes"),
        pytest.param(b"\xdd\x00\x01\x00\x01" * 1_000, id="arrays of one too many items, nested"),
        pytest.param(b"\xdd\x00\x01\x00\x00" * 2_000, id="arrays of the most items, nested"),
        pytest.param(b"\x91" * 100_000 + b"\xc0", id="100 000 arrays, nested"),
        pytest.param(b"\x81\xa1a" * 100_000 + b"\xc0", id="100 000 maps, nested"),
        pytest.param(b"\x81" * 1_000, id="maps as keys"),
        pytest.param(b"\xd4\x01\x00", id="extension type"),
        pytest.param(b"\xc7\x00\x05", id="extension type without data"),
        pytest.param(b"\xd6\xff\x00\x00\x00\x00", id="time stamp"),
        pytest.param(b"\xc7\x0c\xff" + b"\xff" * 12, id="time stamp out of range"),
        pytest.param(b"\xa2\xff\xfe", id="no UTF-8"),
        pytest.param(b"\xa3\xed\xa0\x80", id="lone surrogate"),
        pytest.param(b"\x81\x01\x02", id="number as key"),
        pytest.param(b"\x81\xc0\x02", id="nil as key"),
        pytest.param(b"\xc1", id="byte that is never used"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x81\xa6detail", id="cut off"),
    ],
)
@pytest.mark.parametrize("place", ["payload", "field", "header"])
def test_a_msgpack_bomb_is_refused(bomb: bytes, place: str) -> None:
    header = msgpack.packb([1, Failure.TYPE, "", ""])
    field = b"\x83\xa4code\xa1c\xa7message\xa1m\xa6detail\x81\xa1x"
    frames = {"payload": [header, bomb], "field": [header, field + bomb], "header": [bomb, b"\x80"]}[place]
    with pytest.raises(ProtocolError):
        codec.decode(frames)


@pytest.mark.parametrize(
    "bomb",
    [
        pytest.param(b"\xdd\x00\x01\x00\x00" * 400_000, id="claims, nested"),
        pytest.param(b"\xdc\x00\x80" + (b"\xdd\x00\x00\xff\xff" + b"\x90" * 65_535) * 128, id="empty arrays"),
        pytest.param(b"\xdc\x00\x80" + (b"\xdd\x00\x00\xff\xff" + b"\x80" * 65_535) * 128, id="empty maps"),
        pytest.param(b"\x91" * 5_000_000, id="depth"),
    ],
)
@pytest.mark.parametrize("place", [b"", b"\x84\xa5other", b"\x84\xa8listener"])
def test_a_large_bomb_is_refused_or_skipped_at_no_cost(bomb: bytes, place: bytes) -> None:
    """As the payload, in a field that the type does not have, and in one that it has."""
    header = codec.encode(sample(Records))[0]
    rest = b"\xa8listener\xa1l\xa5first\x01\xa4last\x01\xa5items\x90"
    payload = place + bomb + (rest if b"other" in place else b"")
    peak_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    spent_s = time.process_time()
    with contextlib.suppress(ProtocolError):
        codec.decode([header, payload])
    assert time.process_time() - spent_s < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak_before < 64 * 1024


def test_the_payload_of_a_type_that_is_not_taken_is_not_read() -> None:
    with pytest.raises(ProtocolError, match="takes no error"):
        codec.decode([msgpack.packb([1, "error", "", ""]), b"\xc1"], kinds={Ping})


def test_a_long_payload_is_held_to_its_shape_as_a_short_one_is() -> None:
    content = bytes(200_000)
    for payload in ({"content": content}, {"content": content, "new": {"a": [1]}}):
        assert codec.decode(_frames(payload, ArtifactContent))[1] == ArtifactContent(content=content)
    for payload in ({"content": "x" * 200_000}, {"content": [content]}, {"other": content}, [content]):
        with pytest.raises(ProtocolError):
            codec.decode(_frames(payload, ArtifactContent))
    with pytest.raises(ProtocolError):
        codec.decode([_frames({}, GetArtifact)[0], b"\x81\xa6digest\xdb\x00\x03\x0d\x40" + b"\xff" * 200_000])


def test_what_a_refused_message_says_is_short_and_shows_no_payload() -> None:
    secret = b"\xda\x01\x00" + b"s3cret-" * 36
    with pytest.raises(ProtocolError) as caught:
        codec.decode(_frames({"digest": msgpack.unpackb(b"\xc4\x04abcd"), "tenant": 1}, GetArtifact))
    assert len(caught.value.message) < 300
    with pytest.raises(ProtocolError) as caught:
        codec.decode([PING[0], secret])
    assert "s3cret" not in caught.value.message


@pytest.mark.parametrize(
    ("kind", "wrap", "depth"),
    [
        (Failure, lambda value: {"code": "c", "message": "m", "detail": {"x": value}}, 2),
        (ControlChange, lambda value: {"seq": 1, "table": "t", "key": "k", "value": value}, 1),
        (ControlSnapshot, lambda value: {"seq": 1, "epoch": "e", "tables": {"t": {"k": value}}}, 3),
        (Events, lambda value: {"items": [{"x": value}], "total": 1}, 3),
        (Queues, lambda value: {"items": [{"x": value}]}, 3),
    ],
)
def test_nests_at_the_bound_pass_and_one_deeper_is_refused(
    kind: type[Message], wrap: object, depth: int
) -> None:
    assert callable(wrap)
    codec.decode(_frames(wrap(_nested(limits.MESSAGE_DEPTH_MAX - depth)), kind))
    with pytest.raises(ProtocolError, match="deeper than 32"):
        codec.decode(_frames(wrap(_nested(limits.MESSAGE_DEPTH_MAX - depth + 1)), kind))


def test_every_type_with_a_place_for_any_value_has_its_depth_checked() -> None:
    deep = _nested(limits.MESSAGE_DEPTH_MAX + 1)
    status = {**msgspec.to_builtins(sample(EventShown), builtin_types=(bytes,))["status"], "result": deep}
    with pytest.raises(ProtocolError, match="deeper"):
        codec.decode(_frames({"status": status}, EventShown))


def test_an_array_at_the_bound_of_items_passes_and_one_more_is_refused() -> None:
    def change(count: int) -> list[bytes]:
        return _frames({"seq": 1, "table": "t", "key": "k", "value": [None] * count}, ControlChange)

    codec.decode(change(limits.MESSAGE_ITEMS_MAX))
    with pytest.raises(ProtocolError):
        codec.decode(change(limits.MESSAGE_ITEMS_MAX + 1))


def test_random_bytes_and_damaged_messages_raise_nothing_but_protocol_errors() -> None:
    rng = random.Random(20)
    honest = [codec.encode(sample(kind)) for kind in (Deliveries, Settlements, ControlSnapshot, Failure)]
    for _ in range(3_000):
        header, payload = rng.choice(honest)
        damaged = bytearray(payload)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        for frames in ([header, bytes(damaged)], [rng.randbytes(20), payload], [header, rng.randbytes(40)]):
            with contextlib.suppress(ProtocolError):
                codec.decode(frames)
