"""Control's catalog: changes are numbered and atomic, requests may come twice, revisions are kept."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from storage_kit import damage

from jobico.definition import JobDefinition, Revision
from jobico.errors import InvalidInput, NotFound
from jobico.limits import MIB
from jobico.registry import NodeInfo
from jobico.storage import catalog_edit
from jobico.storage.catalog import Catalog, CatalogEdit, Update
from jobico.tenancy import KeyInfo, Quotas, SecretInfo, TenantInfo

ACME = TenantInfo("acme", 1, Quotas(weight=3))


def key_info(key_id: str, tenant: str = "acme", revoked_ms: int = 0) -> KeyInfo:
    return KeyInfo(key_id, tenant, "admin", "digest", revoked_ms=revoked_ms)


def revision(number: int, job: str = "customers", tenant: str = "acme") -> Revision:
    definition = JobDefinition(id=job, tenant=tenant, queues=(), runtimes=(), events=())
    return Revision(definition, number, created_ms=number, modules={}, schemas={}, source="x" * 20_000)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog", map_bytes=64 * MIB)
    yield opened
    opened.close()


def edit(catalog: Catalog, *verbs: Callable[[CatalogEdit], object], request_id: str = "") -> Update:
    """Does verbs in one edit; the reply is empty."""

    def op(editing: CatalogEdit) -> bytes:
        for verb in verbs:
            verb(editing)
        return b""

    return catalog.submit(op, request_id).result()


def deploy(catalog: Catalog, count: int, job: str = "customers", tenant: str = "acme") -> None:
    for _ in range(count):
        edit(catalog, lambda e: e.put_revision(revision(e.next_number(tenant, job), job, tenant)))


def test_changes_are_numbered_without_gaps_and_outlive_a_restart(tmp_path: Path) -> None:
    catalog = Catalog.open(tmp_path, map_bytes=64 * MIB)
    first = edit(catalog, lambda e: e.put_tenant(ACME), lambda e: e.put_key(key_info("k1")))
    epoch = catalog.epoch
    catalog.close()
    catalog = Catalog.open(tmp_path, map_bytes=64 * MIB)
    second = edit(catalog, lambda e: e.put_peer("Z85", "node"))
    assert [change.seq for change in first.changes + second.changes] == [1, 2, 3]
    assert first.changes[0][1:] == ("tenants", "acme", ACME)
    assert catalog.seq == 3
    assert catalog.epoch != epoch
    catalog.close()


def test_a_request_that_comes_twice_is_done_once_and_answered_alike(catalog: Catalog) -> None:
    runs = []

    def op(editing: CatalogEdit) -> bytes:
        runs.append(1)
        editing.put_tenant(ACME)
        return b"reply"

    first, second = (catalog.submit(op, "request-1").result() for _ in range(2))
    assert (first.reply, first.repeated, len(first.changes)) == (b"reply", False, 1)
    assert second == Update(b"reply", (), repeated=True)
    assert runs == [1]


def test_only_so_many_requests_are_remembered(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog_edit, "REQUEST_IDS_REMEMBERED", 3)
    for n in range(5):
        edit(catalog, request_id=f"r{n}")
    assert [edit(catalog, request_id=f"r{n}").repeated for n in (4, 3, 2, 1)] == [True, True, True, False]


def test_an_edit_that_raises_stores_nothing_and_is_not_remembered(catalog: Catalog) -> None:
    def fail(editing: CatalogEdit) -> bytes:
        editing.put_tenant(ACME)
        raise InvalidInput("no")

    with pytest.raises(InvalidInput):
        catalog.submit(fail, "r").result()
    assert catalog.seq == 0
    assert not edit(catalog, request_id="r").repeated


def test_edits_that_share_a_transaction_see_each_other(catalog: Catalog) -> None:
    held = threading.Event()
    catalog.submit(lambda _: b"%d" % held.wait(20))
    op = lambda e: e.put_revision(revision(e.next_number("acme", "customers"))) or b""  # noqa: E731
    futures = [catalog.submit(op) for _ in range(5)]
    held.set()
    assert [change.seq for future in futures for change in future.result().changes] == [1, 2, 3, 4, 5]
    with catalog.view() as view:
        assert view.kept("acme", "customers") == (1, 2, 3, 4, 5)


def test_the_current_revision_is_the_last_until_a_rollback(catalog: Catalog) -> None:
    deploy(catalog, 3)
    with catalog.view() as view:
        assert view.revision("acme", "customers") == revision(3)
        assert view.revision("acme", "customers", 2) == revision(2)
        assert view.revision("acme", "customers", 9) is None
    update = edit(catalog, lambda e: e.set_current("acme", "customers", 1))
    assert update.changes[0][1:] == ("jobs", "acme/customers", revision(1))
    with catalog.view() as view:
        assert view.current() == [revision(1)]
    deploy(catalog, 1)
    with catalog.view() as view:
        assert view.current("acme") == [revision(4)]


def test_a_rollback_to_what_is_not_kept_says_so(catalog: Catalog) -> None:
    deploy(catalog, 1)
    for number in (0, 2):
        with pytest.raises(NotFound, match="no revision"):
            edit(catalog, lambda e, number=number: e.set_current("acme", "customers", number))


def test_old_revisions_go_past_the_bound(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog_edit, "REVISIONS_KEPT_MAX", 3)
    deploy(catalog, 5)
    deploy(catalog, 1, job="customers2")
    with catalog.view() as view:
        assert view.kept("acme", "customers") == (3, 4, 5)
        assert view.kept("acme", "customers2") == (1,)


def test_numbers_go_on_after_an_undeploy(catalog: Catalog) -> None:
    deploy(catalog, 2)
    update = edit(catalog, lambda e: e.delete_job("acme", "customers"))
    assert update.changes[0][1:] == ("jobs", "acme/customers", None)
    assert edit(catalog, lambda e: e.delete_job("acme", "customers")).changes == ()
    with catalog.view() as view:
        assert view.current() == []
        assert view.revision("acme", "customers") is None
    deploy(catalog, 1)
    with catalog.view() as view:
        assert view.current() == [revision(3)]


def test_a_deleted_tenant_takes_what_is_its_own_and_nothing_else(catalog: Catalog) -> None:
    for tenant in ("acme", "acme2", "ac"):
        edit(
            catalog,
            lambda e, t=tenant: e.put_tenant(TenantInfo(t, 1)),
            lambda e, t=tenant: e.put_key(key_info(f"key-{t}", t)),
            lambda e, t=tenant: e.put_secret(t, "S", b"sealed", changed_ms=5),
        )
        deploy(catalog, 1, tenant=tenant)
    update = edit(catalog, lambda e: e.delete_tenant("acme", 1))
    assert {(change.table, change.key, change.value) for change in update.changes} == {
        ("keys", "key-acme", None),
        ("jobs", "acme/customers", None),
        ("secrets", "acme/S", None),
        ("tenants", "acme", None),
    }
    with catalog.view() as view:
        assert set(view.snapshot()["tenants"]) == {"acme2", "ac"}
        assert set(view.snapshot()["jobs"]) == {"acme2/customers", "ac/customers"}
        assert {info.tenant for info in view.keys("")} == {"acme2", "ac"}
        assert view.secret("acme", "S") is None
        assert view.secret("ac", "S") == b"sealed"
        assert view.tenant("acme") is None


def test_the_snapshot_is_what_its_changes_made(catalog: Catalog) -> None:
    node = NodeInfo("listener", "listener", "i", 1, "host", "0.1", {"rep": "ipc://x"}, load={"queued": 3.0})
    edit(
        catalog,
        lambda e: e.put_tenant(ACME),
        lambda e: e.put_key(key_info("k1", revoked_ms=9)),
        lambda e: e.put_node(node),
        lambda e: e.put_peer("Z85", "node"),
        lambda e: e.put_secret("acme", "API_KEY", b"\x00sealed", changed_ms=7, values=2),
    )
    deploy(catalog, 1)
    with catalog.view() as view:
        assert view.snapshot() == {
            "tenants": {"acme": ACME},
            "keys": {"k1": key_info("k1", revoked_ms=9)},
            "jobs": {"acme/customers": revision(1)},
            "nodes": {"listener": node},
            "secrets": {"acme/API_KEY": b"\x00sealed"},
            "peers": {"Z85": "node"},
        }
        assert view.secrets("acme") == [SecretInfo("API_KEY", 7, 2)]
    gone = edit(
        catalog,
        lambda e: e.delete_node("listener"),
        lambda e: e.delete_peer("Z85"),
        lambda e: e.delete_secret("acme", "API_KEY"),
        lambda e: e.delete_node("nobody"),
        lambda e: e.delete_peer("nobody"),
        lambda e: e.delete_secret("acme", "nothing"),
    )
    assert [change[1:] for change in gone.changes] == [
        ("nodes", "listener", None),
        ("peers", "Z85", None),
        ("secrets", "acme/API_KEY", None),
    ]


def test_the_audit_log_is_read_newest_first_by_page_and_tenant(catalog: Catalog) -> None:
    for n in range(1, 8):
        tenant = "acme" if n % 2 else ""
        edit(
            catalog,
            lambda e, n=n, t=tenant: e.log(at_ms=n, role="local", action="x", subject=str(n), tenant=t),
        )
    with catalog.view() as view:
        for arguments, numbers, following in (
            ((), [7, 6, 5, 4, 3, 2, 1], 0),
            (("", 0, 2), [7, 6], 6),
            (("", 6, 2), [5, 4], 4),
            (("acme", 6), [5, 3, 1], 0),
            (("acme", 0, 4), [7, 5, 3, 1], 0),
        ):
            entries, then = view.audit(*arguments)
            assert ([entry.number for entry in entries], then) == (numbers, following)


def test_a_question_about_the_audit_log_looks_at_a_bounded_number_of_entries(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobico.storage.catalog_view.AUDIT_LOOKED_AT_MAX", 3)
    for n in range(1, 8):
        tenant = "acme" if n == 1 else "other"
        edit(
            catalog,
            lambda e, n=n, t=tenant: e.log(at_ms=n, role="local", action="x", subject=str(n), tenant=t),
        )
    with catalog.view() as view:
        assert view.audit("acme") == ([], 5)
        assert view.audit("acme", before=5) == ([], 2)
        entries, then = view.audit("acme", before=2)
    assert ([entry.number for entry in entries], then) == ([1], 0)


def test_past_its_bound_the_audit_log_drops_the_oldest_entries(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobico.storage.catalog_edit.AUDIT_ENTRIES_MAX", 3)
    for n in range(1, 6):
        edit(catalog, lambda e, n=n: e.log(at_ms=n, role="local", action="x", subject=str(n)))
    with catalog.view() as view:
        assert [entry.number for entry in view.audit()[0]] == [5, 4, 3]


def test_a_damaged_row_is_set_aside_and_the_rest_is_served(tmp_path: Path) -> None:
    catalog = Catalog.open(tmp_path, map_bytes=64 * MIB)
    for name in ("ab", "abcd", "b"):
        edit(catalog, lambda e, name=name: e.put_tenant(TenantInfo(name, 1)))
    catalog.close()
    damage(tmp_path, "tenants", b"ab")
    catalog = Catalog.open(tmp_path, map_bytes=64 * MIB)
    with catalog.view() as view:
        assert [info.name for info in view.tenants()] == ["abcd", "b"]
    assert catalog.damaged == 1
    edit(catalog, lambda e: e.put_tenant(TenantInfo("ab", 2)))
    with catalog.view() as view:
        assert [info.name for info in view.tenants()] == ["ab", "abcd", "b"]
    catalog.close()
