"""JSON from strangers: bounded, strict, and split into events.

`parse_json` reads one text as RFC 8259 has it and refuses what readers disagree about: duplicate keys,
lone surrogates, NaN, a byte order mark, anything but UTF-8. `parse_body` reads what was posted: one event, or
a batch. Values are kept beside the bytes they came from, because what is stored and run is what the sender
wrote; nothing here ever writes a payload anew.
"""

import functools
import hashlib
import json
import re
from typing import Any, Final

import msgspec

from jobico import limits
from jobico.errors import InvalidInput, NotJson, SchemaViolation, TooLarge
from jobico.units import format_size

__all__ = ["Body", "Parsed", "order_key", "parse_body", "parse_json", "parse_pointer"]

_BATCH_KEY: Final = "data"
_BATCH_LEVELS: Final = 2  # the object and the list around the events of a batch
_ORDER_KEY_CHARS_MAX: Final = 256
_BOM: Final = b"\xef\xbb\xbf"
_WHITESPACE: Final = b" \t\r\n"
_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)*")
_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")


class Parsed(msgspec.Struct, frozen=True):
    """An event as bytes and as the value that they mean."""

    raw: bytes
    value: object


class Body(msgspec.Struct, frozen=True):
    """What was posted: one event, or with `batch` one or more."""

    events: tuple[Parsed, ...]
    batch: bool


class _Batch(msgspec.Struct, forbid_unknown_fields=True):
    data: list[msgspec.Raw]


_decode = msgspec.json.Decoder().decode
_decode_batch = msgspec.json.Decoder(_Batch).decode


def parse_body(body: bytes) -> Body:
    """Reads a posted body: JSON, where an object with a list under `data` and nothing else is a batch.

    Raises:
        TooLarge: it is over BODY_BYTES_MAX, or a batch of over BATCH_EVENTS_MAX.
        NotJson: see `parse_json`; an event has the same depth alone and in a batch.
        InvalidInput: the batch is empty.
    """
    if len(body) > limits.BODY_BYTES_MAX:
        raise TooLarge(f"The body is over {format_size(limits.BODY_BYTES_MAX)}.")
    value = _decode_strict(body)
    depth = _check_tree(value, body)
    data = value.get(_BATCH_KEY) if type(value) is dict and len(value) == 1 else None
    if type(data) is not list:
        _check_depth(depth, limits.JSON_DEPTH_MAX)
        return Body((Parsed(body, value),), batch=False)
    _check_depth(depth, limits.JSON_DEPTH_MAX + _BATCH_LEVELS)
    if not data:
        raise InvalidInput('The batch is empty: put one event or more into "data".')
    if len(data) > limits.BATCH_EVENTS_MAX:
        raise TooLarge(
            f"The batch has {len(data)} events; at most {limits.BATCH_EVENTS_MAX} are taken at once."
        )
    slices = _decode_batch(body).data
    return Body(tuple(Parsed(bytes(raw), item) for raw, item in zip(slices, data, strict=True)), batch=True)


def parse_json(content: bytes, *, depth_max: int = limits.JSON_DEPTH_MAX) -> object:
    """The value of a JSON text.

    Raises:
        NotJson: it is not JSON in UTF-8, has duplicate keys, lone surrogates, a byte order mark, a number
            past what a double (or an integer of 4 300 digits) holds, or nests deeper than `depth_max`.
    """
    value = _decode_strict(content)
    _check_depth(_check_tree(value, content), depth_max)
    return value


def parse_pointer(pointer: str) -> tuple[str, ...]:
    """The tokens of a JSON Pointer (RFC 6901).

    Raises:
        InvalidInput: it is not one.
    """
    if not _POINTER.fullmatch(pointer):
        raise InvalidInput(
            f"{pointer[:80]!r} is not a JSON Pointer: write it like /customer/id, with ~1 for / and ~0 for ~."
        )
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:])


