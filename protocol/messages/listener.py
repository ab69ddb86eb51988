"""Events and dead letters, asked of the listener that owns them."""

from typing import Any

from jobico.change import DeadLetter
from jobico.event import EventStatus
from protocol.messages.base import Message, Request
from protocol.messages.common import Done

__all__ = [
    "CancelEvent",
    "Counted",
    "DeadLetters",
    "EmitEvent",
    "EventAccepted",
    "EventShown",
    "Events",
    "EventsPosted",
    "ListDeadLetters",
    "ListEvents",
    "ListQueues",
    "PostEvents",
    "PurgeDeadLetters",
    "Queues",
    "ReplayDeadLetters",
    "ShowEvent",
]


class EventShown(Message, frozen=True):
    """The event."""

    TYPE = "event"
    status: EventStatus


class ShowEvent(Request[EventShown], frozen=True):
    """Asks a listener for one event that it owns or owned."""

    TYPE = "event.show"
    tenant: str
    id: str


class Events(Message, frozen=True):
    """Events in the queue.

    One map each: id, tenant, event, job, queue, state, attempts, accepted_ms, ready_at_ms, executor.
    """

    TYPE = "events"
    items: tuple[dict[str, Any], ...]
    total: int


class ListEvents(Request[Events], frozen=True):
    """Asks for events in the queue, oldest first; `state` empty is all of queued, running, delayed."""

    TYPE = "event.list"
    tenant: str = ""
    event: str = ""
    state: str = ""
    limit: int = 100


class CancelEvent(Request[Done], frozen=True):
    """Withdraws an event that is queued, delayed or running."""

    TYPE = "event.cancel"
    request_id: str
    tenant: str
    id: str


class EventAccepted(Message, frozen=True):
    """The id, whether made now or by an earlier request with the same key."""

    TYPE = "event.accepted"
    id: str


class EmitEvent(Request[EventAccepted], frozen=True):
    """Control's clock to a listener: accept this event once per `key`."""

    TYPE = "event.emit"
    request_id: str
    tenant: str
    event: str
    payload: bytes
    key: str


class EventsPosted(Message, frozen=True):
    """The ids, one an event of the body, in order."""

    TYPE = "event.posted"
    ids: tuple[str, ...]


class PostEvents(Request[EventsPosted], frozen=True):
    """Accept this body, an event or a batch, as if it were posted over HTTP with a key of the tenant."""

    TYPE = "event.post"
    request_id: str  # also the idempotency key
    tenant: str
    event: str
    body: bytes


class DeadLetters(Message, frozen=True):
    """Dead letters, payloads cut at RECORD_PAYLOAD_BYTES_MAX."""

    TYPE = "dead.letters"
    items: tuple[DeadLetter, ...]
    total: int


class ListDeadLetters(Request[DeadLetters], frozen=True):
    """Asks for dead letters, newest first; `before` is the id to go on from."""

    TYPE = "dead.list"
    tenant: str = ""
    event: str = ""
    reason: str = ""
    before: str = ""
    limit: int = 100


class Counted(Message, frozen=True):
    """How many things a bulk request did, and whether more match."""

    TYPE = "counted"
    count: int
    more: bool = False


class ReplayDeadLetters(Request[Counted], frozen=True):
    """Puts dead letters back into the queue: those of `ids`, or at most `limit` that match the filters."""

    TYPE = "dead.replay"
    request_id: str
    tenant: str
    ids: tuple[str, ...] = ()
    event: str = ""
    reason: str = ""
    limit: int = 1_000


class PurgeDeadLetters(Request[Counted], frozen=True):
    """Deletes dead letters, chosen as with replay."""

    TYPE = "dead.purge"
    request_id: str
    tenant: str
    ids: tuple[str, ...] = ()
    event: str = ""
    reason: str = ""
    limit: int = 1_000


class Queues(Message, frozen=True):
    """One map a queue: tenant, job, queue, ready, delayed, running, bytes, oldest_ms, dead."""

    TYPE = "queues"
    items: tuple[dict[str, Any], ...]
    outbox: int = 0  # records not yet acknowledged by the recorder


class ListQueues(Request[Queues], frozen=True):
    """Asks for the depth of each queue."""

    TYPE = "queue.list"
    tenant: str = ""
