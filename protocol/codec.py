"""Messages to bytes and back: two frames, bounds first. It owns the bytes; it never touches a socket.

A message is a header frame, the msgpack array `[version, type, correlation, sender]`, and a payload frame,
the msgpack map of the type's fields (`SPEC.md`). What comes in is checked in this order: size, then that
it is plain bounded msgpack, then version, then type, then shape. All that fails is a `ProtocolError`.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

import msgpack
import msgspec

from jobico import limits
from jobico.errors import ProtocolError
from protocol.messages import MESSAGES, Message

__all__ = ["PROTOCOL_VERSION", "Header", "decode", "encode"]

PROTOCOL_VERSION: Final = 1
"""What the first element of every header says; it changes when an old peer could misread a new one."""

# PERF: a batch of 100 deliveries takes 0.11 us an item with this encoder, 0.63 us with `msgpack.packb` over
# `msgspec.to_builtins`; both write the same bytes (tests/unit/test_codec.py). Reading is 1.0 us an item.
_encoder = msgspec.msgpack.Encoder()

_SHORT_BYTES_MAX: Final = 64 * limits.KIB


class Header(msgspec.Struct, frozen=True, array_like=True):
    """What every message says of itself. Elements that a newer peer appends are ignored."""

    version: int
    type: str
    correlation: str  # of a request, and of its reply; else empty
    sender: str  # for people: never trusted (see `protocol/security.py`)


def encode(message: Message, *, correlation: str = "", sender: str = "") -> list[bytes]:
    """The two frames of `message`."""
    header = _encoder.encode(Header(PROTOCOL_VERSION, message.TYPE, correlation, sender))
    assert len(header) <= limits.HEADER_FRAME_BYTES_MAX
    return [header, _encoder.encode(message)]


def decode(
    frames: Sequence[bytes],
    *,
    bytes_max: int = limits.MESSAGE_BYTES_MAX,
    kinds: Collection[type[Message]] | None = None,
) -> tuple[Header, Message]:
    """The header and the message in two frames.

    Args:
        frames: What came off the socket, less any envelope or topic.
        bytes_max: The most that the payload may take.
        kinds: The types that are taken here; all by default. The payload of another is not even read.

    Raises:
        ProtocolError: the frames are no message of this version of the protocol, or not of `kinds`.
    """
    if len(frames) != 2:
        raise ProtocolError(f"A message has 2 frames, this one has {len(frames)}.")
    header = decode_header(frames[0])
    if len(frames[1]) > bytes_max:
        raise ProtocolError(f"A {header.type} of {len(frames[1])} bytes is over the bound of {bytes_max}.")
    kind = MESSAGES.get(header.type)
    if kind is None:
        raise ProtocolError(f"This node does not know the message type {header.type[:64]!r}.")
    if kinds is not None and kind not in kinds:
        raise ProtocolError(f"This socket takes no {kind.TYPE}.")
    try:
        return header, _read(frames[1], kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, MemoryError) as error:
        raise ProtocolError(f"This is no {header.type}: {error}."[:300]) from error


def decode_header(frame: bytes) -> Header:
    """The header in a frame; it is of this version.

    Raises:
        ProtocolError: it is too long, no header, or of another version.
    """
    if len(frame) > limits.HEADER_FRAME_BYTES_MAX:
        raise ProtocolError(
            f"A header of {len(frame)} bytes is over the bound of {limits.HEADER_FRAME_BYTES_MAX}."
        )
    raw = _unpack(frame)
    # NOTE: the version is looked at alone, before the shape: another version may have another shape.
    if not isinstance(raw, list) or not raw or type(raw[0]) is not int:
        raise ProtocolError("A header is an array that begins with the version of the protocol.")
    if raw[0] != PROTOCOL_VERSION:
        raise ProtocolError(
            f"The peer speaks version {raw[0]} of the protocol, this node version {PROTOCOL_VERSION}."
        )
    try:
        return msgspec.convert(raw, Header, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise ProtocolError(f"This is no header: {error}.") from error


def _read(payload: bytes, kind: type[Message]) -> Message:
    """The message in a payload of a known type.

    SECURITY: a byte of msgpack can become 64 bytes of empty lists, and five can claim 65 536 items. In a
    short payload that costs nothing. A long one is read straight into its type, which makes nothing of what
    the type has no place for; types with a place for anything come from nodes alone.
    """
    if kind in _OPEN:
        value = _unpack(payload)
        _check_depth(value)
    elif len(payload) > _SHORT_BYTES_MAX:
        return _decoders[kind].decode(payload)
    else:
        value = _unpack(payload)
    return msgspec.convert(value, kind, builtin_types=(bytes,))


def _refuse_extension(code: int, data: bytes) -> object:
    raise ValueError(f"extension type {code}")


def _unpack(data: bytes) -> Any:
    """Plain msgpack as lists, dicts with text keys, and scalars.

    SECURITY: an array's claimed length is reserved before its items are read. A list of that length is zero
    pages that nobody touches (a tuple would be written), and MESSAGE_ITEMS_MAX bounds nests of such claims.
    """
    try:
        return msgpack.unpackb(
            data,
            raw=False,
            use_list=True,
            strict_map_key=True,
            unicode_errors="strict",
            ext_hook=_refuse_extension,
            max_str_len=len(data),
            max_bin_len=len(data),
            max_array_len=min(len(data), limits.MESSAGE_ITEMS_MAX),
            max_map_len=len(data) // 2,
            max_ext_len=0,
        )
    except (ValueError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        raise ProtocolError(f"This is not plain msgpack: {type(error).__name__} {error}"[:200]) from error


def _check_depth(payload: object) -> None:
    """Refuses nests deeper than MESSAGE_DEPTH_MAX; breadth first, so that a deep one costs no stack."""
    level = [payload]
    for _ in range(limits.MESSAGE_DEPTH_MAX + 1):
        inner: list[object] = []
        for value in level:
            if type(value) is dict:
                inner.extend(value.values())
            elif type(value) is list:
                inner.extend(value)
        if not inner:
            return
        level = inner
    raise ProtocolError(f"A message nests deeper than {limits.MESSAGE_DEPTH_MAX}.")


def _open_types() -> frozenset[type[Message]]:
    """Types that hold `Any` somewhere: of these alone the shape does not bound the depth."""
    return frozenset(kind for kind in MESSAGES.values() if _holds_any(msgspec.inspect.type_info(kind), set()))


def _holds_any(info: object, seen: set[type]) -> bool:
    """True where a type has a place that takes any value (`object` is a `CustomType`)."""
    inner: Iterable[object] = ()
    match info:
        case msgspec.inspect.AnyType() | msgspec.inspect.CustomType():
            return True
        case msgspec.inspect.StructType(cls=cls, fields=fields) if cls not in seen:
            seen.add(cls)
            inner = [field.type for field in fields]
        case msgspec.inspect.DictType(value_type=value_type):
            inner = [value_type]
        case (
            msgspec.inspect.VarTupleType(item_type=item_type) | msgspec.inspect.ListType(item_type=item_type)
        ):
            inner = [item_type]
        case msgspec.inspect.TupleType(item_types=item_types):
            inner = item_types
        case msgspec.inspect.UnionType(types=types):
            inner = types
    return any(_holds_any(one, seen) for one in inner)


_OPEN: Final = _open_types()
_decoders: Final[dict[type[Message], msgspec.msgpack.Decoder[Message]]] = {
    kind: msgspec.msgpack.Decoder(kind) for kind in MESSAGES.values() if kind not in _OPEN
}
