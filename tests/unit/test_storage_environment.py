"""A store opens as what it is, once, or says what is wrong."""

import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobico.errors import Internal, NotFound, StorageUnavailable, StoreVersion
from jobico.limits import MIB
from jobico.storage.environment import Environment
from jobico.storage.layout import Form, Layout
from jobico.storage.ops import Op, Refused, Session
from jobico.storage.transaction import Txn
from jobico.storage.values import (
    PART_BYTES,
    delete_value,
    get_start,
    get_value,
    put_value,
    seal_parts,
)
from jobico.storage.writer import Writer

LAYOUT = Layout("sample", 3, {"rows": Form.PARTS})


@pytest.fixture
def env(tmp_path: Path) -> Iterator[Environment]:
    environment = Environment.open(tmp_path / "store", LAYOUT, map_bytes=64 * MIB)
    yield environment
    environment.close()


@pytest.fixture
def writer(env: Environment) -> Iterator[Writer[Session]]:
    made = Writer(env, Session)
    yield made
    made.close()


def put(key: bytes, value: bytes = b"v") -> Callable[[Session], bool]:
    return lambda session: session.txn.put("rows", key, value)


def get(env: Environment, key: bytes) -> bytes | None:
    with env.read() as txn:
        return txn.get("rows", key)


def test_the_directory_and_its_files_are_the_users_alone(env: Environment) -> None:
    assert stat.S_IMODE(env.path.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in env.path.iterdir()} == {0o600}


def test_a_store_of_another_kind_is_refused_with_what_to_do(tmp_path: Path) -> None:
    Environment.open(tmp_path, LAYOUT, map_bytes=MIB).close()
    with pytest.raises(StoreVersion, match=r"kind 'sample', not 'other'.*JOBICO_HOME"):
        Environment.open(tmp_path, Layout("other", 3, LAYOUT.tables), map_bytes=MIB)


@pytest.mark.parametrize(("schema", "advice"), [(2, "upgrade Jobico"), (4, "restore its backup")])
def test_another_layout_version_is_refused_with_what_to_do(tmp_path: Path, schema: int, advice: str) -> None:
    Environment.open(tmp_path, LAYOUT, map_bytes=MIB).close()
    with pytest.raises(StoreVersion, match=advice) as caught:
        Environment.open(tmp_path, Layout("sample", schema, LAYOUT.tables), map_bytes=MIB)
    assert caught.value.detail == {"found": 3, "supported": schema}


def test_a_store_that_was_refused_can_be_opened_as_what_it_is(tmp_path: Path) -> None:
    Environment.open(tmp_path, LAYOUT, map_bytes=MIB).close()
    with pytest.raises(StoreVersion):
        Environment.open(tmp_path, Layout("other", 3, LAYOUT.tables), map_bytes=MIB)
    Environment.open(tmp_path, LAYOUT, map_bytes=MIB).close()


def test_a_file_that_is_no_store_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"no store" * 4096)
    with pytest.raises(StorageUnavailable, match="cannot be used"):
        Environment.open(tmp_path, LAYOUT, map_bytes=MIB)


def test_a_path_below_a_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageUnavailable, match="cannot be used"):
        Environment.open(tmp_path / "file" / "store", LAYOUT, map_bytes=MIB)


