"""The events that an attempt makes: by `result.ok`, by `result.error`, and what the guest emitted. Pure.

- `ok`: the payload is the guest's result. What is not JSON becomes a JSON string.
- `error`: the payload is `{"code", "error", "event"}`, where `event` is the payload of the event that failed.
- emitted: the payload that the guest gave; only events that its runtime names under `emits`.

A follow-up is not checked against a schema: that guards the door to outside. One whose event has no route is
made all the same, and ends as dead letter `no-route` where somebody can see it.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from jobico.definition import Order
from jobico.errors import CallerError
from jobico.event import Emitted, Event, Source
from jobico.payload import order_key
from jobico.routes import Route, Routes

__all__ = ["FollowUps", "as_json"]

_encode = msgspec.json.Encoder().encode
_check = msgspec.json.Decoder(msgspec.Raw).decode
_decode = msgspec.json.Decoder().decode
_NULL: Final = b"null"


def as_json(text: bytes) -> bytes:
    """Returns `text` if it is JSON, else the JSON string of it; what is not UTF-8 in it is replaced."""
    try:
        text.decode()
        _check(text)
    except (UnicodeDecodeError, msgspec.DecodeError):
        return _encode(text.decode(errors="replace"))
    return text


class FollowUps:
    """Makes the follow-ups of one event.

    Args:
        parent: The event; its payload is not read.
        route: What it was leased with.
        routes: The current routes.
        new_id: Makes an event id.
        now_wall_ms: The stamp of the new events.
    """

    def __init__(
        self, parent: Event, route: Route, routes: Routes | None, new_id: Callable[[], str], now_wall_ms: int
    ) -> None:
        self._parent = parent
        self._route = route
        self._routes = routes
        self._new_id = new_id
        self._now_wall_ms = now_wall_ms

    def of_ok(self, result: bytes) -> list[Event]:
        """What the success of the event makes."""
        name = self._route.event.ok
        return [self._make(name, as_json(result), Source.RESULT)] if name else []

    def of_error(self, code: int, error: str, payload: bytes) -> list[Event]:
        """What the end of the event without success makes."""
        name = self._route.event.error
        if not name:
            return []
        body = b'{"code":%d,"error":%b,"event":%b}' % (code, _encode(error), payload or _NULL)
        return [self._make(name, body, Source.RESULT)]

    def of_emitted(self, emitted: Sequence[Emitted]) -> list[Event]:
        """What its guest asked for by host call."""
        if not emitted:
            return []
        allowed = self._emits()
        return [
            self._make(one.event, as_json(one.payload), Source.EMIT)
            for one in emitted
            if one.event in allowed
        ]

    def _emits(self) -> tuple[str, ...]:
        wanted = self._route.event.runtime
        for runtime in self._route.revision.definition.runtimes:
            if runtime.id == wanted:
                return runtime.emits
        return ()

    def _make(self, name: str, payload: bytes, source: Source) -> Event:
        parent = self._parent
        found = self._routes.find(parent.tenant, name) if self._routes else None
        order = found.queue.order if found else Order.NONE
        return Event(
            id=self._new_id(),
            tenant=parent.tenant,
            event=name,
            job=found.job if found else parent.job,
            queue=found.queue.id if found else parent.queue,
            payload=payload,
            accepted_ms=self._now_wall_ms,
            order_key=_key_of(payload, found.queue.key) if found and order is Order.KEY else "",
            ordered=order is not Order.NONE,
            source=source,
            parent=parent.id,
            hop=parent.hop + 1,
        )


def _key_of(payload: bytes, pointer: str) -> str:
    """The ordering key of a follow-up; those without one are ordered among themselves."""
    try:
        return order_key(_decode(payload), pointer)
    except CallerError:
        return ""
