"""The listener as a whole: it makes the parts, brings control's tables to them, and ends them in order.

It owns the life of the parts and which thread calls what: tables come in the follower's thread and are handed
to the loop; schemas are fetched and compiled in the route loader's thread.
"""

import asyncio
import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from jobico import __version__
from jobico.clock import SystemClock
from jobico.errors import DeadlineExceeded, NodeUnavailable
from jobico.event import EventStatus
from jobico.logs import Action, configure_logging, get_logger
from jobico.registry import NodeInfo
from jobico.routes import Route
from jobico.settings import Settings
from jobico.tenancy import TenantInfo
from nodes.beat import Beat
from nodes.lifecycle import Node
from nodes.listener import openapi
from nodes.listener.credentials import Credentials
from nodes.listener.directory import Directory, RouteLoader, SchemaCache
from nodes.listener.dispatcher import Dispatcher
from nodes.listener.intake import Intake
from nodes.listener.query import PostQuery
from nodes.metrics import ListenerMetrics
from nodes.peers import Peers
from nodes.secrets import SecretTable, opening
from nodes.snapshot import Follower, Tables
from protocol.authorisation import Caller
from protocol.client import Client
from protocol.messages import EventsPosted, GetArtifact, Message, Ping, Pong, PostEvents
from protocol.sockets import Wire

__all__ = ["Service"]

_ASKED_S: Final = 3.0  # more than a call of the follower takes
_FIRST_ROUTES_S: Final = 10.0  # how long a start waits for the routes of its last snapshot
_READY_POLL_S: Final = 0.25
_PING_S: Final = 0.5
_FETCH_TIMEOUT_MS: Final = 2_000