def test_one_environment_a_path_and_process(env: Environment, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(env.path)
    with pytest.raises(AssertionError, match="open in this process already"):
        Environment.open(tmp_path / "link", LAYOUT, map_bytes=MIB)


def test_a_reader_that_was_killed_leaves_no_pin(tmp_path: Path) -> None:
    Environment.open(tmp_path, LAYOUT, map_bytes=MIB).close()
    child = os.fork()
    if child == 0:
        Environment.open(tmp_path, LAYOUT, map_bytes=MIB).raw.begin()
        os._exit(0)
    os.waitpid(child, 0)
    env = Environment.open(tmp_path, LAYOUT, map_bytes=MIB)
    try:
        assert env.raw.readers().strip() in ("", "(no active readers)")
    finally:
        env.close()


# --- Writer -----------------------------------------------------------------------------------------------


def test_what_a_future_answered_is_in_the_store(env: Environment, writer: Writer[Session]) -> None:
    assert writer.submit(put(b"key")).result() is True
    assert get(env, b"key") == b"v"


def test_ops_that_wait_share_a_transaction(env: Environment) -> None:
    groups: list[int] = []
    held = threading.Event()
    writer = Writer(env, Session, lambda ops: groups.append(len(ops)))
    first = writer.submit(lambda _: held.wait(20))
    futures = [writer.submit(put(bytes([n]))) for n in range(100)]
    held.set()
    for future in (first, *futures):
        future.result()
    writer.close()
    assert sum(groups) == 101
    assert len(groups) <= 2


def test_an_op_that_raises_takes_no_other_with_it(env: Environment, writer: Writer[Session]) -> None:
    held = threading.Event()

    def fail(session: Session) -> None:
        session.txn.put("rows", b"half", b"done")
        raise NotFound("gone")

    writer.submit(lambda _: held.wait(20))
    good = [writer.submit(put(bytes([n]))) for n in range(10)]
    bad = [writer.submit(fail) for _ in range(10)]
    more = [writer.submit(put(bytes([n]))) for n in range(10, 20)]
    held.set()
    assert all(future.result() for future in good + more)
    for future in bad:
        with pytest.raises(NotFound):
            future.result()
    assert get(env, b"half") is None
    with env.read() as txn:
        assert txn.count("rows") == 20


def test_a_fault_in_an_op_is_internal_and_its_own(writer: Writer[Session]) -> None:
    with pytest.raises(Internal, match="ZeroDivisionError"):
        writer.submit(lambda _: 1 // 0).result()
    with pytest.raises(Internal, match="BadValsize"):
        writer.submit(put(b"k" * 5000)).result()
    assert writer.submit(put(b"key")).result() is True
    assert writer.available


def test_a_refusal_costs_the_others_nothing(env: Environment) -> None:
    runs: list[int] = []
    held = threading.Event()
    writer = Writer(env, Session)
    writer.submit(lambda _: held.wait(20))
    refused = writer.submit(lambda _: Refused(NotFound("no")))
    counted = writer.submit(lambda _: runs.append(1))
    held.set()
    with pytest.raises(NotFound):
        refused.result()
    counted.result()
    writer.close()
    assert runs == [1]


def test_a_fault_in_a_session_ends_its_ops_but_not_the_writer(env: Environment) -> None:
    class Faulty(Session):
        def finish(self) -> None:
            if self.txn.get("rows", b"bad") is not None:
                raise RuntimeError("finish")

    writer = Writer(env, Faulty)
    with pytest.raises(Internal, match="finish"):
        writer.submit(put(b"bad")).result()
    assert writer.submit(put(b"good")).result() is True
    writer.close()
    assert get(env, b"bad") is None


def test_an_answer_that_nobody_waits_for_any_more_harms_nobody(
    env: Environment, writer: Writer[Session]
) -> None:
    held = threading.Event()
    writer.submit(lambda _: held.wait(20))
    gone = writer.submit(put(b"gone"))
    assert gone.cancel()
    held.set()
    assert writer.submit(put(b"key")).result() is True
    assert get(env, b"gone") == b"v"


def test_close_does_what_was_queued(env: Environment) -> None:
    writer = Writer(env, Session)
    futures = [writer.submit(put(bytes([n]))) for n in range(50)]
    writer.close()
    assert all(future.done() for future in futures)


def test_posted_ops_are_told_of_together(env: Environment) -> None:
    told: list[Op[Session]] = []
    writer = Writer(env, Session, told.extend)
    op: Op[Session] = Op(put(b"key"))
    writer.post(op)
    writer.close()
    assert told == [op]
    assert (op.done, op.error, op.result) == (True, None, True)


# --- Values -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "size_bytes", [0, 1, PART_BYTES - 6, PART_BYTES - 5, 2 * PART_BYTES - 6, 2 * PART_BYTES - 5, 100_000]
)
def test_a_value_of_any_size_comes_back_and_goes_whole(
    env: Environment, writer: Writer[Session], size_bytes: int
) -> None:
    value = os.urandom(size_bytes)

    def run(txn: Txn) -> None:
        cursor = txn.cursor("rows")
        for key in (b"1", b"2", b"3"):
            put_value(cursor, key, value)
        assert get_value(cursor, b"2") == value
        assert (get_start(cursor, b"2", 9_000) or b"")[:9_000] == value[:9_000]
        assert delete_value(cursor, b"2")
        assert get_value(cursor, b"2") is None
        assert get_value(cursor, b"1") == get_value(cursor, b"3") == value
        assert not delete_value(cursor, b"2")

    writer.submit(lambda session: run(session.txn)).result()
    with env.read() as txn:
        assert txn.count("rows") == 2 * len(seal_parts(b"1", value))


def test_items_reversed_stay_within_their_prefix(env: Environment, writer: Writer[Session]) -> None:
    for key in (b"a1", b"b1", b"b2", b"b3", b"c1", b"b\xff"):
        writer.submit(put(key)).result()
    with env.read() as txn:
        assert [key for key, _ in txn.items_reversed("rows", b"b")] == [b"b\xff", b"b3", b"b2", b"b1"]
        assert [key for key, _ in txn.items_reversed("rows", b"b", before=b"b3")] == [b"b2", b"b1"]
        assert next(txn.items_reversed("rows"))[0] == b"c1"
        assert list(txn.items_reversed("rows", b"z")) == []
        assert [key for key, _ in txn.items("rows", b"b", start=b"b2")] == [b"b2", b"b3", b"b\xff"]
