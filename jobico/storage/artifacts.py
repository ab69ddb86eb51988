"""The repository's artifacts: modules and schemas by digest, named and owned by tenants.

Owns the store of kind `artifacts`, drawn in `artifact_rows`. Never reads what it stores, and never decides
whether a module is good: whoever puts one hands in the report of its inspection.

Crash safety: a blob, its owner, its name and the tenant's usage are one transaction. A blob is its digest,
so putting one again changes nothing, and a name never points to what is not there.
"""

import hashlib
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Self

from jobico.artifact import ArtifactInfo, ModuleReport
from jobico.errors import CorruptRecord
from jobico.limits import ARTIFACTS_MAP_BYTES
from jobico.storage.artifact_rows import (
    ARTIFACTS_LAYOUT,
    Named,
    Owned,
    all_names,
    artifact_info,
    drop_holder,
    encode,
    get_blob,
    get_owned,
    name_key,
    not_found,
    open_value,
    own,
    parse_digest,
)
from jobico.storage.environment import Environment
from jobico.storage.ops import Session
from jobico.storage.quarantine import Quarantine
from jobico.storage.store import Store
from jobico.storage.values import get_value, put_value, seal
from jobico.storage.writer import Writer

__all__ = ["Artifacts"]


class Artifacts(Store):
    """The artifacts of the repository; may be used from any thread, `close` aside."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._quarantine = Quarantine(env, ARTIFACTS_LAYOUT)
        self._writer = Writer(env, Session)

    @classmethod
    def open(cls, path: Path, *, map_bytes: int = ARTIFACTS_MAP_BYTES) -> Self:
        """Opens the store in directory `path`, made if need be.

        Raises:
            StorageUnavailable, StoreVersion: see `Environment.open`.
        """
        return cls(Environment.open(path, ARTIFACTS_LAYOUT, map_bytes=map_bytes))

    # --- Writing ------------------------------------------------------------------------------------------

    def put(
        self,
        tenant: str,
        kind: str,
        content: bytes,
        *,
        now_ms: int,
        name: str = "",
        report: ModuleReport | None = None,
        function: str = "event",
        stored_bytes_max: int = 0,
    ) -> "Future[ArtifactInfo]":
        """Stores a file of a tenant under its digest and, with a name, under that too; resolves once synced.

        Args:
            tenant: Whose it is.
            kind: wasm or json.
            content: The file.
            now_ms: Wall clock.
            name: What it is called; a name that is taken means the new file from now on.
            report: What the inspection of a module for `function` found.
            function: See `report`.
            stored_bytes_max: Refuse with `QuotaExceeded` what would take the tenant past this; 0: no bound.
        """
        digest = hashlib.sha256(content).digest()

        def op(session: Session) -> ArtifactInfo:
            txn = session.txn
            own(txn, tenant, digest, Owned(kind, len(content), now_ms), stored_bytes_max)
            if get_blob(txn, digest) is None:
                put_value(txn.cursor("blobs"), digest, content)
            if report is not None:
                txn.put("reports", digest + function.encode(), seal(encode(report)))
            if name:
                txn.put("names", name_key(tenant, kind, name), seal(encode(Named(digest, now_ms))))
            return artifact_info(txn, tenant, kind, name, digest=digest, function=function)

        return self._writer.submit(op, size_bytes=len(content))

    def bind(self, tenant: str, names: Mapping[str, str], *, now_ms: int) -> "Future[None]":
        """Gives names (`kind/name`) to digests that the tenant owns, all or none.

        The future raises `NotFound` where it does not own one of them.
        """

        def op(session: Session) -> None:
            txn = session.txn
            for name, digest in names.items():
                raw = parse_digest(digest)
                if raw is None or get_owned(txn, tenant, raw) is None:
                    raise not_found(tenant, digest)
                kind, _, rest = name.partition("/")
                txn.put("names", name_key(tenant, kind, rest), seal(encode(Named(raw, now_ms))))

        return self._writer.submit(op)

    def put_report(self, digest: str, function: str, report: ModuleReport) -> "Future[None]":
        """Stores what the inspection of a module for one entry function found."""
        raw = parse_digest(digest) or b""

        def op(session: Session) -> None:
            session.txn.put("reports", raw + function.encode(), seal(encode(report)))

        return self._writer.submit(op)

    def delete_tenant(self, tenant: str) -> "Future[None]":
        """Deletes what a tenant owns and named; blobs that nobody else owns go too."""

        def op(session: Session) -> None:
            txn = session.txn
            prefix = tenant.encode() + b"\0"
            for key, _ in list(txn.items("names", prefix)):
                txn.delete("names", key)
            for key, _ in list(txn.items("owners", prefix)):
                txn.delete("owners", key)
                drop_holder(txn, key[len(prefix) :], tenant)
            txn.delete("usage", tenant.encode())

        return self._writer.submit(op, growth=False)

    # --- Reading ------------------------------------------------------------------------------------------

    def resolve(self, tenant: str, kind: str, ref: str, function: str = "event") -> ArtifactInfo:
        """What a name or digest of a tenant means, with the report for `function` where there is one.

        Raises:
            NotFound: the tenant has no such artifact.
        """
        with self._env.read() as txn:
            digest = parse_digest(ref)
            name = "" if digest is not None else ref
            if digest is None:
                named = open_value(txn.get("names", name_key(tenant, kind, ref)), Named)
                digest = None if named is None else named.digest
            owned = None if digest is None else get_owned(txn, tenant, digest)
            if digest is None or owned is None or owned.kind != kind:
                raise not_found(tenant, ref, kind)
            return artifact_info(txn, tenant, kind, name, digest=digest, function=function)

    def content(self, digest: str, tenant: str = "") -> bytes:
        """The bytes under a digest; with a tenant, only where it owns them.

        Raises:
            NotFound: there are none, or they are not the tenant's. CorruptRecord: they are damaged; put
            them again.
        """
        raw = parse_digest(digest)
        with self._env.read() as txn:
            # SECURITY: who does not own a digest is not told whether it is there.
            if raw is None or (tenant and get_owned(txn, tenant, raw) is None):
                raise not_found(tenant, digest)
            try:
                content = get_value(txn.cursor("blobs"), raw)
            except CorruptRecord:
                self._quarantine.report(self._writer, "blobs", raw)
                raise
        if content is None:
            raise not_found(tenant, digest)
        return content

    def list(self, tenant: str = "", kind: str = "") -> list[ArtifactInfo]:
        """Named artifacts, then those without a name, of a tenant or of all."""
        found = []
        with self._env.read() as txn:
            seen: set[tuple[str, bytes]] = set()
            for owner, its_kind, name, digest in all_names(txn, tenant):
                seen.add((owner, digest))
                if kind in ("", its_kind):
                    found.append(artifact_info(txn, owner, its_kind, name, digest=digest, function="event"))
            prefix = tenant.encode() + b"\0" if tenant else b""
            for key, sealed in txn.items("owners", prefix):
                owner, digest = key[:-33].decode(), key[-32:]
                owned = open_value(sealed, Owned)
                if owned is not None and (owner, digest) not in seen and kind in ("", owned.kind):
                    found.append(artifact_info(txn, owner, owned.kind, "", digest=digest, function="event"))
        return found

    def stored_bytes(self, tenant: str) -> int:
        """How many bytes a tenant owns."""
        with self._env.read() as txn:
            return open_value(txn.get("usage", tenant.encode()), int) or 0
