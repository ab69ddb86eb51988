"""The repository's artifacts: by digest, once, named and owned by tenants."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from storage_kit import damage

from jobico.artifact import ModuleReport
from jobico.errors import CorruptRecord, NotFound, QuotaExceeded
from jobico.ids import digest_of
from jobico.limits import MIB
from jobico.storage.artifacts import Artifacts

REPORT = ModuleReport(
    valid=True, abi="command", imports=(), exports=("_start: func",), size_bytes=4, sha256="x"
)
MODULE = b"\0asm" * 3_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Artifacts]:
    opened = Artifacts.open(tmp_path / "artifacts", map_bytes=256 * MIB)
    yield opened
    opened.close()


def put(store: Artifacts, tenant: str = "acme", content: bytes = MODULE, **fields: object) -> str:
    """Puts a module; answers its digest."""
    return store.put(tenant, "wasm", content, now_ms=1, **fields).result().digest  # type: ignore[arg-type]


@pytest.mark.parametrize("size_bytes", [0, 1, 5_000, 3 * MIB])
def test_content_comes_back_under_its_digest(store: Artifacts, size_bytes: int) -> None:
    content = b"\xa5" * size_bytes
    assert put(store, content=content) == digest_of(content)
    assert store.content(digest_of(content)) == content
    assert store.content(digest_of(content), "acme") == content


def test_a_name_and_a_digest_resolve_to_the_same_artifact(store: Artifacts) -> None:
    digest = put(store, name="greet.wasm", report=REPORT)
    named = store.resolve("acme", "wasm", "greet.wasm")
    assert (named.name, named.digest, named.size_bytes, named.report) == (
        "greet.wasm",
        digest,
        len(MODULE),
        REPORT,
    )
    assert store.resolve("acme", "wasm", digest).digest == digest
    assert store.resolve("acme", "wasm", digest).name == ""


def test_a_name_means_what_was_put_last(store: Artifacts) -> None:
    put(store, name="m", content=b"one")
    put(store, name="m", content=b"two")
    assert store.resolve("acme", "wasm", "m").digest == digest_of(b"two")
    assert store.content(digest_of(b"one"), "acme") == b"one"


@pytest.mark.parametrize("ref", ["other", "sha256:" + "0" * 64, "sha256:xyz", "sha256:", ""])
def test_what_is_not_there_is_not_found(store: Artifacts, ref: str) -> None:
    put(store, name="greet.wasm")
    with pytest.raises(NotFound, match="jobico upload"):
        store.resolve("acme", "wasm", ref)
    with pytest.raises(NotFound):
        store.content(ref)


def test_what_is_anothers_is_as_if_it_were_not_there(store: Artifacts) -> None:
    digest = put(store, name="greet.wasm")
    for tenant in ("acm", "acme2", "globex"):
        with pytest.raises(NotFound):
            store.resolve(tenant, "wasm", digest)
        with pytest.raises(NotFound):
            store.resolve(tenant, "wasm", "greet.wasm")
        with pytest.raises(NotFound):
            store.content(digest, tenant)
        with pytest.raises(NotFound):
            store.bind(tenant, {"wasm/mine": digest}, now_ms=2).result()


def test_a_schema_is_no_module(store: Artifacts) -> None:
    digest = store.put("acme", "json", b"{}", now_ms=1, name="greet").result().digest
    for ref in ("greet", digest):
        with pytest.raises(NotFound):
            store.resolve("acme", "wasm", ref)


def test_names_are_bound_all_or_none(store: Artifacts) -> None:
    digest = put(store)
    with pytest.raises(NotFound):
        store.bind("acme", {"wasm/a": digest, "wasm/b": digest_of(b"?")}, now_ms=2).result()
    with pytest.raises(NotFound):
        store.resolve("acme", "wasm", "a")
    store.bind("acme", {"wasm/a": digest, "wasm/b": digest}, now_ms=2).result()
    assert store.resolve("acme", "wasm", "b").uploaded_ms == 2


def test_the_list_has_names_and_what_has_none(store: Artifacts) -> None:
    put(store, name="b")
    put(store, name="a")
    put(store, content=b"unnamed")
    store.put("globex", "json", b"{}", now_ms=1, name="s").result()
    assert [info.name for info in store.list("acme")] == ["a", "b", ""]
    assert [(info.tenant, info.name) for info in store.list(kind="json")] == [("globex", "s")]
    assert len(store.list()) == 4


def test_a_report_is_kept_for_each_entry_function(store: Artifacts) -> None:
    digest = put(store, report=REPORT)
    assert store.resolve("acme", "wasm", digest, "handle").report is None
    other = ModuleReport(valid=False, abi="unknown", imports=(), exports=(), size_bytes=4, sha256="x")
    store.put_report(digest, "handle", other).result()
    assert store.resolve("acme", "wasm", digest, "handle").report == other
    assert store.resolve("acme", "wasm", digest).report == REPORT


def test_a_tenants_bytes_are_counted_once_and_bounded(store: Artifacts) -> None:
    put(store, content=b"x" * 600, name="a")
    put(store, content=b"x" * 600, name="b")
    assert store.stored_bytes("acme") == 600
    with pytest.raises(QuotaExceeded, match="at most 1000 B"):
        put(store, content=b"y" * 401, stored_bytes_max=1_000)
    put(store, content=b"y" * 400, stored_bytes_max=1_000)
    put(store, content=b"x" * 600, stored_bytes_max=1_000)
    assert store.stored_bytes("acme") == 1_000
    assert store.stored_bytes("globex") == 0


def test_a_deleted_tenant_leaves_what_others_own(store: Artifacts) -> None:
    shared, own = put(store, name="s", report=REPORT), put(store, content=b"own")
    put(store, "globex", name="theirs")
    store.delete_tenant("acme").result()
    assert store.list("acme") == []
    assert store.stored_bytes("acme") == 0
    assert store.content(shared, "globex") == MODULE
    assert store.resolve("globex", "wasm", "theirs").report == REPORT
    with pytest.raises(NotFound):
        store.content(own)


def test_a_damaged_blob_says_so_and_can_be_put_again(tmp_path: Path) -> None:
    store = Artifacts.open(tmp_path, map_bytes=64 * MIB)
    digest, other = put(store), put(store, content=b"other")
    store.close()
    damage(tmp_path, "blobs", bytes.fromhex(digest.removeprefix("sha256:")) + b"\0\1")
    store = Artifacts.open(tmp_path, map_bytes=64 * MIB)
    with pytest.raises(CorruptRecord):
        store.content(digest)
    assert store.damaged == 1
    assert store.content(other) == b"other"
    put(store)
    assert store.content(digest) == MODULE
    store.close()
