"""A copy of control's tables, kept in step by sequence numbers. Pure: no socket, no file, no clock.

The Clone pattern of the ZeroMQ guide, as a follower sees it:

    loading ──snapshot──▶ current ──gap, other epoch, or a quiet loss──▶ loading

While loading, changes wait in a buffer (the subscription is open before the snapshot is asked for), and those
that the snapshot already holds are dropped when it comes. What was known stays readable meanwhile.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from jobico.definition import Revision
from jobico.registry import NodeInfo
from jobico.tenancy import KeyInfo, TenantInfo
from protocol.messages import ControlChange, ControlSnapshot

__all__ = ["TABLES", "Replica", "TableChange"]

TABLES: Final[Mapping[str, type]] = {
    "tenants": TenantInfo,
    "keys": KeyInfo,
    "jobs": Revision,
    "nodes": NodeInfo,
    "secrets": bytes,
    "peers": str,
}
"""What the values of each table are; tables of a newer control are ignored."""

_BUFFERED_MAX: Final = 100_000


class TableChange(NamedTuple):
    """One change of a table, as typed values; `value` None deletes."""

    table: str
    key: str
    value: Any


class Replica:
    """The tables as of `seq` of `epoch`; `loading` until a snapshot makes them current.

    Values that do not have the shape of their table are left out and counted in `refused`: they come from a
    newer control, and what this node understands of the rest still stands.
    """

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, Any]] = {name: {} for name in TABLES}
        self.seq = 0
        self.epoch = ""
        self.loading = True
        self.refused = 0
        self._promised = 0  # the last change by the last `observe`
        self._buffer: list[ControlChange] = []

    def load(self, snapshot: ControlSnapshot) -> None:
        """Takes a snapshot, then what was buffered beyond it. A gap between the two leaves it loading."""
        self.tables = {name: {} for name in TABLES}
        for table, rows in snapshot.tables.items():
            for key, value in rows.items():
                self._put(table, key, value)
        self.seq, self.epoch, self.loading = snapshot.seq, snapshot.epoch, False
        self._promised = snapshot.seq
        waiting, self._buffer = self._buffer, []
        for change in waiting:
            self.apply(change)

    def restore(self, snapshot: ControlSnapshot) -> None:
        """Takes a snapshot that may be old, to work from until control answers."""
        self.load(snapshot)
        self.loading = True

    def apply(self, change: ControlChange) -> Sequence[TableChange]:
        """Takes the next change and returns what it did: nothing while loading, when old, or after a gap."""
        if self.loading:
            if len(self._buffer) < _BUFFERED_MAX:
                self._buffer.append(change)
            return ()
        if change.seq <= self.seq:
            return ()
        if change.seq != self.seq + 1:
            self._begin_loading(change)
            return ()
        self.seq = change.seq
        done = self._put(change.table, change.key, change.value)
        return (done,) if done else ()

    def observe(self, seq: int, epoch: str) -> None:
        """Compares with what control says is its last change; begins loading where changes were lost.

        NOTE: the answer to a heartbeat can overtake changes that are still under way, so a change is lost
        only if it is not in by the answer after that.
        """
        if not self.loading and (epoch != self.epoch or self.seq < self._promised):
            self._begin_loading(None)
        self._promised = seq

    def snapshot(self) -> ControlSnapshot:
        """The tables as a message, to be kept on disk."""
        return ControlSnapshot(seq=self.seq, epoch=self.epoch, tables=self.tables)

    def _begin_loading(self, first: ControlChange | None) -> None:
        self.loading = True
        self._buffer = [first] if first else []

    def _put(self, table: str, key: str, value: Any) -> TableChange | None:
        kind = TABLES.get(table)
        if kind is None:
            return None
        if value is None:
            self.tables[table].pop(key, None)
            return TableChange(table, key, None)
        try:
            typed = value if isinstance(value, kind) else msgspec.convert(value, kind, builtin_types=(bytes,))
        except msgspec.ValidationError:
            self.refused += 1
            return None
        self.tables[table][key] = typed
        return TableChange(table, key, typed)
