"""What can be asked of control's catalog, within one transaction.

    tenants     tenant                        -> TenantInfo
    keys        key id                        -> KeyInfo
    jobs        tenant | 0 | job              -> Job: current revision (0: undeployed) and last number given
    revisions   tenant | 0 | job | 0 | n (4)  -> Revision
    nodes       name                          -> NodeInfo
    secrets     tenant | 0 | name             -> Secret: sealed bytes, opaque here, and what people may see
    peers       CURVE public key              -> role
    audit       number (8)                    -> AuditEntry
    requests    request id                    -> [number, reply]
    request_ids number (8)                    -> request id
    schedules   tenant | 0 | event            -> wall ms up to which its schedule has fired
    former      tenant                        -> wall ms at which it was deleted; the name is not given again
    meta        b"seq"                        -> number of the last change, decimal

Every value has its checksum in front (`values.seal`), those of `request_ids` and `meta` aside.
Never writes: `catalog_edit` does, and keeps what belongs together in one transaction.
"""

from collections.abc import Iterator
from typing import Any, Final, TypeVar

import msgspec

from jobico.audit import AuditEntry
from jobico.definition import Revision
from jobico.errors import CorruptRecord
from jobico.limits import AUDIT_LOOKED_AT_MAX, QUERY_ROWS_MAX
from jobico.registry import NodeInfo
from jobico.storage.environment import META
from jobico.storage.layout import Form, Layout
from jobico.storage.transaction import Txn
from jobico.storage.values import unseal
from jobico.tenancy import KeyInfo, SecretInfo, TenantInfo

__all__ = ["CATALOG_LAYOUT", "CatalogView", "Job", "Secret", "encode", "pair", "revision_key"]

CATALOG_LAYOUT: Final = Layout(
    kind="catalog",
    schema=1,
    tables={
        "tenants": Form.SEALED,
        "keys": Form.SEALED,
        "jobs": Form.SEALED,
        "revisions": Form.SEALED,
        "nodes": Form.SEALED,
        "secrets": Form.SEALED,
        "peers": Form.SEALED,
        "audit": Form.SEALED,
        "requests": Form.SEALED,
        "request_ids": Form.PLAIN,
        "schedules": Form.SEALED,
        "former": Form.SEALED,
    },
)

T = TypeVar("T")
encode = msgspec.msgpack.Encoder().encode


class Job(msgspec.Struct, frozen=True, array_like=True):
    """Which revision of a job is current; numbers go on after an undeploy."""

    current: int
    last: int


class Secret(msgspec.Struct, frozen=True, array_like=True):
    """A secret: bytes that only its users can open, and what people may see."""

    sealed: bytes
    info: SecretInfo


def pair(tenant: str, name: str) -> bytes:
    """The key of a thing of a tenant."""
    return tenant.encode() + b"\0" + name.encode()


def revision_key(tenant: str, job: str, number: int) -> bytes:
    """The key of a revision."""
    return pair(tenant, job) + b"\0" + number.to_bytes(4)


