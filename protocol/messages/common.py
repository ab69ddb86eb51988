"""What any node answers."""

from typing import Any

import msgspec

from protocol.messages.base import Message, Request

__all__ = [
    "Done",
    "Failure",
    "Ping",
    "Pong",
]


class Done(Message, frozen=True):
    """An answer that says no more than that it is done."""

    TYPE = "done"


class Failure(Message, frozen=True):
    """The answer to a request that failed: a stable code from `jobico.errors`, text for people, facts."""

    TYPE = "error"
    code: str
    message: str
    detail: dict[str, Any] = msgspec.field(default_factory=dict)


class Pong(Message, frozen=True):
    """Who answers, and whether it is ready to work."""

    TYPE = "pong"
    node: str
    ready: bool
    version: str = ""
    seq: int = 0  # the last change of control's tables that it works by; control: that it has made


class Ping(Request[Pong], frozen=True):
    """Asks a REP socket whether its node is ready."""

    TYPE = "ping"
