"""The Jobicolet component in Python: decorate one function with `handler`.

    from jobicolet import WitWorld, fail, handler, log

    @handler
    def handle(event):
        log("info", "working")
        return {"done": True}

The function is given the event as parsed JSON and returns what JSON can hold. `context()` tells the rest.
"""

import json
from collections.abc import Callable
from typing import Any

import wit_world
from componentize_py_types import Err
from wit_world.imports import host
from wit_world.imports.types import Event, Failure

_handler: Callable[[Any], Any] | None = None
_event: Event | None = None


def handler(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Makes `function` the one that handles events."""
    global _handler
    _handler = function
    return function


def context() -> Event:
    """The event being handled: id, name, tenant, attempt, and its payload as bytes."""
    assert _event is not None, "there is no event outside the handler"
    return _event


def log(level: str, message: str) -> None:
    """Logs one line: debug, info, warning, error, fatal, panic or none."""
    host.log(host.Level[level.upper()], message)


def emit(event: str, payload: Any) -> None:
    """Asks for a follow-up event, which the job definition must grant."""
    host.emit(event, json.dumps(payload).encode())


def fail(code: int, message: str) -> None:
    """Ends this attempt as failed, with a code that is not 0."""
    raise Err(Failure(code, message))


class WitWorld(wit_world.WitWorld):
    """What componentize-py calls."""

    def handle(self, event: Event) -> bytes:
        """Hands the event to the function."""
        global _event
        _event = event
        assert _handler is not None, "decorate a function with @handler"
        return json.dumps(_handler(json.loads(event.payload))).encode()
