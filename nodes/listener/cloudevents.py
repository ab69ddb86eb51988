"""CloudEvents 1.0 over HTTP: what a message in binary, structured or batch mode means as events.

The event that is stored is the `data`; `source` and `id` together are its idempotency key. The SDK is the
authority on attributes. Pure: it knows no request and stores nothing.
"""

import datetime
import hashlib
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import msgspec
from cloudevents.core.exceptions import CloudEventValidationError
from cloudevents.core.v1.event import CloudEvent

from jobico import limits
from jobico.errors import InvalidInput, TooLarge, UnsupportedMedia
from jobico.payload import Parsed, parse_json

__all__ = ["BATCH_TYPE", "STRUCTURED_TYPE", "CloudMessage", "Mode", "is_json", "mode_of", "read_message"]

STRUCTURED_TYPE: Final = "application/cloudevents+json"
BATCH_TYPE: Final = "application/cloudevents-batch+json"

_PREFIX: Final = "ce-"
_REQUIRED: Final = ("specversion", "id", "source", "type")
_ENVELOPE_LEVELS: Final = 2  # the list and the object around the data of a batch
_REASON_CHARS_MAX: Final = 500


class Mode(StrEnum):
    """How a CloudEvent is laid out in a message; the value is the JSON Pointer of an event's data."""

    BINARY = ""
    STRUCTURED = "/data"
    BATCH = "/{index}/data"


class CloudMessage(NamedTuple):
    """The events of a message, and the idempotency key of each."""

    mode: Mode
    events: tuple[Parsed, ...]
    keys: tuple[str, ...]

    def pointer(self, index: int) -> str:
        """Where in the body the data of that event is."""
        return self.mode.value.format(index=index)


class _Envelope(msgspec.Struct):
    data: msgspec.Raw = msgspec.Raw(b"null")


_slice_one = msgspec.json.Decoder(_Envelope).decode
_slice_batch = msgspec.json.Decoder(list[_Envelope]).decode


def mode_of(content_type: str | None, specversion: str | None) -> Mode | None:
    """The mode of a message by its content type and its `ce-specversion`; None where it is no CloudEvent."""
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind == STRUCTURED_TYPE:
        return Mode.STRUCTURED
    if kind == BATCH_TYPE:
        return Mode.BATCH
    return None if specversion is None else Mode.BINARY


def is_json(content_type: str) -> bool:
    """True for JSON and what is written in it."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def read_message(mode: Mode, headers: Mapping[str, str], body: bytes) -> CloudMessage:
    """Reads a message.

    Args:
        mode: What `mode_of` said.
        headers: Of the request, by lower-case name; they matter in binary mode alone.
        body: As it was sent.

    Raises:
        NotJson, InvalidInput, TooLarge, UnsupportedMedia: it is no CloudEvent, or not one whose data is JSON.
    """
    if mode is Mode.BINARY:
        attributes = {
            name.removeprefix(_PREFIX): unquote(value)
            for name, value in headers.items()
            if name.startswith(_PREFIX)
        }
        key = _key_of(attributes)
        data = Parsed(body, parse_json(body)) if body else Parsed(b"null", None)
        return CloudMessage(mode, (data,), (key,))
    value = parse_json(body, depth_max=limits.JSON_DEPTH_MAX + _ENVELOPE_LEVELS)
    if mode is Mode.STRUCTURED:
        if not isinstance(value, dict):
            raise InvalidInput("A CloudEvent in structured mode is a JSON object.")
        return CloudMessage(
            mode, (Parsed(bytes(_slice_one(body).data), value.get("data")),), (_key_of(value),)
        )
    if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
        raise InvalidInput("A batch of CloudEvents is a JSON array of one event or more.")
    if len(value) > limits.BATCH_EVENTS_MAX:
        raise TooLarge(
            f"The batch has {len(value)} events; at most {limits.BATCH_EVENTS_MAX} are taken at once."
        )
    slices = _slice_batch(body)
    events = tuple(Parsed(bytes(one.data), item.get("data")) for one, item in zip(slices, value, strict=True))
    return CloudMessage(mode, events, tuple(_key_of(item) for item in value))


def _key_of(attributes: Mapping[str, Any]) -> str:
    """The idempotency key of an event whose attributes are right.

    Raises:
        InvalidInput: they are not.
        UnsupportedMedia: its data is not JSON.
    """
    given = {name: value for name, value in attributes.items() if name != "data" and value is not None}
    # NOTE: the SDK makes up an id, a time and a version where there is none.
    missing = [name for name in _REQUIRED if name not in given]
    if missing:
        raise InvalidInput(f"The CloudEvent has no {' and no '.join(missing)}.")
    if "data_base64" in given or not is_json(str(given.get("datacontenttype", "application/json"))):
        raise UnsupportedMedia("The data of a CloudEvent must be JSON here.")
    odd = [name for name, value in given.items() if not isinstance(value, str | int)]
    if odd:
        raise InvalidInput(
            f"The attribute {odd[0][:40]!r} of the CloudEvent is no string, integer or boolean."
        )
    if "time" in given:
        given["time"] = _time(given["time"])
    try:
        CloudEvent(given)
    except CloudEventValidationError as error:
        reasons = "; ".join(str(one) for found in error.errors.values() for one in found)
        raise InvalidInput(f"The CloudEvent is not right: {reasons[:_REASON_CHARS_MAX]}.") from error
    identity = f"{given['source']}\0{given['id']}".encode("utf-8", "surrogatepass")
    return "cloudevent:" + hashlib.sha256(identity).hexdigest()


def _time(text: object) -> datetime.datetime:
    try:
        return datetime.datetime.fromisoformat(str(text).upper())
    except ValueError as error:
        raise InvalidInput("The time of the CloudEvent is not one as RFC 3339 has it.") from error
