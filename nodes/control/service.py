"""The control node: its store, its sockets, its loop.

It owns tenants, keys, jobs and their revisions, the node registry and the audit log; other nodes follow its
tables. It never touches an event.
"""

from collections.abc import Mapping

from jobico.clock import SystemClock
from jobico.limits import CATALOG_MAP_BYTES, NODE_HEARTBEAT_MS
from jobico.settings import Settings, Transport
from jobico.storage.catalog import Catalog, CatalogChange, CatalogEdit
from nodes.control.changes import Changes
from nodes.control.jobs import JobHandlers
from nodes.control.keys import KeyHandlers
from nodes.control.members import MemberHandlers
from nodes.control.schedules import Schedules
from nodes.control.secrets import SecretHandlers
from nodes.control.tenants import TenantHandlers
from nodes.control.trust import TrustHandlers
from nodes.lifecycle import Node, run_node
from nodes.peers import Peers
from protocol.authorisation import Role
from protocol.key_files import local_peers, make_missing_key_pairs
from protocol.messages import ControlChange, Message, Ping
from protocol.publishing import Publisher
from protocol.server import Reactor, RequestHandler
from protocol.sockets import advertised, endpoint
from protocol.topics import CONTROL_TOPIC

__all__ = ["main", "serve"]

_SWEEP_MS = 500


def main(settings: Settings) -> int:
    """Runs the node in the foreground until it is told to stop; returns its exit code."""
    return run_node(settings, "control", serve, prepare=_make_keys)


def _make_keys(settings: Settings) -> None:
    """Makes what control needs before it has a socket: its own key pair, and the operator's, on tcp."""
    if settings.transport is Transport.TCP:
        make_missing_key_pairs(settings.keys_dir, {"control": Role.NODE, "operator": Role.OPERATOR})


def serve(node: Node) -> None:
    """Opens the store and answers until the node drains."""
    settings = node.settings
    catalog = Catalog.open(settings.data_dir(node.name), map_bytes=CATALOG_MAP_BYTES)
    try:
        _Control(node, catalog).run()
    finally:
        catalog.close()


class _Control:
    def __init__(self, node: Node, catalog: Catalog) -> None:
        self._node = node
        self._catalog = catalog
        self._reactor = Reactor(node.wire)
        self._peers = Peers(node.settings)
        clock = SystemClock()
        self._changes = changes = Changes(catalog, clock, self._on_committed)
        self._members = MemberHandlers(catalog, changes, clock)
        self._jobs = JobHandlers(catalog, changes, clock, node.wire, self._peers)
        self._schedules = Schedules(catalog, changes, clock, node.wire, self._peers)
        self._handlers: dict[type[Message], RequestHandler] = {
            Ping: node.pong,
            **TenantHandlers(catalog, changes, clock).handlers,
            **KeyHandlers(catalog, changes, clock).handlers,
            **self._jobs.handlers,
            **self._members.handlers,
            **SecretHandlers(catalog, changes, clock, node.settings.keys_dir).handlers,
            **TrustHandlers(catalog, changes).handlers,
        }

    def run(self) -> None:
        """Answers until the node drains."""
        node = self._node
        rep = node.wire.rep(endpoint(node.settings, node.name, "rep"))
        self._publisher = Publisher(node.wire, endpoint(node.settings, node.name, "pub"))
        node.endpoints.update(
            rep=advertised(node.settings, rep), pub=advertised(node.settings, self._publisher.socket)
        )
        self._trust_local_keys()
        self._follow_itself()
        self._reactor.on_request(rep, self._handlers)
        self._reactor.publish_with(self._publisher)
        self._reactor.every(NODE_HEARTBEAT_MS, self._beat)
        self._reactor.every(_SWEEP_MS, self._members.sweep)
        node.load = self._load
        node.seq = lambda: self._members.seq
        node.on_ready_changed(lambda: self._reactor.call_soon_threadsafe(self._beat))
        node.on_drain(lambda: self._reactor.stop(drain_ms=node.settings.drain_ms))
        node.set_ready()
        self._schedules.start()
        try:
            self._reactor.run()
        finally:
            self._schedules.close()
            self._jobs.close()
            rep.close()
            self._publisher.socket.close()

    def _follow_itself(self) -> None:
        with self._catalog.view() as view:
            self._peers.replace({row.name: row for row in view.nodes()})
            self._admit(view.peers())

    def _trust_local_keys(self) -> None:
        """Lets in the keys that were made beside control's own, unless they are known already."""
        if self._node.wire.keyring is None:
            return
        local = local_peers(self._node.settings.keys_dir)

        def op(edit: CatalogEdit) -> None:
            known = edit.peers()
            for key, role in local.items():
                if key not in known:
                    edit.put_peer(key, role)

        self._changes.change(op).result()

    def _admit(self, peers: Mapping[str, str]) -> None:
        if self._node.wire.keyring is not None:
            self._node.wire.keyring.replace(peers)

    def _beat(self) -> None:
        self._node.set_store_available(self._catalog.available)
        self._members.register(self._node.info())

    def _load(self) -> dict[str, float]:
        return {
            "changes": float(self._members.seq),
            "refused": float(self._reactor.refused),
            "damaged": float(self._catalog.damaged),
        }

    def _on_committed(self, changes: tuple[CatalogChange, ...]) -> None:
        # In the thread of the writer, in the order of the commits; the loop keeps that order.
        if changes:
            self._reactor.call_soon_threadsafe(lambda: self._publish(changes))

    def _publish(self, changes: tuple[CatalogChange, ...]) -> None:
        for change in changes:
            self._peers.change(change.table, change.key, change.value)
            if change.table == "peers":
                with self._catalog.view() as view:
                    self._admit(view.peers())
            message = ControlChange(seq=change.seq, table=change.table, key=change.key, value=change.value)
            self._publisher.send(CONTROL_TOPIC, message)
            self._members.published(change.seq)
