"""What the delivery machine asks its shell to do, as plain data.

A `Commit` with a tag is answered with `committed` or `commit_failed`; nothing else has an answer. What is
made for each event is kept from the garbage collector (`gc=False`): it is a tree, and short-lived.
"""

import msgspec

from jobico.change import Change, Entry
from jobico.event import Event, Record
from jobico.ordering import Pending

__all__ = [
    "Abort",
    "Assignment",
    "Commit",
    "Greet",
    "Instruction",
    "LeasesLost",
    "Refused",
    "Resolved",
    "Send",
    "Step",
]


class Step(msgspec.Struct, gc=False):
    """What becomes of an event once its change is stored: the tag of a `Commit`."""

    item: Pending
    change: Change
    token: int = 0  # of a lease that is to be stored: it may not be the event's any more by then
    record: Record | None = None
    follow_ups: tuple[Entry, ...] = ()
    final: bool = False  # the event has ended
    due_ms: int = 0  # of the next attempt; monotonic


class Commit(msgspec.Struct, frozen=True, gc=False):
    """Store these changes, all or none; without a tag nobody waits for it."""

    changes: tuple[Change, ...]
    tag: Step | None = None


class Assignment(msgspec.Struct, frozen=True):
    """One attempt for an executor; the shell adds the payload of `seq`."""

    seq: int
    token: int
    attempt: int
    event: Event
    revision: int
    runtime: bytes


class Send(msgspec.Struct, frozen=True):
    """Push these to an executor, in this order; what cannot be pushed goes back with `unsent`."""

    executor: str
    items: tuple[Assignment, ...]


class Abort(msgspec.Struct, frozen=True):
    """Tell an executor to end or drop these attempts."""

    executor: str
    tokens: tuple[int, ...]


class Greet(msgspec.Struct, frozen=True):
    """Say Hello to an executor until it answers: nothing is sent to it before."""

    executor: str


class Refused(msgspec.Struct, frozen=True):
    """For the log: a settlement that does not count; its token is no lease of that executor (any more)."""

    executor: str
    token: int


class LeasesLost(msgspec.Struct, frozen=True):
    """For the log: an executor has lost leases. `charged` is the event whose attempt was counted."""

    executor: str
    reason: str  # died, silent, forgot
    count: int
    charged: str = ""


class Resolved(msgspec.Struct, frozen=True):
    """An event has ended and that is stored; its final record."""

    record: Record


Instruction = Abort | Commit | Greet | LeasesLost | Refused | Resolved | Send
