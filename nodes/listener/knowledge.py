"""What control says, brought to who works by it: keys, routes, quotas, secrets, nodes.

It owns which thread does what: tables come in the follower's thread and are handed to the loop; schemas are
fetched and compiled in the route loader's. It judges nothing.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from jobico.logs import Action
from jobico.registry import NodeInfo
from jobico.routes import Route
from jobico.tenancy import TenantInfo
from nodes.lifecycle import Node
from nodes.listener.credentials import Credentials
from nodes.listener.directory import Directory, RouteLoader, SchemaCache
from nodes.listener.dispatcher import Dispatcher
from nodes.listener.intake import Intake
from nodes.listener.openapi_schemas import with_order_key
from nodes.peers import Peers
from nodes.secrets import SecretTable
from nodes.snapshot import Follower, Tables
from protocol.client import Client
from protocol.messages import GetArtifact, HeartbeatSeen

__all__ = ["Knowledge"]

_ASKED_S: Final = 3.0  # more than a call of the follower takes
_FIRST_ROUTES_S: Final = 10.0  # how long a start waits for the routes of its last snapshot
_FENCE_S: Final = 0.5
_FETCH_TIMEOUT_MS: Final = 2_000


class Knowledge:
    """Follows control for a listener, from the last snapshot where control is away.

    Args:
        node: Whose threads and sockets it uses.
        data_dir: Where the snapshot and the schemas are kept.
        intake: Is given keys and routes.
        dispatcher: Is given routes, quotas and nodes.
        secrets: Is given sealed secrets.
    """

    def __init__(
        self, node: Node, data_dir: Path, intake: Intake, dispatcher: Dispatcher, secrets: SecretTable
    ) -> None:
        self._node = node
        self._data_dir = data_dir
        self._intake = intake
        self._dispatcher = dispatcher
        self._secrets = secrets
        self._peers = Peers(node.settings)
        self._tenants: dict[str, TenantInfo] = {}
        self._nodes: dict[str, NodeInfo] = {}
        self._routed = asyncio.Event()
        self._complete = False
        self._loader = RouteLoader(self._open_schemas, self._publish, self._close_client)
        self._follower = Follower(
            node.settings, node.wire, data_dir / "control.snapshot", self._on_change, self._on_snapshot
        )
        self._client: Client | None = None
        self._reached_seq = 0

    async def start(self) -> None:
        """Begins to follow, on the loop; where there is a snapshot, returns when its routes are in force."""
        self._loop = asyncio.get_running_loop()
        self._loading = self._node.spawn("route-loader", self._loader.run)
        self._follower.start()
        if not self._follower.known:
            return
        # NOTE: senders of a restarted listener wait in the backlog of its port rather than hear 503 or be
        # judged by tables that lack the last changes before it was killed.
        await asyncio.to_thread(self._follower.wait_asked, _ASKED_S)
        try:
            await asyncio.wait_for(self._routed.wait(), _FIRST_ROUTES_S)
        except TimeoutError:
            self._node.log.warning("routes are still being loaded", action=Action.SNAPSHOT_STALE)

    def stop(self) -> None:
        """Ends the threads; may sit out a call to a node that is away."""
        self._loader.stop()
        self._follower.stop()
        self._loading.join()

    def seen(self, answer: HeartbeatSeen) -> None:
        """Compares with the answer to a heartbeat; from any thread."""
        self._follower.seen(answer)

    def unready_reason(self) -> str:
        """Why requests cannot be judged now, for people; empty when they can."""
        if not self._intake.known:
            return "The listener has not heard of any tenant yet: is control running?"
        if not self._routed.is_set():
            return "The listener is loading the schemas of its events: is the repository running?"
        return ""

    def nodes(self) -> Sequence[NodeInfo]:
        """The nodes of the registry."""
        return tuple(self._nodes.values())

    async def reached(self) -> int:
        """The number of the last change of control's tables that requests are judged by."""
        seq = self._follower.seq
        passed = self._loop.create_future()
        self._loader.fence(lambda: self._call_soon(_resolve, passed))
        try:
            await asyncio.wait_for(passed, _FENCE_S)
        except TimeoutError:
            seq = self._reached_seq  # the loader waits for the repository
        self._reached_seq = max(self._reached_seq, seq)
        return self._reached_seq

    def schemas_of(self, tenant: str) -> Mapping[str, object]:
        """The schema of each event that senders may post, by event; None where it takes any JSON."""
        routes = self._intake.directory.routes.of_tenant(tenant)
        return {name: self._schema(route) for name, route in routes.items() if not route.event.inline}

    def _schema(self, route: Route) -> object:
        digest = route.schema_digest
        content = self._schemas.kept(digest) if digest is not None else None
        schema = None if content is None else msgspec.json.decode(content)
        return with_order_key(schema, route.queue.key) if route.queue.key else schema

    # --- the route loader's thread ---

    def _open_schemas(self) -> SchemaCache:
        self._client = Client(self._node.wire, self._node.name)
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
        self._intake.directory = directory
        self._set_routes()
        self._routed.set()

    def _take_completeness(self) -> None:
        if not self._complete:
            self._complete = True
            self._set_routes()

    def _set_routes(self) -> None:
        # SAFETY: an event may have been accepted by a change of the tables that the last snapshot lacks, if
        # the node was killed then; it is not without a route before control has said so.
        directory = self._intake.directory
        self._dispatcher.set_routes(directory.routes, directory.waiting, complete=self._complete)

    def _take_tables(self, tables: Mapping[str, dict[str, Any]]) -> None:
        self._tenants, self._nodes = tables["tenants"], tables["nodes"]
        self._secrets.replace(tables["secrets"])
        self._intake.credentials = Credentials(tables["keys"].values())
        self._intake.known = True
        self._set_quotas()
        self._set_nodes()

    def _take_change(self, table: str, key: str, value: Any) -> None:
        if table == "keys":
            self._intake.credentials.put(key, value)
        elif table == "secrets":
            self._secrets.change(table, key, value)
        elif table == "tenants":
            _put(self._tenants, key, value)
            self._set_quotas()
        elif table == "nodes":
            _put(self._nodes, key, value)
            self._set_nodes()

    def _set_quotas(self) -> None:
        self._dispatcher.set_quotas({name: tenant.quotas for name, tenant in self._tenants.items()})

    def _set_nodes(self) -> None:
        self._dispatcher.set_nodes(self.nodes())


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
