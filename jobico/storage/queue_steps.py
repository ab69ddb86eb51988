"""How a change becomes a step of a transaction: its rows are encoded before the writer sees it.

Touches no store; `queue_session` has the verbs.
"""

from collections.abc import Callable
from typing import Any, Final

from jobico import change as changes
from jobico.change import Change
from jobico.storage.queue_rows import encode_record, event_rows
from jobico.storage.queue_session import QueueSession
from jobico.storage.values import size_of

__all__ = ["Step", "prepare"]

Step = Callable[[QueueSession], object]


def prepare(change: Change) -> tuple[Step, int]:
    """A change as a step of a transaction, its rows encoded; and about how many bytes it stores."""
    special = _PREPARE.get(type(change))
    if special is not None:
        return special(change)
    verb = _VERBS[type(change)]
    return lambda session: verb(session, change), 0


def _prepare_accept(change: changes.Accept) -> tuple[Step, int]:
    rows = event_rows(change.entries)
    ids = tuple([entry.event.id for entry in change.entries])
    return lambda session: session.accept(change, rows, ids), size_of(rows)


def _prepare_settle(change: changes.Settle) -> tuple[Step, int]:
    record, rows = encode_record(change.record), event_rows(change.follow_ups)
    return lambda session: session.settle(change, record, rows), size_of(record) + size_of(rows)


def _prepare_reschedule(change: changes.Reschedule) -> tuple[Step, int]:
    record = encode_record(change.record) if change.record is not None else []
    return lambda session: session.reschedule(change, record), size_of(record)


def _prepare_bury(change: changes.Bury) -> tuple[Step, int]:
    record, rows = encode_record(change.record), event_rows(change.follow_ups)
    return lambda session: session.bury(change, record, rows), size_of(record) + size_of(rows)


_PREPARE: Final[dict[type, Callable[[Any], tuple[Step, int]]]] = {
    changes.Accept: _prepare_accept,
    changes.Settle: _prepare_settle,
    changes.Reschedule: _prepare_reschedule,
    changes.Bury: _prepare_bury,
}
_VERBS: Final[dict[type, Callable[[QueueSession, Any], object]]] = {
    changes.StoreLease: QueueSession.store_lease,
    changes.Replay: QueueSession.replay,
    changes.Purge: QueueSession.purge,
    changes.Acknowledge: QueueSession.acknowledge,
    changes.Forget: QueueSession.forget,
}
