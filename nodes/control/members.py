"""Requests about nodes: heartbeats, goodbyes, the registry, and the snapshot that they all follow."""

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Final

import msgspec

from jobico.clock import Clock
from jobico.logs import Action, get_logger
from jobico.registry import NodeInfo
from jobico.storage.catalog import Catalog, CatalogEdit
from nodes.control.changes import Changes
from nodes.control.registry import Registry
from protocol.authorisation import Caller
from protocol.messages import (
    ControlSnapshot,
    Done,
    GetSnapshot,
    Goodbye,
    Heartbeat,
    HeartbeatSeen,
    ListNodes,
    Message,
    Nodes,
)
from protocol.server import RequestHandler

__all__ = ["MemberHandlers"]

_ASKED_BY_TENANTS: Final = ("listener", "recorder", "repository")


def _reachable(node: NodeInfo) -> NodeInfo:
    """What a tenant needs of a node: no load, process or machine, which tell of others."""
    endpoints = {name: address for name, address in node.endpoints.items() if name in ("rep", "pub", "http")}
    return msgspec.structs.replace(node, endpoints=endpoints, pid=0, host="", load={})


class MemberHandlers:
    """Answers Heartbeat, Goodbye, ListNodes, GetSnapshot. It belongs to the thread of control's loop.

    Args:
        catalog: Where rows are stored.
        changes: How they change.
        clock: Tells how long a node was not heard of.
    """

    def __init__(self, catalog: Catalog, changes: Changes, clock: Clock) -> None:
        self._catalog = catalog
        self._changes = changes
        self._clock = clock
        self._log = get_logger()
        with catalog.view() as view:
            self._registry = Registry(view.nodes(), clock.monotonic_ms())
            self._published = view.seq

    @property
    def handlers(self) -> Mapping[type[Message], RequestHandler]:
        """By the request that each answers."""
        return {
            Heartbeat: self.beat,
            Goodbye: self.goodbye,
            ListNodes: self.list,
            GetSnapshot: self.snapshot,
        }

    @property
    def seq(self) -> int:
        """The last change that was sent to the followers."""
        return self._published

    def published(self, seq: int) -> None:
        """Hears which that is."""
        self._published = seq

    def beat(self, message: Heartbeat, _caller: Caller) -> HeartbeatSeen:
        """Takes a heartbeat; the answer tells the last change that was sent."""
        self.register(message.node)
        return HeartbeatSeen(seq=self._published, epoch=self._catalog.epoch)

    def register(self, node: NodeInfo) -> None:
        """Takes what a node says of itself, and stores what others must know of it."""
        known = self._registry.row(node.name)
        row = self._registry.beat(node, self._clock.monotonic_ms(), self._clock.wall_ms())
        if row is None:
            return
        if known is None or known.lost or known.instance != row.instance:
            self._log.info(
                "node joined", action=Action.PEER_JOINED, peer=row.name, role=row.role, pid=row.pid
            )
        self._store(row)

    def goodbye(self, message: Goodbye, _caller: Caller) -> Done:
        """Forgets a node that leaves."""
        if self._registry.goodbye(message.name, message.instance):
            self._log.info("node left", action=Action.PEER_LOST, peer=message.name)
            self._forget(message.name)
        return Done()

    def list(self, _message: ListNodes, caller: Caller) -> Nodes:
        """Tells of all nodes, with their load; a tenant only how to reach those that it may ask."""
        nodes = self._registry.nodes()
        if not caller.trusted:
            nodes = tuple(_reachable(node) for node in nodes if node.role in _ASKED_BY_TENANTS)
        return Nodes(items=nodes)

    def snapshot(self, _message: GetSnapshot, _caller: Caller) -> ControlSnapshot:
        """Everything that nodes follow."""
        with self._catalog.view() as view:
            return ControlSnapshot(seq=view.seq, epoch=self._catalog.epoch, tables=view.snapshot())

    def sweep(self) -> None:
        """Marks nodes as lost that have gone silent."""
        swept = self._registry.sweep(self._clock.monotonic_ms())
        for row in swept.lost:
            self._log.warning("node lost", action=Action.PEER_LOST, peer=row.name, role=row.role)
            self._store(row)
        for name in swept.forgotten:
            self._forget(name)

    def _store(self, row: NodeInfo) -> "Future[None]":
        def op(edit: CatalogEdit) -> None:
            edit.put_node(row)

        return self._changes.change(op)

    def _forget(self, name: str) -> "Future[None]":
        def op(edit: CatalogEdit) -> None:
            edit.delete_node(name)

        return self._changes.change(op)
