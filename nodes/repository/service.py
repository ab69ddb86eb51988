"""The repository node: modules and schemas, checked when they come, addressed by digest, named per tenant.

It owns its store and the cache of compiled modules of its machine. Inspection takes from milliseconds to a
minute, so it runs beside the loop, and whoever only asks is answered meanwhile.
"""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from jobico.artifact import ArtifactInfo
from jobico.clock import SystemClock
from jobico.errors import InvalidInput
from jobico.ids import check_name, digest_of
from jobico.limits import ARTIFACTS_MAP_BYTES, TENANT_STORED_BYTES, UPLOAD_MESSAGE_BYTES_MAX
from jobico.settings import Settings
from jobico.storage.artifacts import Artifacts as Store
from jobico.tenancy import TenantInfo
from nodes.beat import Beat
from nodes.lifecycle import Node, run_node
from nodes.repository.inspection import KINDS, Inspector, refusal
from nodes.snapshot import Follower, Tables
from protocol.authorisation import Caller
from protocol.messages import (
    Artifact,
    ArtifactContent,
    Artifacts,
    BindArtifacts,
    CheckArtifact,
    Done,
    GetArtifact,
    ListArtifacts,
    Message,
    Ping,
    PutArtifact,
    ResolveArtifact,
)
from protocol.server import Reactor, RequestHandler
from protocol.sockets import advertised, endpoint

__all__ = ["main", "serve"]

_INSPECTIONS_AT_ONCE = 2
_CHECK_MS = 500


def main(settings: Settings) -> int:
    """Runs the node in the foreground until it is told to stop; returns its exit code."""
    return run_node(settings, "repository", serve)


def serve(node: Node) -> None:
    """Opens the store and answers until the node drains."""
    store = Store.open(node.settings.data_dir(node.name), map_bytes=ARTIFACTS_MAP_BYTES)
    try:
        _Repository(node, store).run()
    finally:
        store.close()


class _Repository:
    def __init__(self, node: Node, store: Store) -> None:
        self._node = node
        self._store = store
        self._clock = SystemClock()
        self._reactor = Reactor(node.wire)
        self._inspector = Inspector(node.settings.modules_dir)
        self._workers = ThreadPoolExecutor(_INSPECTIONS_AT_ONCE, thread_name_prefix="inspect")
        self._tenants: dict[str, TenantInfo] = {}
        self._follower = Follower(
            node.settings,
            node.wire,
            node.settings.data_dir(node.name) / "control.snapshot",
            self._take_change,
            self._take_tables,
        )
        self._beat = Beat(node.settings, node.wire, node.info, self._follower.seen)

    @property
    def _requests(self) -> Mapping[type[Message], RequestHandler]:
        return {
            Ping: self._node.pong,
            CheckArtifact: self._check,
            PutArtifact: self._put,
            BindArtifacts: self._bind,
            ResolveArtifact: self._resolve,
            GetArtifact: self._get,
            ListArtifacts: self._list,
        }

    def run(self) -> None:
        """Answers until the node drains."""
        node, settings = self._node, self._node.settings
        rep = node.wire.rep(endpoint(settings, node.name, "rep"), bytes_max=UPLOAD_MESSAGE_BYTES_MAX)
        node.endpoints["rep"] = advertised(settings, rep)
        self._reactor.on_request(rep, self._requests, bytes_max=UPLOAD_MESSAGE_BYTES_MAX)
        self._reactor.every(_CHECK_MS, lambda: node.set_store_available(self._store.available))
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
            self._workers.shutdown(wait=False, cancel_futures=True)
            self._beat.stop()
            self._follower.stop()
            rep.close()

    # --- Requests

    def _check(self, message: CheckArtifact, _caller: Caller) -> "Future[Artifact]":
        self._inspector.check_size(message.kind, message.content)
        return self._workers.submit(self._checked, message)

    def _checked(self, message: CheckArtifact) -> Artifact:
        report = self._inspector.inspect(message.kind, message.content, message.function)
        if report is not None and not report.valid:
            raise refusal(report)
        info = ArtifactInfo(
            tenant="",
            kind=message.kind,
            name="",
            digest=digest_of(message.content),
            size_bytes=len(message.content),
            uploaded_ms=self._clock.wall_ms(),
            report=report,
        )
        return Artifact(info=info)

    def _put(self, message: PutArtifact, _caller: Caller) -> "Future[Artifact]":
        check_name("tenant", message.tenant)
        if message.name:
            check_name("file", message.name)
        self._inspector.check_size(message.kind, message.content)
        return self._workers.submit(self._inspect_and_put, message)

    def _inspect_and_put(self, message: PutArtifact) -> Artifact:
        report = self._inspector.inspect(message.kind, message.content, "event")
        stored = self._store.put(
            message.tenant,
            message.kind,
            message.content,
            now_ms=self._clock.wall_ms(),
            name=message.name,
            report=report,
            stored_bytes_max=self._stored_bytes_max(message.tenant),
        )
        return Artifact(info=stored.result())

    def _bind(self, message: BindArtifacts, _caller: Caller) -> "Future[Done]":
        for path in message.names:
            kind, _, name = path.partition("/")
            if kind not in KINDS:
                raise InvalidInput(f"{path[:80]!r} names no kind of artifact: use wasm/NAME or json/NAME.")
            check_name("file", name)
        return _done(self._store.bind(message.tenant, message.names, now_ms=self._clock.wall_ms()))

    def _resolve(self, message: ResolveArtifact, _caller: Caller) -> "Artifact | Future[Artifact]":
        info = self._store.resolve(message.tenant, message.kind, message.ref, message.function)
        if message.kind != "wasm" or info.report is not None:
            return Artifact(info=info)
        return self._workers.submit(self._inspect_again, message)

    def _inspect_again(self, message: ResolveArtifact) -> Artifact:
        """Inspects a stored module for another entry function, and keeps the report."""
        info = self._store.resolve(message.tenant, message.kind, message.ref, message.function)
        report = self._inspector.inspect("wasm", self._store.content(info.digest), message.function)
        assert report is not None
        self._store.put_report(info.digest, message.function, report).result()
        return Artifact(info=self._store.resolve(message.tenant, message.kind, message.ref, message.function))

    def _get(self, message: GetArtifact, _caller: Caller) -> ArtifactContent:
        return ArtifactContent(content=self._store.content(message.digest, message.tenant))

    def _list(self, message: ListArtifacts, _caller: Caller) -> Artifacts:
        return Artifacts(items=tuple(self._store.list(message.tenant, message.kind)))

    # --- What it knows

    def _stored_bytes_max(self, tenant: str) -> int:
        known = self._tenants.get(tenant)
        return (known.quotas.stored_bytes if known else 0) or TENANT_STORED_BYTES

    def _take_tables(self, tables: Tables) -> None:
        self._tenants = dict(tables["tenants"])

    def _take_change(self, table: str, key: str, value: TenantInfo | None) -> None:
        if table != "tenants":
            return
        tenants = dict(self._tenants)
        if value is not None:
            tenants[key] = value
        elif tenants.pop(key, None) is not None:
            # The tenant is gone for good; only a deletion that was seen to happen deletes its files.
            self._store.delete_tenant(key)
        self._tenants = tenants

    def _load(self) -> dict[str, float]:
        return {"refused": float(self._reactor.refused), "damaged": float(self._store.damaged)}


def _done(future: "Future[None]") -> "Future[Done]":
    """Says `Done` once a future has come true."""
    done: Future[Done] = Future()

    def finish(ended: "Future[None]") -> None:
        error = ended.exception()
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(Done())

    future.add_done_callback(finish)
    return done
