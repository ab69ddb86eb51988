"""Helpers of tests with real sockets."""

import time
from collections.abc import Callable

from protocol.authorisation import Caller
from protocol.messages import Message, Ping, Pong
from protocol.server import Reactor, RequestHandler
from protocol.sockets import Wire

MakeWire = Callable[..., Wire]
Serve = Callable[..., Reactor]


def pong(_message: Ping, caller: Caller) -> Pong:
    """A handler that says who called."""
    return Pong(node=f"{caller.role}:{caller.tenant}", ready=True)


def until(condition: Callable[[], object], within_s: float = 5.0) -> None:
    """Returns when `condition` is true."""
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come true in time"
        time.sleep(0.002)


def answering(handlers: dict[type[Message], RequestHandler], at: str) -> Callable[[Reactor], None]:
    """What sets a reactor up to answer requests at an endpoint."""
    return lambda reactor: reactor.on_request(reactor.wire.rep(at), handlers)
