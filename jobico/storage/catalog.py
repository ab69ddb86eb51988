"""Control's catalog: tenants, keys, jobs and their revisions, nodes, secrets, peers, the audit log.

Owns the store of kind `catalog`, drawn in `catalog_view`. Decides nothing: control's handlers do, in edits
that run one after another, each seeing what those before it did.

Crash safety: see `catalog_edit`. Followers: changes are numbered without gaps; `epoch` is new with every
open, so that who follows takes a new snapshot after a restart, whatever numbers it has seen.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from jobico.ids import new_instance_id
from jobico.limits import CATALOG_MAP_BYTES
from jobico.storage.catalog_edit import CatalogChange, CatalogEdit, Update
from jobico.storage.catalog_view import CATALOG_LAYOUT, CatalogView
from jobico.storage.environment import Environment
from jobico.storage.ops import Session
from jobico.storage.quarantine import Quarantine
from jobico.storage.store import Store
from jobico.storage.transaction import Txn
from jobico.storage.writer import Writer

__all__ = ["Catalog", "CatalogChange", "CatalogEdit", "CatalogView", "Update"]


class Catalog(Store):
    """The catalog of control; may be used from any thread, `close` aside.

    Attributes:
        epoch: Tells this open of the store from all others.
    """

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._quarantine = Quarantine(env, CATALOG_LAYOUT)
        self.epoch: Final = new_instance_id()
        self._writer = Writer(env, Session)

    @classmethod
    def open(cls, path: Path, *, map_bytes: int = CATALOG_MAP_BYTES) -> Self:
        """Opens the catalog in directory `path`, made if need be.

        Raises:
            StorageUnavailable, StoreVersion: see `Environment.open`.
        """
        return cls(Environment.open(path, CATALOG_LAYOUT, map_bytes=map_bytes))

    def submit(
        self, op: Callable[[CatalogEdit], bytes], request_id: str = "", *, urgent: bool = False
    ) -> "Future[Update]":
        """Runs an edit in a coming transaction; the future resolves once that is synced.

        Args:
            op: What to do; answers with the reply to keep. It runs in the writer thread, perhaps more than
            once, so
                it does nothing but edit. An error that it raises comes out of the future; nothing of it is
                stored.
            request_id: With an id that was seen before, `op` does not run and its first reply is the answer.
            urgent: It may use the reserve of a full disk: what revokes or deletes.
        """
        return self._writer.submit(
            lambda session: CatalogEdit(session.txn).run(op, request_id), growth=not urgent
        )

    @contextmanager
    def view(self) -> Iterator[CatalogView]:
        """A consistent view of the catalog; keep it short."""
        with self._env.read() as txn:
            yield _ReportingView(txn, self._report)

    @property
    def seq(self) -> int:
        """The number of the last change."""
        with self._env.read() as txn:
            return CatalogView(txn).seq

    def _report(self, table: str, key: bytes) -> None:
        self._quarantine.report(self._writer, table, key)


class _ReportingView(CatalogView):
    """A view of a reader, who cannot set a damaged row aside but can tell."""

    def __init__(self, txn: Txn, report: Callable[[str, bytes], None]) -> None:
        super().__init__(txn)
        self._report = report

    def damaged(self, table: str, key: bytes) -> None:
        self._report(table, key)
