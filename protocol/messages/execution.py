"""Listener and executor, over PUSH and PULL: deliveries there, settlements back, leases in between."""

from jobico.event import Delivery, Settlement
from protocol.messages.base import Message

__all__ = [
    "Abort",
    "Deliveries",
    "Hello",
    "Renewal",
    "Returned",
    "Settlements",
    "Welcome",
]


class Deliveries(Message, frozen=True):
    """Listener to executor: run these, in this order."""

    TYPE = "deliveries"
    listener: str
    items: tuple[Delivery, ...]


class Hello(Message, frozen=True):
    """Listener to executor, first on every new connection, and again while unanswered: who are you?"""

    TYPE = "hello"
    listener: str
    instance: str  # of the listener


class Welcome(Message, frozen=True):
    """Executor to listener, in answer to Hello: this run of me, and the tokens of yours that I hold."""

    TYPE = "welcome"
    executor: str
    instance: str
    held: tuple[int, ...] = ()


class Settlements(Message, frozen=True):
    """Executor to listener: what came of these attempts."""

    TYPE = "settlements"
    executor: str
    instance: str
    items: tuple[Settlement, ...]


class Renewal(Message, frozen=True):
    """Executor to listener, each LEASE_RENEW_MS while it holds any: the tokens that I still hold."""

    TYPE = "renewal"
    executor: str
    instance: str
    running: int = 0  # token; 0 is none of this listener's
    held: tuple[int, ...] = ()
    parked: tuple[int, ...] = ()  # of those: put aside until their module is here; the others pass them


class Returned(Message, frozen=True):
    """Executor to listener: these I have not begun and will not, take them back (no attempt is counted)."""

    TYPE = "returned"
    executor: str
    instance: str
    tokens: tuple[int, ...]
    draining: bool = False  # the executor is stopping: send no more


class Abort(Message, frozen=True):
    """Listener to executor: end this attempt if it runs, drop it if it waits; settle it as cancelled."""

    TYPE = "abort"
    listener: str
    tokens: tuple[int, ...]
