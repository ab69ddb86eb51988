"""`env.emit(event, event_size, payload, payload_size) -> status`: asks for a follow-up event.

Denied unless the runtime's definition grants that event (`emits`). What was asked for becomes events in the
transaction of the settlement, and only if the attempt succeeds.
"""

from enum import IntEnum

import msgspec

from jobico import limits
from jobico.event import Emitted, Outcome
from jobico.sandbox.attempt import Attempt, BadPointer, Stop
from jobico.sandbox.host.function import HostFunction, function_type

__all__ = ["EMIT", "EmitStatus", "emit"]

_EVENT_NAME_BYTES_MAX = 64


class EmitStatus(IntEnum):
    """What `emit` answers."""

    DONE = 0
    DENIED = 1
    TOO_MANY = 2
    NOT_JSON = 3


def emit(attempt: Attempt, event: bytes, payload: bytes) -> EmitStatus:
    """Keeps a follow-up event if it is granted, within bounds and JSON."""
    name = event.decode("utf-8", "replace")
    if name not in attempt.spec.emits:
        return EmitStatus.DENIED
    if (
        len(attempt.emitted) >= limits.GUEST_EMITS_MAX
        or attempt.emitted_bytes + len(payload) > limits.GUEST_EMITS_BYTES_MAX
    ):
        return EmitStatus.TOO_MANY
    try:
        msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return EmitStatus.NOT_JSON
    attempt.emitted.append(Emitted(name, payload))
    attempt.emitted_bytes += len(payload)
    return EmitStatus.DONE


def _emit(attempt: Attempt, event: int, event_size: int, payload: int, payload_size: int) -> int:
    if event_size > _EVENT_NAME_BYTES_MAX:
        return EmitStatus.DENIED
    if payload_size > limits.GUEST_EMITS_BYTES_MAX:
        return EmitStatus.TOO_MANY
    try:
        return emit(
            attempt, attempt.memory.read(event, event_size), attempt.memory.read(payload, payload_size)
        )
    except BadPointer as error:
        raise Stop(Outcome.ABI_ERROR, f"emit: {error}.") from error


EMIT = HostFunction("env", "emit", function_type("iiii:i"), _emit)
