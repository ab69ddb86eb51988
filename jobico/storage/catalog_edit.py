"""What can be done to control's catalog, within one transaction; the tables are drawn in `catalog_view`.

SAFETY: a change, its number, its audit entry and the reply to its request are one transaction: a request
that comes again after a crash finds all of them, or none. An edit may be undone and run again: it keeps
nothing outside.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from jobico.audit import AuditEntry
from jobico.definition import Revision
from jobico.errors import NotFound
from jobico.limits import AUDIT_ENTRIES_MAX, REQUEST_IDS_REMEMBERED, REVISIONS_KEPT_MAX
from jobico.registry import NodeInfo
from jobico.storage.catalog_view import CATALOG_LAYOUT, CatalogView, Job, Secret, encode, pair, revision_key
from jobico.storage.environment import META
from jobico.storage.quarantine import set_aside
from jobico.storage.transaction import Txn
from jobico.storage.values import seal
from jobico.tenancy import KeyInfo, SecretInfo, TenantInfo

__all__ = ["CatalogChange", "CatalogEdit", "Update"]


class CatalogChange(NamedTuple):
    """One change for those who follow: `table` and `key` as `snapshot` has them; `value` None deletes."""

    seq: int
    table: str
    key: str
    value: Any


class Update(NamedTuple):
    """What came of one edit."""

    reply: bytes
    """What the edit answered or, where it is `repeated`, what it answered the first time."""
    changes: tuple[CatalogChange, ...]
    repeated: bool


class CatalogEdit(CatalogView):
    """The catalog within a write transaction."""

    def __init__(self, txn: Txn) -> None:
        super().__init__(txn)
        self._seq = self.seq
        self._changes: list[CatalogChange] = []

    # --- Requests -----------------------------------------------------------------------------------------

    def run(self, op: Callable[["CatalogEdit"], bytes], request_id: str) -> Update:
        """Runs `op` and keeps its reply or, where the request is known, answers with the reply it got."""
        known = self._get("requests", request_id.encode(), tuple[int, bytes]) if request_id else None
        if known is not None:
            return Update(known[1], (), repeated=True)
        self._changes = []
        reply = op(self)
        if request_id:
            self._remember(request_id, reply)
        if self._changes:
            self.txn.put(META, b"seq", b"%d" % self._seq)
        return Update(reply, tuple(self._changes), repeated=False)

    def _remember(self, request_id: str, reply: bytes) -> None:
        number = self._next("request_ids")
        self._put("requests", request_id.encode(), (number, reply))
        self.txn.put("request_ids", number.to_bytes(8), request_id.encode(), append=True)
        if number > REQUEST_IDS_REMEMBERED:
            forgotten = self.txn.pop("request_ids", (number - REQUEST_IDS_REMEMBERED).to_bytes(8))
            if forgotten is not None:
                self.txn.delete("requests", forgotten)

    # --- Tenants, keys, secrets, peers --------------------------------------------------------------------

    def put_tenant(self, info: TenantInfo) -> None:
        """Makes or changes a tenant."""
        self._put("tenants", info.name.encode(), info)
        self._changed("tenants", info.name, info)

    def delete_tenant(self, name: str, now_ms: int) -> bool:
        """Deletes a tenant with its keys, jobs and secrets; False where there is none."""
        if not self.txn.delete("tenants", name.encode()):
            return False
        self._put("former", name.encode(), now_ms)
        for info in self.keys(name):
            self.txn.delete("keys", info.id.encode())
            self._changed("keys", info.id, None)
        prefix = pair(name, "")
        for key, _ in list(self.txn.items("jobs", prefix)):
            self.delete_job(name, key[len(prefix) :].decode())
            self.txn.delete("jobs", key)
        for key, _ in list(self.txn.items("secrets", prefix)):
            self.delete_secret(name, key[len(prefix) :].decode())
        self._changed("tenants", name, None)
        return True

    def put_key(self, info: KeyInfo) -> None:
        """Makes or changes a bearer key."""
        self._put("keys", info.id.encode(), info)
        self._changed("keys", info.id, info)

    def put_secret(self, tenant: str, name: str, sealed: bytes, *, changed_ms: int, values: int = 1) -> None:
        """Makes or changes a secret; `sealed` is opaque here."""
        self._put("secrets", pair(tenant, name), Secret(sealed, SecretInfo(name, changed_ms, values)))
        self._changed("secrets", f"{tenant}/{name}", sealed)

    def delete_secret(self, tenant: str, name: str) -> bool:
        """Deletes a secret; False where there is none."""
        found = self.txn.delete("secrets", pair(tenant, name))
        if found:
            self._changed("secrets", f"{tenant}/{name}", None)
        return found

    def put_peer(self, key: str, role: str) -> None:
        """Lets a CURVE public key in, with a role."""
        self._put("peers", key.encode(), role)
        self._changed("peers", key, role)

    def delete_peer(self, key: str) -> bool:
        """Lets a CURVE public key in no more; False where it was not."""
        found = self.txn.delete("peers", key.encode())
        if found:
            self._changed("peers", key, None)
        return found

    # --- Jobs ---------------------------------------------------------------------------------------------

    def next_number(self, tenant: str, job: str) -> int:
        """The number of the next revision of a job."""
        row = self._get("jobs", pair(tenant, job), Job)
        return 1 if row is None else row.last + 1

    def put_revision(self, revision: Revision) -> None:
        """Stores a revision, whose number is `next_number`, as the current one; drops the oldest."""
        tenant, job = revision.definition.tenant, revision.definition.id
        assert revision.number == self.next_number(tenant, job)
        self._put("revisions", revision_key(tenant, job, revision.number), revision)
        self._put("jobs", pair(tenant, job), Job(revision.number, revision.number))
        for number in self.kept(tenant, job)[:-REVISIONS_KEPT_MAX]:
            self.txn.delete("revisions", revision_key(tenant, job, number))
        self._changed("jobs", f"{tenant}/{job}", revision)

    def set_current(self, tenant: str, job: str, number: int) -> Revision:
        """Makes a revision that is kept current.

        Raises:
            NotFound: it is not kept.
        """
        row = self._get("jobs", pair(tenant, job), Job)
        revision = self.revision(tenant, job, number) if number else None
        if row is None or revision is None:
            raise NotFound(
                f"The job {job!r} of {tenant!r} has no revision {number}: `jobico show job` lists them."
            )
        self._put("jobs", pair(tenant, job), Job(number, row.last))
        self._changed("jobs", f"{tenant}/{job}", revision)
        return revision

    def delete_job(self, tenant: str, job: str) -> bool:
        """Withdraws a job and drops its revisions; numbers go on where it is deployed again."""
        row = self._get("jobs", pair(tenant, job), Job)
        if row is None or not row.current:
            return False
        current = self.revision(tenant, job)
        for event in current.definition.events if current else ():
            self.txn.delete("schedules", pair(tenant, event.id))
        for number in self.kept(tenant, job):
            self.txn.delete("revisions", revision_key(tenant, job, number))
        self._put("jobs", pair(tenant, job), Job(0, row.last))
        self._changed("jobs", f"{tenant}/{job}", None)
        return True

    def put_schedule(self, tenant: str, event: str, settled_ms: int) -> None:
        """Says that the schedule of an event has fired up to that wall time."""
        self._put("schedules", pair(tenant, event), settled_ms)

    # --- Nodes and audit ----------------------------------------------------------------------------------

    def put_node(self, info: NodeInfo) -> None:
        """Makes or changes a node of the registry."""
        self._put("nodes", info.name.encode(), info)
        self._changed("nodes", info.name, info)

    def delete_node(self, name: str) -> bool:
        """Takes a node out of the registry; False where it is not in it."""
        found = self.txn.delete("nodes", name.encode())
        if found:
            self._changed("nodes", name, None)
        return found

    def log(
        self,
        *,
        at_ms: int,
        role: str,
        action: str,
        subject: str,
        tenant: str = "",
        key: str = "",
        detail: str = "",
    ) -> AuditEntry:
        """Appends to the audit log; the fields are those of `AuditEntry`. Past the bound the oldest goes."""
        number = self._next("audit")
        oldest = self.txn.cursor("audit")
        if oldest.first() and number - int.from_bytes(oldest.key()) >= AUDIT_ENTRIES_MAX:
            self.txn.delete("audit", oldest.key())
        entry = AuditEntry(number, at_ms, role, action, subject, tenant, key, detail)
        self.txn.put("audit", number.to_bytes(8), seal(encode(entry)), append=True)
        return entry

    # --- Rows ---------------------------------------------------------------------------------------------

    def damaged(self, table: str, key: bytes) -> None:
        """Sets a damaged row aside."""
        set_aside(self.txn, CATALOG_LAYOUT, table, key)

    def _put(self, table: str, key: bytes, value: object) -> None:
        self.txn.put(table, key, seal(encode(value)))

    def _changed(self, table: str, key: str, value: Any) -> None:
        self._seq += 1
        self._changes.append(CatalogChange(self._seq, table, key, value))

    def _next(self, table: str) -> int:
        """One more than the last number in `table`."""
        cursor = self.txn.cursor(table)
        return int.from_bytes(cursor.key()) + 1 if cursor.last() else 1
