"""What every message is: a payload with a type, and for a request the type of its reply."""

from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin

import msgspec

__all__ = ["MESSAGES", "Message", "ReplyT", "Request"]

MESSAGES: dict[str, type["Message"]] = {}
"""Every message type by the name that its header carries."""


class Message(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A payload; `TYPE` is what its header says."""

    TYPE: ClassVar[str] = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Registers the type."""
        super().__init_subclass__(**kwargs)
        name = cls.__dict__.get("TYPE")
        if name:
            assert name not in MESSAGES
            MESSAGES[name] = cls


ReplyT = TypeVar("ReplyT", bound=Message)
"""The type of what answers a request."""


class Request(Message, Generic[ReplyT], frozen=True):
    """A payload that is answered with a `REPLY`, or with a `Failure`."""

    REPLY: ClassVar[type[Message]] = Message

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Takes the type of the reply from the base class: `class Ping(Request[Pong])`."""
        super().__init_subclass__(**kwargs)
        for origin in cls.__dict__.get("__orig_bases__", ()):
            if get_origin(origin) is Request:
                (cls.REPLY,) = get_args(origin)
