"""The tables of the repository's store, and what is done to them within one transaction.

blobs    digest (32)                        -> parts: content
owners   tenant | 0 | digest (32)           -> sealed: Owned: kind, size, when it was first uploaded
names    tenant | 0 | kind | "/" | name     -> sealed: Named: digest, when it was bound
holders  digest (32) | tenant               -> nothing: who keeps a blob alive
reports  digest (32) | function             -> sealed: ModuleReport
usage    tenant                             -> sealed: bytes that it owns
"""

from collections.abc import Iterator
from typing import Final, TypeVar

import msgspec

from jobico.artifact import ArtifactInfo, ModuleReport
from jobico.errors import CorruptRecord, NotFound, QuotaExceeded
from jobico.storage.layout import Form, Layout
from jobico.storage.quarantine import set_aside
from jobico.storage.transaction import Txn
from jobico.storage.values import delete_value, get_value, seal, unseal
from jobico.units import format_size

__all__ = [
    "ARTIFACTS_LAYOUT",
    "Named",
    "Owned",
    "all_names",
    "artifact_info",
    "drop_holder",
    "encode",
    "get_blob",
    "get_owned",
    "name_key",
    "not_found",
    "open_value",
    "own",
    "parse_digest",
]

ARTIFACTS_LAYOUT: Final = Layout(
    kind="artifacts",
    schema=1,
    tables={
        "blobs": Form.PARTS,
        "owners": Form.SEALED,
        "names": Form.SEALED,
        "holders": Form.PLAIN,
        "reports": Form.SEALED,
        "usage": Form.SEALED,
    },
)

_PREFIX: Final = "sha256:"
encode = msgspec.msgpack.Encoder().encode
T = TypeVar("T")


class Owned(msgspec.Struct, frozen=True, array_like=True):
    """That a tenant owns a digest."""

    kind: str
    size_bytes: int
    uploaded_ms: int


class Named(msgspec.Struct, frozen=True, array_like=True):
    """What a name stands for."""

    digest: bytes
    bound_ms: int


def parse_digest(text: str) -> bytes | None:
    """The 32 bytes of `sha256:…`, or None where `text` is a name."""
    if not text.startswith(_PREFIX):
        return None
    try:
        raw = bytes.fromhex(text.removeprefix(_PREFIX))
    except ValueError:
        return None
    return raw if len(raw) == 32 else None


def own(txn: Txn, tenant: str, digest: bytes, owned: Owned, stored_bytes_max: int) -> None:
    """Makes the tenant an owner of a digest and counts its bytes; once."""
    if get_owned(txn, tenant, digest) is not None:
        return
    used = (open_value(txn.get("usage", tenant.encode()), int) or 0) + owned.size_bytes
    if stored_bytes_max and used > stored_bytes_max:
        raise QuotaExceeded(
            f"The tenant {tenant!r} would store {format_size(used)} of at most "
            f"{format_size(stored_bytes_max)}: have its quota raised.",
            detail={"stored_bytes": used, "stored_bytes_max": stored_bytes_max},
        )
    txn.put("owners", _owner_key(tenant, digest), seal(encode(owned)))
    txn.put("holders", digest + tenant.encode(), b"")
    txn.put("usage", tenant.encode(), seal(encode(used)))


def drop_holder(txn: Txn, digest: bytes, tenant: str) -> None:
    """Takes one owner from a blob; the last one takes it along."""
    txn.delete("holders", digest + tenant.encode())
    if next(txn.items("holders", digest), None) is None:
        delete_value(txn.cursor("blobs"), digest)
        for key, _ in list(txn.items("reports", digest)):
            txn.delete("reports", key)


def get_blob(txn: Txn, digest: bytes) -> bytes | None:
    """A stored blob; a damaged one is set aside, so that it can be put again."""
    try:
        return get_value(txn.cursor("blobs"), digest)
    except CorruptRecord:
        set_aside(txn, ARTIFACTS_LAYOUT, "blobs", digest)
        return None


def artifact_info(
    txn: Txn, tenant: str, kind: str, name: str, *, digest: bytes, function: str
) -> ArtifactInfo:
    """What is known of an artifact that the tenant owns."""
    owned = get_owned(txn, tenant, digest) or Owned(kind, 0, 0)
    named = open_value(txn.get("names", name_key(tenant, kind, name)), Named) if name else None
    return ArtifactInfo(
        tenant=tenant,
        kind=kind,
        name=name,
        digest=_PREFIX + digest.hex(),
        size_bytes=owned.size_bytes,
        uploaded_ms=owned.uploaded_ms if named is None else named.bound_ms,
        report=open_value(txn.get("reports", digest + function.encode()), ModuleReport),
    )


def all_names(txn: Txn, tenant: str) -> Iterator[tuple[str, str, str, bytes]]:
    """Tenant, kind, name and digest of each name of a tenant, or of all."""
    for key, sealed in txn.items("names", tenant.encode() + b"\0" if tenant else b""):
        named = open_value(sealed, Named)
        if named is not None:
            owner, _, rest = key.decode().partition("\0")
            kind, _, name = rest.partition("/")
            yield owner, kind, name, named.digest


def get_owned(txn: Txn, tenant: str, digest: bytes) -> Owned | None:
    """That the tenant owns a digest, or None."""
    return open_value(txn.get("owners", _owner_key(tenant, digest)), Owned)


def open_value(sealed: bytes | None, shape: type[T]) -> T | None:
    """A small value; a damaged one is as if it were not there, and the next put makes it anew."""
    if sealed is None:
        return None
    try:
        return msgspec.msgpack.decode(unseal(sealed), type=shape)
    except CorruptRecord:
        return None


def _owner_key(tenant: str, digest: bytes) -> bytes:
    return tenant.encode() + b"\0" + digest


def name_key(tenant: str, kind: str, name: str) -> bytes:
    """The key of a name."""
    return f"{tenant}\0{kind}/{name}".encode()


def not_found(tenant: str, ref: str, kind: str = "artifact") -> NotFound:
    """The error for what a tenant does not have."""
    whose = f"The tenant {tenant!r} has" if tenant else "There is"
    return NotFound(f"{whose} no {kind} {ref!r}: upload it with `jobico upload`.")
