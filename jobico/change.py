"""What a transaction of the listener's queue does, as plain data.

`jobico.delivery` decides and answers with changes; `jobico.storage.queue` applies them, all of one call in
one transaction that is synced before the caller hears of it. Sequence numbers (`seq`) and tokens are given by
the owner of the queue, in order; the store never makes one up.
"""

import msgspec

from jobico.event import Event, Record

__all__ = [
    "Accept",
    "AcceptResult",
    "Acknowledge",
    "Bury",
    "Change",
    "DeadLetter",
    "Entry",
    "Forget",
    "IdempotencyKey",
    "Lease",
    "Purge",
    "Replay",
    "Reschedule",
    "Settle",
    "StoreLease",
]


class Lease(msgspec.Struct, frozen=True):
    """Who may run an event now; `instance` tells one run of the executor process from the next."""

    token: int
    executor: str
    instance: str


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A stored event and how far it has come."""

    seq: int
    event: Event
    attempts: int = 0  # finished ones, those that died included
    deaths: int = 0  # how many of them ended with the death of their executor
    lease: Lease | None = None


class IdempotencyKey(msgspec.Struct, frozen=True):
    """A sender's key, scoped by the caller to tenant and event. Times are wall-clock milliseconds."""

    key: str
    body_digest: bytes
    now_ms: int
    expires_ms: int


class Accept(msgspec.Struct, frozen=True):
    """Stores new events, all or none. With a known idempotency key it stores nothing."""

    entries: tuple[Entry, ...]
    idempotency: IdempotencyKey | None = None


class AcceptResult(msgspec.Struct, frozen=True):
    """What `Accept` answers: the ids now stored under the key, `fresh` when this change stored them.

    A `Conflict` error is the answer where the key is known with another body.
    """

    ids: tuple[str, ...]
    fresh: bool


class StoreLease(msgspec.Struct, frozen=True):
    """Stores the lease of an event of an ordered queue before it is pushed; it outlives a restart."""

    seq: int
    lease: Lease


class Settle(msgspec.Struct, frozen=True):
    """Ends an event: removes it, puts its record into the outbox and its follow-ups into the queue."""

    seq: int
    record: Record
    follow_ups: tuple[Entry, ...] = ()


class Reschedule(msgspec.Struct, frozen=True):
    """Keeps an event for another attempt from `ready_at_ms` (wall) on; `record` goes to the outbox."""

    seq: int
    attempts: int
    deaths: int
    ready_at_ms: int
    record: Record | None


class Bury(msgspec.Struct, frozen=True):
    """Moves an event to the dead letters; `record` to the outbox, `result.error` follow-ups to the queue."""

    seq: int
    attempts: int
    deaths: int
    reason: str
    record: Record
    follow_ups: tuple[Entry, ...] = ()


class DeadLetter(msgspec.Struct, frozen=True, omit_defaults=True):
    """A dead letter as it is stored; the event with its payload, and what killed it."""

    event: Event
    attempts: int
    deaths: int
    reason: str
    buried_ms: int
    outcome: str
    code: int
    error: str


class Replay(msgspec.Struct, frozen=True):
    """Takes the dead letter of event `id` back into the queue as `entry`, with a new seq and no attempts."""

    id: str
    entry: Entry


class Purge(msgspec.Struct, frozen=True):
    """Deletes the dead letter of event `id`."""

    id: str


class Acknowledge(msgspec.Struct, frozen=True):
    """Drops outbox rows up to and including `upto`: the recorder has them."""

    upto: int


class Forget(msgspec.Struct, frozen=True):
    """Drops idempotency keys that expired before `now_ms` (wall), at most `count` of them."""

    now_ms: int
    count: int = 1_000


Change = Accept | StoreLease | Settle | Reschedule | Bury | Replay | Purge | Acknowledge | Forget