def order_key(value: object, pointer: str) -> str:
    """What an event of a queue with `order: key` is ordered by: the string, number or boolean at `pointer`.

    A string and a number that read alike are one key. A key over 256 characters is shortened to its digest.

    Raises:
        SchemaViolation: nothing is there, or null, an object or a list.
    """
    found = value
    for token in _tokens(pointer):
        if isinstance(found, dict) and token in found:
            found = found[token]
        elif isinstance(found, list) and _INDEX.fullmatch(token) and int(token) < len(found):
            found = found[int(token)]
        else:
            raise _no_order_key(pointer, "is missing")
    if isinstance(found, float) and found.is_integer():
        found = int(found)
    if isinstance(found, str):
        key = found
    elif isinstance(found, bool | int | float):
        key = msgspec.json.encode(found).decode() if isinstance(found, bool) else str(found)
    else:
        raise _no_order_key(pointer, "is not a string, a number or a boolean")
    if len(key) > _ORDER_KEY_CHARS_MAX:
        key = hashlib.sha256(key.encode()).hexdigest()
    return key


_tokens = functools.lru_cache(maxsize=1_024)(parse_pointer)


def _no_order_key(pointer: str, why: str) -> SchemaViolation:
    message = f"The queue orders by {pointer}, which {why} in this event."
    return SchemaViolation(
        message, detail={"violations": [{"pointer": pointer, "keyword": "key", "message": message}]}
    )


def _decode_strict(content: bytes) -> object:
    """Decodes; refuses all that `parse_json` names but duplicate keys, and depth only past the stack's."""
    try:
        return _decode(content)
    except UnicodeDecodeError as error:
        raise NotJson("The text is not UTF-8, which JSON must be.") from error
    except RecursionError as error:
        raise NotJson("The JSON is nested too deep.") from error
    except msgspec.MsgspecError as error:
        if content.startswith(_BOM):
            raise NotJson(
                "The text begins with a byte order mark, which JSON must not: send it without."
            ) from error
        raise NotJson(
            f"Not JSON: {error}. Strings need paired surrogates; NaN and Infinity are no JSON."
        ) from error


def _check_tree(value: object, content: bytes) -> int:
    """The depth of a decoded value (0 for a scalar); refuses it if its text repeats a key in an object.

    PERF: the decoder keeps the last of two equal keys, so keys are counted twice: in the value, and in the
    text as quote-colon with white space taken out. The text's count is never too low, for each key ends
    that way, so equal counts prove that no key repeats (27 µs for a webhook of 6 KiB, decoding included).
    It can be too high, for a string may begin with a colon or hold an escaped quote before one; only then
    is the text read again by a parser that shows every key (another 34 µs).
    """
    keys = 0
    depth = 0
    level: list[Any] = [value] if type(value) is dict or type(value) is list else []
    while level:
        depth += 1
        below: list[Any] = []
        for node in level:
            children = node
            if type(node) is dict:
                keys += len(node)
                children = node.values()
            for child in children:
                kind = type(child)
                if kind is dict or kind is list:
                    below.append(child)
        level = below
    if keys != content.translate(None, _WHITESPACE).count(b'":'):
        _refuse_duplicates(content, depth)
    return depth


def _check_depth(depth: int, depth_max: int) -> None:
    if depth > depth_max:
        raise NotJson(f"The JSON is nested {depth} deep; at most {depth_max} levels are taken.")


def _refuse_duplicates(content: bytes, depth: int) -> None:
    # SAFETY: the standard library's parser recurses, so a text that is too deep anyway does not reach it.
    _check_depth(depth, limits.JSON_DEPTH_MAX + _BATCH_LEVELS)
    json.loads(content, object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, object]]) -> None:
    seen = set()
    for key, _ in pairs:
        if key in seen:
            raise NotJson(
                f"The key {key[:80]!r} is there twice in one object; readers disagree on which one counts."
            )
        seen.add(key)