class CatalogView:
    """The catalog as of one transaction."""

    def __init__(self, txn: Txn) -> None:
        self.txn = txn

    @property
    def seq(self) -> int:
        """The number of the last change."""
        return int(self.txn.get(META, b"seq") or 0)

    def tenant(self, name: str) -> TenantInfo | None:
        """A tenant, or None."""
        return self._get("tenants", name.encode(), TenantInfo)

    def tenants(self) -> list[TenantInfo]:
        """All tenants by name."""
        return [info for _, info in self._all("tenants", TenantInfo)]

    def is_former(self, name: str) -> bool:
        """True for the name of a tenant that was deleted."""
        return self._get("former", name.encode(), int) is not None

    def key(self, key_id: str) -> KeyInfo | None:
        """A bearer key, or None."""
        return self._get("keys", key_id.encode(), KeyInfo)

    def keys(self, tenant: str = "") -> list[KeyInfo]:
        """The keys of a tenant, or of all; revoked ones too."""
        return [info for _, info in self._all("keys", KeyInfo) if tenant in ("", info.tenant)]

    def revision(self, tenant: str, job: str, number: int = 0) -> Revision | None:
        """A revision of a job, the current one for 0; or None."""
        if not number:
            row = self._get("jobs", pair(tenant, job), Job)
            number = row.current if row is not None else 0
        return self._get("revisions", revision_key(tenant, job, number), Revision) if number else None

    def kept(self, tenant: str, job: str) -> tuple[int, ...]:
        """Numbers of the revisions that are kept, oldest first."""
        prefix = pair(tenant, job) + b"\0"
        return tuple(int.from_bytes(key[-4:]) for key, _ in self.txn.items("revisions", prefix))

    def current(self, tenant: str = "") -> list[Revision]:
        """Current revisions of a tenant, or of all, by tenant and job."""
        found = []
        for key, job in self._all("jobs", Job, pair(tenant, "") if tenant else b""):
            owner, name = key.decode().split("\0")
            revision = self.revision(owner, name, job.current) if job.current else None
            if revision is not None:
                found.append(revision)
        return found

    def nodes(self) -> list[NodeInfo]:
        """The registry by name."""
        return [info for _, info in self._all("nodes", NodeInfo)]

    def secrets(self, tenant: str) -> list[SecretInfo]:
        """What people may see of the secrets of a tenant."""
        return [secret.info for _, secret in self._all("secrets", Secret, pair(tenant, ""))]

    def secret(self, tenant: str, name: str) -> bytes | None:
        """The sealed bytes of a secret, or None."""
        secret = self._get("secrets", pair(tenant, name), Secret)
        return None if secret is None else secret.sealed

    def peers(self) -> dict[str, str]:
        """Roles by CURVE public key."""
        return {key.decode(): role for key, role in self._all("peers", str)}

    def schedule(self, tenant: str, event: str) -> int:
        """The wall time in milliseconds up to which the schedule of an event has fired; 0 if it never has."""
        return self._get("schedules", pair(tenant, event), int) or 0

    def audit(
        self, tenant: str = "", before: int = 0, limit: int = QUERY_ROWS_MAX
    ) -> tuple[list[AuditEntry], int]:
        """Entries of the audit log, newest first, from below number `before` on; of a tenant, or all.

        Also returns the `before` to go on with, 0 where nothing is left. A page may be short, even empty, and
        not be the last: what is looked at for one is bounded, so that nobody's question holds control up.
        """
        found: list[AuditEntry] = []
        rows = self.txn.items_reversed("audit", before=before.to_bytes(8) if before else b"")
        for looked_at, (key, _) in enumerate(rows):
            if len(found) >= min(limit, QUERY_ROWS_MAX) or looked_at >= AUDIT_LOOKED_AT_MAX:
                return found, int.from_bytes(key) + 1
            entry = self._get("audit", key, AuditEntry)
            if entry is not None and tenant in ("", entry.tenant):
                found.append(entry)
        return found, 0

    def snapshot(self) -> dict[str, dict[str, Any]]:
        """What nodes follow, by table and key: structs, but sealed bytes for secrets and text for peers."""
        return {
            "tenants": {info.name: info for info in self.tenants()},
            "keys": {info.id: info for info in self.keys()},
            "jobs": {f"{each.definition.tenant}/{each.definition.id}": each for each in self.current()},
            "nodes": {info.name: info for info in self.nodes()},
            "secrets": {
                key.decode().replace("\0", "/"): secret.sealed for key, secret in self._all("secrets", Secret)
            },
            "peers": dict(self.peers()),
        }

    def damaged(self, table: str, key: bytes) -> None:
        """Hears of a damaged row; the view goes on without it."""

    def _get(self, table: str, key: bytes, shape: type[T]) -> T | None:
        sealed = self.txn.get(table, key)
        return None if sealed is None else self._open(table, key, sealed, shape)

    def _all(self, table: str, shape: type[T], prefix: bytes = b"") -> Iterator[tuple[bytes, T]]:
        """Every value whose key has that prefix, damaged ones left out."""
        for key, sealed in self.txn.items(table, prefix):
            value = self._open(table, key, sealed, shape)
            if value is not None:
                yield key, value

    def _open(self, table: str, key: bytes, sealed: bytes, shape: type[T]) -> T | None:
        try:
            return msgspec.msgpack.decode(unseal(sealed), type=shape)
        except CorruptRecord:
            self.damaged(table, key)
            return None
