"""The recorder node: execution records from listeners, kept, acknowledged, published, and told of.

It owns its store. A record is acknowledged only after the transaction that holds it is synced; what it cannot
store it does not acknowledge, and the listener keeps it and sends it again.
"""

from collections.abc import Mapping
from concurrent.futures import Future
from functools import partial

from jobico.clock import SystemClock
from jobico.errors import JobicoError
from jobico.limits import QUERY_ROWS_MAX
from jobico.logs import Action, get_logger
from jobico.settings import Settings
from jobico.storage.executions import Executions as Store
from jobico.storage.executions import Stored
from nodes.beat import Beat
from nodes.lifecycle import Node, run_node
from nodes.links import Links
from nodes.peers import Peers
from nodes.recorder.feed import FeedBuilder
from nodes.snapshot import Follower, Tables
from protocol.authorisation import Caller
from protocol.messages import (
    Execution,
    Executions,
    GetTotals,
    ListExecutions,
    Message,
    Ping,
    Recorded,
    Records,
    ShowExecution,
    Totals,
)
from protocol.publishing import Publisher
from protocol.server import Reactor, RequestHandler
from protocol.sockets import advertised, endpoint
from protocol.topics import feed_topic

__all__ = ["main", "serve"]

_TRIM_MS = 5_000
_TRIM_ROWS_MAX = 1_000
_CHECK_MS = 500
_FLUSH_MS = 50


def main(settings: Settings) -> int:
    """Runs the node in the foreground until it is told to stop; returns its exit code."""
    return run_node(settings, "recorder", serve)


def serve(node: Node) -> None:
    """Opens the store and records until the node drains."""
    settings = node.settings
    store = Store.open(settings.data_dir(node.name), map_bytes=settings.executions_map_bytes)
    try:
        _Recorder(node, store).run()
    finally:
        store.close()


class _Recorder:
    def __init__(self, node: Node, store: Store) -> None:
        self._node = node
        self._store = store
        self._clock = SystemClock()
        self._reactor = Reactor(node.wire)
        self._peers = Peers(node.settings)
        self._links = Links(node.wire, self._peers)
        self._flushing = False
        self._feed = FeedBuilder()
        self._trim: Future[int] | None = None
        self._under_way = 0
        self._log = get_logger()
        self._follower = Follower(
            node.settings,
            node.wire,
            node.settings.data_dir(node.name) / "control.snapshot",
            self._peers.change,
            self._take_tables,
        )
        self._beat = Beat(node.settings, node.wire, node.info, self._follower.seen)

    @property
    def _requests(self) -> Mapping[type[Message], RequestHandler]:
        return {
            Ping: self._node.pong,
            ListExecutions: self._list,
            ShowExecution: self._show,
            GetTotals: self._totals,
        }

    def run(self) -> None:
        """Records until the node drains."""
        node, settings = self._node, self._node.settings
        rep = node.wire.rep(endpoint(settings, node.name, "rep"))
        pull = node.wire.pull(endpoint(settings, node.name, "records"))
        self._publisher = Publisher(node.wire, endpoint(settings, node.name, "pub"))
        for name, socket in (("rep", rep), ("records", pull), ("pub", self._publisher.socket)):
            node.endpoints[name] = advertised(settings, socket)
        self._reactor.on_request(rep, self._requests)
        self._reactor.on_message(pull, {Records: self._take})
        self._reactor.publish_with(self._publisher)
        self._reactor.every(_TRIM_MS, self._begin_trim)
        self._reactor.every(_CHECK_MS, self._check_store)
        node.load = self._load
        node.seq = lambda: self._follower.seq
        node.on_ready_changed(self._beat.nudge)
        node.on_drain(lambda: self._reactor.stop(drain_ms=settings.drain_ms))
        self._follower.start()
        node.set_ready()
        self._beat.start()
        try:
            self._reactor.run()
        finally:
            self._beat.stop()
            self._follower.stop()
            self._links.close()
            for socket in (rep, pull, self._publisher.socket):
                socket.close()

    def _take_tables(self, tables: Tables) -> None:
        self._peers.replace(tables["nodes"])

    def _take(self, message: Records) -> None:
        self._links.meet(message.listener)
        self._under_way += 1
        stored = self._store.append(message.items)
        stored.add_done_callback(
            lambda done: self._reactor.call_soon_threadsafe(lambda: self._committed(message, done))
        )

    def _committed(self, message: Records, stored: "Future[list[Stored]]") -> None:
        self._under_way -= 1
        error = stored.exception()
        if error is not None:
            self._fail(error)
            return
        self._links.send(message.listener, Recorded(first=message.first, upto=message.last))
        self._flush_soon()
        rows = stored.result()
        for feed in self._feed.build(rows):
            self._publisher.send(feed_topic(feed.tenant), feed)
        self._log.debug(
            "records stored", action=Action.RECORDS_STORED, listener=message.listener, records=len(rows)
        )

    def _flush_soon(self) -> None:
        """Sends what waits for a listener that is only just being connected, or away for a moment."""
        if self._links.waiting and not self._flushing:
            self._flushing = True
            self._reactor.later(_FLUSH_MS, self._flush)

    def _flush(self) -> None:
        self._flushing = False
        self._links.flush()
        self._flush_soon()

    def _fail(self, error: BaseException) -> None:
        if not isinstance(error, JobicoError):
            raise error
        # What was not stored is not acknowledged: the listener keeps it and sends it again.
        self._log.warning(error.message, action=Action.STORAGE_FAILED, code=error.code)
        self._check_store()

    def _check_store(self) -> None:
        self._node.set_store_available(self._store.available)

    def _begin_trim(self) -> None:
        if self._trim is not None and not self._trim.done():
            return
        self._trim = self._store.trim(
            now_ms=self._clock.wall_ms(),
            retention_ms=self._node.settings.retention_ms,
            retention_bytes=self._node.settings.retention_bytes,
            count_max=_TRIM_ROWS_MAX,
        )
        self._trim.add_done_callback(
            lambda done: self._reactor.call_soon_threadsafe(lambda: self._trimmed(done))
        )

    def _trimmed(self, trim: "Future[int]") -> None:
        error = trim.exception()
        if error is not None:
            self._fail(error)
        elif trim.result():
            self._log.info("old records dropped", action=Action.RECORDS_DROPPED, records=trim.result())
            if trim.result() >= _TRIM_ROWS_MAX:
                self._begin_trim()

    def _list(self, message: ListExecutions, _caller: Caller) -> Executions:
        find = partial(
            self._store.list,
            tenant=message.tenant,
            job=message.job,
            event=message.event,
            outcome=message.outcome,
            since_ms=message.since_ms,
            limit=max(1, min(message.limit, QUERY_ROWS_MAX)),
        )
        page = find(after=message.after) if message.after >= 0 else find(before=message.before)
        return Executions(rows=tuple(page.rows), next=page.next, newest=page.newest)

    def _show(self, message: ShowExecution, _caller: Caller) -> Execution:
        return Execution(items=self._store.show(message.tenant, message.id))

    def _totals(self, message: GetTotals, _caller: Caller) -> Totals:
        tally = self._store.totals(message.tenant)
        return Totals(final=tally.final, records=tally.records, kept_bytes=tally.kept_bytes)

    def _load(self) -> dict[str, float]:
        return {
            "newest": float(self._store.newest),
            "under_way": float(self._under_way),
            "refused": float(self._reactor.refused),
            "rejected": float(self._store.rejected),
            "damaged": float(self._store.damaged),
        }