class Service:
    """Everything behind the HTTP routes."""

    def __init__(self, settings: Settings, url: str) -> None:
        self.settings = settings
        self.url = url
        self.name = settings.node_name or "listener"
        self._data_dir = settings.data_dir(self.name)
        configure_logging(self.name, settings.log_level, settings.log_path(self.name))
        self._wire = Wire(settings, self.name)
        self._node = Node(settings, "listener", self._wire, self.name)
        self._dispatcher = Dispatcher(
            settings,
            self._wire,
            self._data_dir / "queue",
            SystemClock(),
            self.name,
            self._node.instance,
            handlers={Ping: self._ping, PostEvents: self._post},
        )
        self._peers = Peers(settings)
        self._secrets = SecretTable(opening(settings.keys_dir))
        self.intake = Intake(self._dispatcher, self._secrets)
        self.metrics = ListenerMetrics(self._dispatcher.load, self._known_nodes)
        self._tenants: dict[str, TenantInfo] = {}
        self._nodes: dict[str, NodeInfo] = {}
        self._routed = asyncio.Event()
        self._complete = False
        self._draining = asyncio.Event()
        self._loader = RouteLoader(self._open_schemas, self._publish, self._close_client)
        self._follower = Follower(
            settings, self._wire, self._data_dir / "control.snapshot", self._on_change, self._on_snapshot
        )
        self._beat = Beat(settings, self._wire, self._node.info, self._follower.seen)
        self._client: Client | None = None
        self._reached_seq = 0

    @property
    def failed(self) -> bool:
        """True where it stops because a part of it has died."""
        return self._node.failed

    async def start(self, stop: Callable[[], None]) -> None:
        """Opens the queue, follows control, and serves from the last snapshot where control is away.

        Args:
            stop: Called on the loop when the node is to stop.

        Raises:
            JobicoError: the queue cannot be opened or a socket cannot be bound.
        """
        self._loop = asyncio.get_running_loop()
        self._node.log.info("started", action=Action.NODE_STARTED, role="listener", url=self.url)
        await self._dispatcher.start()
        self._node.endpoints = {**self._dispatcher.endpoints, "http": self.url}
        self._node.load = self._dispatcher.load
        self._node.on_ready_changed(self._beat.nudge)
        self._node.on_drain(functools.partial(self._call_soon, stop))
        self._loading = self._node.spawn("route-loader", self._loader.run)
        self._follower.start()
        if self._follower.known:
            # NOTE: senders of a restarted listener wait in the backlog of its port rather than hear 503 or be
            # judged by tables that lack the last changes before it was killed.
            await asyncio.to_thread(self._follower.wait_asked, _ASKED_S)
            try:
                await asyncio.wait_for(self._routed.wait(), _FIRST_ROUTES_S)
            except TimeoutError:
                self._node.log.warning("routes are still being loaded", action=Action.SNAPSHOT_STALE)
        self._beat.start()
        self._watching = asyncio.create_task(self._watch_readiness())

    def begin_drain(self) -> None:
        """Answers those who wait for an outcome, and is not ready from now on."""
        self._draining.set()
        self._node.drain()

    async def stop(self) -> None:
        """Lets what runs settle, then closes all parts."""
        self._watching.cancel()
        await self._dispatcher.drain()
        self._loader.stop()
        # NOTE: each may sit out a call to a node that is away, so they sit it out together.
        await asyncio.gather(
            *map(asyncio.to_thread, (self._beat.stop, self._follower.stop, self._loading.join))
        )
        await self._dispatcher.close()
        self._wire.close()
        self._node.log.info("stopped", action=Action.NODE_STOPPED)

    def unready_reason(self) -> str:
        """Why events cannot be taken now, for people; empty when they can."""
        if self._draining.is_set():
            return "The listener is stopping."
        if not self.intake.known:
            return "The listener has not heard of any tenant yet: is control running?"
        if not self._routed.is_set():
            return "The listener is loading the schemas of its events: is the repository running?"
        return self._dispatcher.unready_reason()

    async def status(self, tenant: str, event_id: str) -> EventStatus:
        """What is known of an event.

        Raises:
            NotFound: the tenant has no such event.
            NodeUnavailable: it has left the queue, and the recorder is away.
        """
        with _recorder_away():
            return await self._dispatcher.status(tenant, event_id)

    async def cancel(self, tenant: str, event_id: str) -> None:
        """Withdraws an event.

        Raises:
            NotFound: the tenant has no such event.
            Conflict: it has ended.
        """
        with _recorder_away():
            await self._dispatcher.cancel(tenant, event_id)

    async def wait(self, event_id: str, wait_ms: int) -> EventStatus | None:
        """Waits for the outcome of an event; None where it does not come in time or the node is stopping."""
        outcome = asyncio.ensure_future(self._dispatcher.wait(event_id, wait_ms / 1_000))
        stopping = asyncio.ensure_future(self._draining.wait())
        try:
            await asyncio.wait({outcome, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return outcome.result() if outcome.done() else None
        finally:
            outcome.cancel()
            stopping.cancel()

    def schemas_of(self, tenant: str) -> Mapping[str, object]:
        """The schema of each event that senders may post, by event; None where it takes any JSON."""
        routes = self.intake.directory.routes.of_tenant(tenant)
        return {name: self._schema(route) for name, route in routes.items() if not route.event.inline}

    def _schema(self, route: Route) -> object:
        digest = route.schema_digest
        content = self._schemas.kept(digest) if digest is not None else None
        schema = None if content is None else msgspec.json.decode(content)
        return openapi.with_order_key(schema, route.queue.key) if route.queue.key else schema

    # --- Requests on the node's own socket ---

    async def _ping(self, _request: Ping, _caller: Caller) -> Message:
        """Tells up to which change of control's tables requests are judged by."""
        seq = self._follower.seq
        reached = self._loop.create_future()
        self._loader.fence(lambda: self._call_soon(_resolve, reached))
        try:
            await asyncio.wait_for(reached, _PING_S)
        except TimeoutError:
            seq = self._reached_seq  # the loader waits for the repository
        self._reached_seq = max(self._reached_seq, seq)
        return Pong(node=self.name, ready=self._node.ready, version=__version__, seq=self._reached_seq)

    async def _post(self, request: PostEvents, caller: Caller) -> Message:
        """Takes events from whom the socket has let in."""
        caller.check_tenant(request.tenant)
        admission = self.intake.admit_trusted(request.tenant, request.event)
        accepted = await self.intake.take(admission, request.body, PostQuery(), request.request_id)
        return EventsPosted(ids=accepted.ids)

    async def _watch_readiness(self) -> None:
        while True:
            self._node.set_ready(not self.unready_reason())
            await asyncio.sleep(_READY_POLL_S)

    # --- the route loader's thread ---

    def _open_schemas(self) -> SchemaCache:
        self._client = Client(self._wire, self.name)
        return self._schemas

    @property
    def _schemas(self) -> SchemaCache:
        return SchemaCache(self._data_dir / "schemas", self._fetch)

    def _fetch(self, digest: str) -> bytes:
        assert self._client is not None
        repository = self._peers.of_role("repository", "rep")
        reply = self._client.call(
            repository.endpoint,
            GetArtifact(digest=digest),
            timeout_ms=_FETCH_TIMEOUT_MS,
            server_key=repository.server_key,
        )
        return reply.content

    def _close_client(self) -> None:
        if self._client is not None:
            self._client.close()

    def _call_soon(self, callback: Callable[..., None], *args: Any) -> None:
        self._loop.call_soon_threadsafe(callback, *args)

    def _publish(self, directory: Directory) -> None:
        self._call_soon(self._take_directory, directory)

    # --- the follower's thread ---

    def _on_snapshot(self, tables: Tables) -> None:
        copies = {name: dict(rows) for name, rows in tables.items()}
        self._call_soon(self._take_tables, copies)
        self._peers.replace(copies["nodes"])
        self._loader.replace({_job_key(key): revision for key, revision in copies["jobs"].items()})
        if self._follower.current:
            self._loader.fence(lambda: self._call_soon(self._take_completeness))

    def _on_change(self, table: str, key: str, value: Any) -> None:
        self._peers.change(table, key, value)
        if table == "jobs":
            self._loader.put(_job_key(key), value)
        else:
            self._call_soon(self._take_change, table, key, value)

    # --- the loop ---

    def _take_directory(self, directory: Directory) -> None:
        self.intake.directory = directory
        self._set_routes()
        self._routed.set()

    def _take_completeness(self) -> None:
        if not self._complete:
            self._complete = True
            self._set_routes()

    def _set_routes(self) -> None:
        # SAFETY: an event may have been accepted by a change of the tables that the last snapshot lacks, if
        # the node was killed then; it is not without a route before control has said so.
        directory = self.intake.directory
        self._dispatcher.set_routes(directory.routes, directory.waiting, complete=self._complete)

    def _take_tables(self, tables: Mapping[str, dict[str, Any]]) -> None:
        self._tenants, self._nodes = tables["tenants"], tables["nodes"]
        self._secrets.replace(tables["secrets"])
        self.intake.credentials = Credentials(tables["keys"].values())
        self.intake.known = True
        self._set_quotas()
        self._set_nodes()

    def _take_change(self, table: str, key: str, value: Any) -> None:
        if table == "keys":
            self.intake.credentials.put(key, value)
        elif table == "secrets":
            self._secrets.change(table, key, value)
        elif table == "tenants":
            _put(self._tenants, key, value)
            self._set_quotas()
        elif table == "nodes":
            _put(self._nodes, key, value)
            self._set_nodes()

    def _known_nodes(self) -> Sequence[NodeInfo]:
        return tuple(self._nodes.values())

    def _set_quotas(self) -> None:
        self._dispatcher.set_quotas({name: tenant.quotas for name, tenant in self._tenants.items()})

    def _set_nodes(self) -> None:
        self._dispatcher.set_nodes(self._known_nodes())


@contextlib.contextmanager
def _recorder_away() -> Iterator[None]:
    """SECURITY: where our sockets are is not for strangers."""
    try:
        yield
    except (NodeUnavailable, DeadlineExceeded) as error:
        get_logger().warning(error.message, action=Action.REQUEST_FAILED, code=error.code)
        raise NodeUnavailable(
            "What came of events that have ended cannot be looked up now; ask again."
        ) from error


def _resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _put(table: dict[str, Any], key: str, value: Any) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value


def _job_key(key: str) -> tuple[str, str]:
    tenant, _, job = key.partition("/")
    return tenant, job
