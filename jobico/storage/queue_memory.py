"""What the listener's queue remembers of its tables, and how it is read from them at open.

Changed by `QueueSession` alone, and only once a transaction is synced.
"""

from collections import Counter
from dataclasses import dataclass, field

from jobico.errors import CorruptRecord
from jobico.storage.dead_letters import DeadPlace, all_places
from jobico.storage.environment import META
from jobico.storage.queue_rows import Counters
from jobico.storage.transaction import Txn
from jobico.storage.values import unseal

__all__ = ["QueueMemory", "load_memory"]


@dataclass
class QueueMemory:
    """What the queue remembers of its tables; true as of the last commit."""

    counters: Counters
    first_row: int  # of the outbox; `counters.next_row` where that is empty
    next_dead: int
    stated: set[int] = field(default_factory=set)
    dead: Counter[DeadPlace] = field(default_factory=Counter)


def load_memory(txn: Txn) -> QueueMemory:
    """Reads what the queue remembers of its tables, and begins a new incarnation.

    Raises:
        CorruptRecord: its counters are damaged, and their copy too.
    """
    counters = _load_counters(txn)
    counters = counters._replace(incarnation=counters.incarnation + 1)
    txn.put(META, b"counters", counters.pack())
    txn.put(META, b"copy", counters.pack())
    outbox = txn.cursor("outbox")
    dead = txn.cursor("dead")
    return QueueMemory(
        counters=counters,
        first_row=int.from_bytes(outbox.key()) if outbox.first() else counters.next_row,
        next_dead=int.from_bytes(dead.key()[:8]) + 1 if dead.last() else 1,
        stated={int.from_bytes(key) for key, _ in txn.items("states")},
        dead=Counter(all_places(txn)),
    )


def _load_counters(txn: Txn) -> Counters:
    if txn.get(META, b"counters") is None:
        return Counters()
    for name in (b"counters", b"copy"):
        try:
            return Counters.unpack(unseal(txn.get(META, name) or b""))
        except CorruptRecord:
            continue
    raise CorruptRecord("The counters of the queue are damaged: restore it from a backup.")
