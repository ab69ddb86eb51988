"""Which nodes there are: pure bookkeeping of heartbeats, by a clock that is given.

A row is stored and published only when something that others act on has changed; when a node was last seen,
and its load, are kept in memory alone. After a restart of control every stored node has NODE_LOST_MS to be
heard of.
"""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from jobico.errors import AlreadyExists
from jobico.limits import NODE_FORGOTTEN_MS, NODE_LOST_MS
from jobico.registry import NodeInfo

__all__ = ["Registry", "Sweep"]


class Sweep(NamedTuple):
    """What time has done: nodes that are lost from now on, and names to forget."""

    lost: tuple[NodeInfo, ...]
    forgotten: tuple[str, ...]


class Registry:
    """The nodes by name.

    Args:
        stored: What the catalog has from before.
        now_ms: Monotonic.
    """

    def __init__(self, stored: Iterable[NodeInfo], now_ms: int) -> None:
        self._rows = {node.name: node for node in stored}
        self._latest = dict(self._rows)
        self._seen_ms = dict.fromkeys(self._rows, now_ms)

    def beat(self, node: NodeInfo, now_ms: int, wall_ms: int) -> NodeInfo | None:
        """Takes a heartbeat; returns the row to store if it tells something new.

        Raises:
            AlreadyExists: a node of that name started later, so this one is a twin by mistake.
        """
        row = msgspec.structs.replace(node, load={}, seen_ms=0, lost=False)
        known = self._rows.get(node.name)
        if known is not None and known.instance != node.instance and known.started_ms > node.started_ms:
            raise AlreadyExists(
                f"Another node registered as {node.name!r} (pid {known.pid} on {known.host}): "
                "give one of them another JOBICO_NODE_NAME."
            )
        self._latest[node.name] = msgspec.structs.replace(node, seen_ms=wall_ms, lost=False)
        self._seen_ms[node.name] = now_ms
        if row == known:
            return None
        self._rows[node.name] = row
        return row

    def goodbye(self, name: str, instance: str) -> bool:
        """Forgets a node that leaves; False if it is not there, or another run of it is."""
        known = self._rows.get(name)
        if known is None or known.instance != instance:
            return False
        self._forget(name)
        return True

    def sweep(self, now_ms: int) -> Sweep:
        """Marks nodes that were not seen for NODE_LOST_MS, and forgets those not for NODE_FORGOTTEN_MS."""
        lost, forgotten = [], []
        for name, seen_ms in list(self._seen_ms.items()):
            row = self._rows[name]
            if now_ms - seen_ms > NODE_FORGOTTEN_MS:
                forgotten.append(name)
                self._forget(name)
            elif now_ms - seen_ms > NODE_LOST_MS and not row.lost:
                self._rows[name] = msgspec.structs.replace(row, lost=True, ready=False)
                self._latest[name] = msgspec.structs.replace(self._latest[name], lost=True, ready=False)
                lost.append(self._rows[name])
        return Sweep(tuple(lost), tuple(forgotten))

    def nodes(self) -> tuple[NodeInfo, ...]:
        """All nodes by name, with their load and when they were last seen."""
        return tuple(self._latest[name] for name in sorted(self._latest))

    def row(self, name: str) -> NodeInfo | None:
        """The stored part of a node."""
        return self._rows.get(name)

    def _forget(self, name: str) -> None:
        for table in (self._rows, self._latest, self._seen_ms):
            table.pop(name, None)
