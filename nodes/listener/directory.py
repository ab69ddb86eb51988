"""What the listener knows of events: routes and their compiled schemas, brought up to date beside the loop.

It owns the cache of schemas on disk and the thread that fills it. A revision comes into force only when every
schema of it is here and compiled; until then the one before it serves. It never blocks the loop and never
asks control.
"""

import contextlib
import os
import queue
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from jobico.definition import Revision
from jobico.errors import JobicoError
from jobico.ids import digest_of
from jobico.logs import Action, get_logger
from jobico.routes import Route, Routes
from jobico.schemas import Validator

__all__ = ["Directory", "RouteLoader", "SchemaCache"]

_RETRY_S: Final = 0.5


class Directory:
    """Routes and validators of one moment; immutable."""

    __slots__ = ("_validators", "routes", "waiting")

    def __init__(
        self,
        routes: Routes | None = None,
        validators: Mapping[str, Validator] | None = None,
        waiting: frozenset[tuple[str, str]] = frozenset(),
    ) -> None:
        self.routes = routes or Routes.build(())
        self._validators = validators or {}
        self.waiting = waiting
        """(tenant, event) of events whose job is deployed but whose schemas are not here yet."""

    def find(self, tenant: str, event: str) -> tuple[Route, Validator | None] | None:
        """The route of an event and what checks it; None where the tenant has no such event."""
        route = self.routes.find(tenant, event)
        if route is None:
            return None
        return route, None if route.schema_digest is None else self._validators[route.schema_digest]


class SchemaCache:
    """Schemas by digest, kept on disk so that a restart needs no repository. It belongs to one thread."""

    def __init__(self, path: Path, fetch: Callable[[str], bytes]) -> None:
        self._path = path
        self._fetch = fetch

    def content(self, digest: str) -> bytes:
        """The schema of that digest.

        Raises:
            JobicoError: it is neither here nor to be had from the repository.
        """
        content = self.kept(digest)
        if content is None:
            content = self._fetch(digest)
            with contextlib.suppress(OSError):  # a full disk costs the next start a fetch
                self._write(self._file(digest), content)
        return content

    def kept(self, digest: str) -> bytes | None:
        """The schema of that digest if it is on disk; from any thread."""
        try:
            content = self._file(digest).read_bytes()
        except OSError:
            return None
        # SAFETY: a write that was cut short by a crash must not become a schema.
        return content if digest_of(content) == digest else None

    def _file(self, digest: str) -> Path:
        return self._path / (digest.removeprefix("sha256:") + ".json")

    def _write(self, path: Path, content: bytes) -> None:
        self._path.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = path.with_suffix(".new")
        fresh.write_bytes(content)
        os.replace(fresh, path)


class _Job(NamedTuple):
    key: tuple[str, str]
    revision: Revision | None


class _Everything(NamedTuple):
    revisions: Mapping[tuple[str, str], Revision]


class _Fence(NamedTuple):
    reached: Callable[[], None]


class RouteLoader:
    """Turns revisions into a `Directory` and publishes each new one, in the thread that calls `run`.

    Args:
        schemas: Makes the schema cache, in that thread.
        publish: Called in that thread with each new directory.
        close: Called in that thread at its end.
    """

    def __init__(
        self,
        schemas: Callable[[], SchemaCache],
        publish: Callable[[Directory], None],
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self._make_schemas = schemas
        self._publish = publish
        self._close = close
        self._inbox: queue.SimpleQueue[_Job | _Everything | _Fence | None] = queue.SimpleQueue()
        self._routes = Routes.build(())
        self._current: dict[tuple[str, str], Revision] = {}
        self._pending: dict[tuple[str, str], Revision] = {}
        self._validators: dict[str, Validator] = {}

    def put(self, key: tuple[str, str], revision: Revision | None) -> None:
        """Brings a revision of the job `key`, (tenant, job), into force, or with None withdraws the job."""
        self._inbox.put(_Job(key, revision))

    def replace(self, revisions: Mapping[tuple[str, str], Revision]) -> None:
        """Brings these revisions into force and withdraws all other jobs."""
        self._inbox.put(_Everything(revisions))

    def fence(self, reached: Callable[[], None]) -> None:
        """Has `reached` called, in the thread of `run`, once all that was put in before is published."""
        self._inbox.put(_Fence(reached))

    def stop(self) -> None:
        """Has `run` return."""
        self._inbox.put(None)

    def run(self) -> None:
        """Takes what is put in, and tries again what could not be loaded."""
        schemas = self._make_schemas()
        while True:
            try:
                item = self._inbox.get(timeout=_RETRY_S if self._pending else None)
            except queue.Empty:
                item = _Everything({**self._current, **self._pending})
            if item is None:
                break
            if isinstance(item, _Fence):
                item.reached()
                continue
            changed = (
                self._load_all(schemas, item) if isinstance(item, _Everything) else self._load(schemas, *item)
            )
            if changed:
                self._publish(self._directory())
        self._close()

    def _load_all(self, schemas: SchemaCache, everything: _Everything) -> bool:
        gone = (self._current.keys() | self._pending.keys()) - everything.revisions.keys()
        for key in gone:
            self._load(schemas, key, None)
        before = set(self._pending)
        loaded = [
            self._load(schemas, key, revision)
            for key, revision in everything.revisions.items()
            if self._current.get(key) != revision
        ]
        return bool(gone) or any(loaded) or before != set(self._pending) or not everything.revisions

    def _load(self, schemas: SchemaCache, key: tuple[str, str], revision: Revision | None) -> bool:
        known = self._pending.pop(key, None)
        if revision is None:
            self._current.pop(key, None)
        else:
            try:
                for digest in revision.schemas.values():
                    if digest not in self._validators:
                        self._validators[digest] = Validator(schemas.content(digest))
            except JobicoError as error:
                self._pending[key] = revision
                if known != revision:
                    _log_pending(revision, error)
                return key not in self._current
            self._current[key] = revision
        self._routes = self._routes.with_job(key, revision)
        return True

    def _directory(self) -> Directory:
        used = {digest for revision in self._current.values() for digest in revision.schemas.values()}
        self._validators = {digest: found for digest, found in self._validators.items() if digest in used}
        waiting = frozenset(
            (key[0], event.id)
            for key, revision in self._pending.items()
            if key not in self._current
            for event in revision.definition.events
        )
        return Directory(self._routes, self._validators, waiting)


def _log_pending(revision: Revision, error: JobicoError) -> None:
    get_logger().warning(
        "a revision waits for its schemas",
        action=Action.SNAPSHOT_STALE,
        tenant=revision.definition.tenant,
        job=revision.definition.id,
        revision=revision.number,
        code=error.code,
        error=error.message,
    )
