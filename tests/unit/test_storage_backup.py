"""Backups are whole, say so, and come back."""

import contextlib
import threading
from pathlib import Path

import msgspec
import pytest
from storage_kit import WaitedQueue, accept, bury, damage, make_entry, make_record, settle

from jobico.errors import StorageUnavailable, StoreVersion
from jobico.limits import MIB
from jobico.storage.artifacts import Artifacts
from jobico.storage.backup import check_store, restore_store
from jobico.storage.catalog import Catalog
from jobico.storage.environment import Environment
from jobico.storage.executions import Executions
from jobico.storage.layout import Layout
from jobico.tenancy import TenantInfo


def make_queue(path: Path) -> None:
    """A queue with something in every table."""
    with WaitedQueue(path) as queue:
        first, second, third = (make_entry(seq, payload=b"x" * 9_000, attempts=1) for seq in (1, 2, 3))
        queue.apply(accept(first, second, third))
        queue.apply(settle(first), bury(second))


def test_a_queue_comes_back_from_its_backup_as_it_was(tmp_path: Path) -> None:
    make_queue(tmp_path / "queue")
    with WaitedQueue(tmp_path / "queue") as queue:
        queue.store.backup(tmp_path / "backup")
        entries, outbox = queue.entries(), queue.outbox()
        queue.apply(settle(make_entry(3)))
    report = restore_store(tmp_path / "backup", tmp_path / "restored")
    assert (report.kind, report.damaged) == ("queue", 0)
    with WaitedQueue(tmp_path / "restored") as queue:
        assert (queue.entries(), queue.outbox()) == (entries, outbox)
        assert queue.store.payload(3) == b"x" * 9_000
        assert queue.store.dead_letter("event-2") is not None
        assert queue.apply(settle(make_entry(3))) == (True,)


def test_every_kind_of_store_can_be_backed_up_and_checked(tmp_path: Path) -> None:
    catalog = Catalog.open(tmp_path / "catalog", map_bytes=8 * MIB)
    catalog.submit(lambda e: e.put_tenant(TenantInfo("acme", 1)) or b"", "r").result()
    artifacts = Artifacts.open(tmp_path / "artifacts", map_bytes=8 * MIB)
    artifacts.put("acme", "wasm", b"x" * 20_000, now_ms=1, name="n").result()
    executions = Executions.open(tmp_path / "executions", map_bytes=8 * MIB)
    executions.append([msgspec.msgpack.encode(make_record())]).result()
    for kind, store in (("catalog", catalog), ("artifacts", artifacts), ("executions", executions)):
        store.backup(tmp_path / "backup" / kind)
        store.close()
        report = check_store(tmp_path / "backup" / kind)
        assert (report.kind, report.damaged) == (kind, 0)
        assert report.values > 0


def test_a_backup_under_load_is_one_moment_of_the_queue(tmp_path: Path) -> None:
    """Every apply stores one event and settles one: at any moment there are as many as at first."""
    stop = threading.Event()
    with WaitedQueue(tmp_path / "queue") as queue:
        queue.apply(accept(*[make_entry(seq) for seq in range(1, 101)]))

        def load() -> None:
            seq = 101
            while not stop.is_set():
                queue.apply(accept(make_entry(seq, payload=b"x" * 3_000)), settle(make_entry(seq - 100)))
                seq += 1

        thread = threading.Thread(target=load)
        thread.start()
        try:
            for n in range(5):
                queue.store.backup(tmp_path / f"backup-{n}")
        finally:
            stop.set()
            thread.join()
    for n in range(5):
        assert check_store(tmp_path / f"backup-{n}").damaged == 0
        with WaitedQueue(tmp_path / f"backup-{n}") as copy:
            assert len(copy.entries()) == 100
            assert copy.store.next_seq == 101 + copy.store.outbox_rows


def test_a_backup_never_overwrites(tmp_path: Path) -> None:
    make_queue(tmp_path / "queue")
    with WaitedQueue(tmp_path / "queue") as queue:
        queue.store.backup(tmp_path / "backup")
        with pytest.raises(StorageUnavailable, match="not empty"):
            queue.store.backup(tmp_path / "backup")
    with pytest.raises(StorageUnavailable, match="has a store already"):
        restore_store(tmp_path / "backup", tmp_path / "queue")


@pytest.mark.parametrize(
    ("table", "key"),
    [("events", 3), ("states", 3), ("outbox", 1), ("dead", 1), ("dead_payloads", 1)],
)
def test_a_damaged_value_in_a_backup_is_counted(tmp_path: Path, table: str, key: int) -> None:
    make_queue(tmp_path)
    whole = check_store(tmp_path)
    damage(tmp_path, table, key.to_bytes(8))
    report = check_store(tmp_path)
    assert (report.damaged, report.values) == (1, whole.values)


def test_what_is_no_store_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(StorageUnavailable, match="holds no store"):
        check_store(tmp_path / "empty")
    for kind, schema in (("other", 1), ("queue", 99)):
        path = tmp_path / f"{kind}-{schema}"
        with contextlib.closing(Environment.open(path, Layout(kind, schema, {}), map_bytes=MIB)):
            pass
        with pytest.raises(StoreVersion):
            check_store(path)
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "data.mdb").write_bytes(b"junk" * 5_000)
    with pytest.raises(StorageUnavailable):
        check_store(tmp_path / "junk")


def test_a_check_writes_nothing(tmp_path: Path) -> None:
    make_queue(tmp_path / "queue")
    with WaitedQueue(tmp_path / "queue") as queue:
        queue.store.backup(tmp_path / "backup")
    before = (tmp_path / "backup" / "data.mdb").read_bytes()
    (tmp_path / "backup").chmod(0o500)
    check_store(tmp_path / "backup")
    assert [file.name for file in (tmp_path / "backup").iterdir()] == ["data.mdb"]
    assert (tmp_path / "backup" / "data.mdb").read_bytes() == before
