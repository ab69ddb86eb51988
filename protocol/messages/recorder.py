"""Listener to recorder over PUSH and PULL, the feed, and questions about what was recorded."""

from protocol.messages.base import Message, Request

__all__ = [
    "Execution",
    "Executions",
    "Feed",
    "GetTotals",
    "ListExecutions",
    "Recorded",
    "Records",
    "ShowExecution",
    "Totals",
]


class Records(Message, frozen=True):
    """Listener to recorder: outbox rows `first` to `last`, without gaps."""

    TYPE = "records"
    listener: str
    first: int
    last: int
    items: tuple[bytes, ...]  # msgpack of a Record, each


class Recorded(Message, frozen=True):
    """Recorder to listener: outbox rows `first` to `upto` are committed.

    One answer to each `Records`. Rows before `first` may still be missing (a recorder that died with them),
    so a listener drops rows only where the answers join up.
    """

    TYPE = "recorded"
    upto: int
    first: int = 1


class Feed(Message, frozen=True):
    """Recorder on PUB, topic `x/TENANT/`: records of one tenant just committed, in the order of their rows.

    A subscriber that last saw a row of this tenant other than `previous` has missed some: it asks for them
    with ListExecutions.
    """

    TYPE = "feed"
    tenant: str
    previous: int  # row number of the tenant's record before these; 0 if the recorder does not know
    rows: tuple[int, ...]
    items: tuple[bytes, ...]  # msgpack of a Record, each


class Executions(Message, frozen=True):
    """Records with their row numbers; `next` is what to give as `before` for more, 0 if there are none."""

    TYPE = "executions"
    rows: tuple[tuple[int, bytes], ...]
    next: int = 0
    newest: int = 0  # row number of the newest record there is; the feed goes on from here


class ListExecutions(Request[Executions], frozen=True):
    """Asks for records, newest first; empty filters match all, `before` is where to go on from (or 0)."""

    TYPE = "execution.list"
    tenant: str = ""
    job: str = ""
    event: str = ""
    outcome: str = ""
    since_ms: int = 0
    before: int = 0
    after: int = -1  # from 0 on: rows above this one, oldest first, to catch up with the feed
    limit: int = 100


class Execution(Message, frozen=True):
    """Its records, by attempt."""

    TYPE = "execution"
    items: tuple[bytes, ...]


class ShowExecution(Request[Execution], frozen=True):
    """Asks for all attempts of one event."""

    TYPE = "execution.show"
    tenant: str
    id: str


class Totals(Message, frozen=True):
    """Counts of final records by outcome, of all records, and of bytes kept."""

    TYPE = "totals"
    final: dict[str, int]
    records: int
    kept_bytes: int


class GetTotals(Request[Totals], frozen=True):
    """Asks for counts since the recorder's store was made."""

    TYPE = "execution.totals"
    tenant: str = ""
