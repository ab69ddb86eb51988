"""The recorder's executions: each record once, found by every filter, for as long as it is kept."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from storage_kit import damage, make_record

from jobico.event import Outcome, Record, State
from jobico.limits import MIB
from jobico.storage import executions
from jobico.storage.executions import Executions

encode = msgspec.msgpack.Encoder().encode


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Executions]:
    opened = Executions.open(tmp_path / "executions", map_bytes=64 * MIB)
    yield opened
    opened.close()


def append(store: Executions, *records: Record) -> list[int]:
    """Appends records; answers the rows of those that were new."""
    return [stored.row for stored in store.append([encode(record) for record in records]).result()]


def numbered(n: int, **fields: object) -> Record:
    """The n-th record, settled at n."""
    return make_record(f"event-{n}", settled_ms=n, **fields)


def test_rows_count_from_one_in_the_order_of_the_records(store: Executions) -> None:
    records = [numbered(n) for n in range(1, 4)]
    [first, *rest] = store.append([encode(record) for record in records]).result()
    assert (first.row, first.record, first.content) == (1, records[0], encode(records[0]))
    assert [stored.row for stored in rest] == [2, 3]
    assert store.newest == 3


def test_a_record_that_comes_twice_is_one(store: Executions) -> None:
    assert append(store, numbered(1), numbered(2)) == [1, 2]
    assert append(store, numbered(2), numbered(3), numbered(3)) == [3]
    assert append(store, numbered(1, attempt=2)) == [4]
    assert store.totals().records == 4


def test_what_is_no_record_is_counted_and_dropped(store: Executions) -> None:
    assert len(store.append([b"", b"\xc1", encode({"id": "x"}), encode(numbered(1))]).result()) == 1
    assert store.rejected == 3


def test_the_attempts_of_an_event_come_in_order_to_its_tenant_alone(store: Executions) -> None:
    attempts = [make_record("e", attempt) for attempt in (2, 1, 300)]
    append(store, *attempts, make_record("e2"))
    shown = [msgspec.msgpack.decode(each, type=Record).attempt for each in store.show("acme", "e")]
    assert shown == [1, 2, 300]
    assert len(store.show("", "e")) == 3
    assert store.show("globex", "e") == ()
    assert store.show("acme", "unknown") == ()


FILTERS: list[dict[str, str]] = [
    {},
    {"tenant": "a"},
    {"tenant": "ab"},
    {"tenant": "a", "job": "j"},
    {"tenant": "a", "event": "e1"},
    {"tenant": "a", "outcome": "trap"},
    {"tenant": "a", "outcome": "ok"},
    {"tenant": "a", "job": "j", "event": "e1", "outcome": "ok"},
    {"job": "jj"},
    {"outcome": "trap"},
    {"tenant": "none"},
]


@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_a_list_has_exactly_what_matches_newest_first_over_all_pages(
    store: Executions, filters: dict[str, str]
) -> None:
    records = [
        numbered(
            n,
            tenant="a" if n % 3 else "ab",
            job="j" if n % 2 else "jj",
            event=f"e{n % 4}",
            outcome=Outcome.TRAP if n % 5 == 0 else Outcome.OK,
        )
        for n in range(1, 121)
    ]
    append(store, *records)
    expected = [
        record.id
        for record in reversed(records)
        if all(getattr(record, name) == value for name, value in filters.items())
    ]
    found: list[str] = []
    before, pages = 0, 0
    while pages == 0 or before:
        page = store.list(**filters, before=before, limit=7)  # type: ignore[arg-type]
        assert page.newest == 120
        found += [msgspec.msgpack.decode(content, type=Record).id for _, content in page.rows]
        before, pages = page.next, pages + 1
    assert found == expected


def test_a_list_since_a_time_ends_there_without_reading_on(
    store: Executions, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(1, 101):
        append(store, numbered(n))
    monkeypatch.setattr(executions, "SCANNED_ROWS_MAX", 12)
    page = store.list(tenant="acme", since_ms=91, limit=50)
    assert [row for row, _ in page.rows] == list(range(100, 90, -1))
    assert page.next == 0


def test_a_record_that_came_late_is_still_found_by_its_time(store: Executions) -> None:
    append(store, numbered(50))
    append(store, numbered(10))
    append(store, numbered(60))
    assert [row for row, _ in store.list(since_ms=40).rows] == [3, 1]
    assert [row for row, _ in store.list(since_ms=5).rows] == [3, 2, 1]


def test_a_list_reads_a_bounded_number_of_rows_and_can_be_gone_on_from(
    store: Executions, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(store, numbered(1, job="rare"), *[numbered(n) for n in range(2, 31)])
    monkeypatch.setattr(executions, "SCANNED_ROWS_MAX", 10)
    page = store.list(job="rare")
    assert (page.rows, page.next) == ((), 21)
    assert [row for row, _ in store.list(job="rare", before=11).rows] == [1]


def test_a_list_after_a_row_goes_on_oldest_first(store: Executions, monkeypatch: pytest.MonkeyPatch) -> None:
    append(store, *[numbered(n, tenant="a" if n % 2 else "b", result=b"x" * 9_000) for n in range(1, 21)])
    page = store.list(tenant="a", after=4, limit=3)
    assert ([row for row, _ in page.rows], page.next, page.newest) == ([5, 7, 9], 9, 20)
    assert [row for row, _ in store.list(after=17).rows] == [18, 19, 20]
    assert [row for row, _ in store.list(tenant="a", after=0, since_ms=15).rows] == [15, 17, 19]
    assert store.list(after=20) == executions.Page((), 0, 20)
    monkeypatch.setattr(executions, "SCANNED_ROWS_MAX", 4)
    assert store.list(job="none", after=0).next == 4


def test_totals_count_final_records_by_outcome_and_tenant(store: Executions) -> None:
    append(
        store,
        make_record("1"),
        make_record("2", outcome=Outcome.TRAP, state=State.DELAYED),
        make_record("2", 2, outcome=Outcome.TRAP, state=State.DEAD),
        make_record("3", tenant="globex"),
    )
    append(store, make_record("1"))
    assert store.totals().final == {"ok": 2, "trap": 1}
    assert store.totals("acme").final == {"ok": 1, "trap": 1}
    assert store.totals("acme").records == 3
    assert store.totals("globex").kept_bytes == len(encode(make_record("3", tenant="globex")))
    assert store.totals("nobody") == executions.Tally()


def trim(store: Executions, **bounds: int) -> int:
    values = {"now_ms": 1_000, "retention_ms": 1_000_000, "retention_bytes": 1 << 40, "count_max": 1_000}
    return store.trim(**(values | bounds)).result()


def test_records_past_their_age_are_deleted_oldest_first_as_many_as_may_be(store: Executions) -> None:
    append(store, *[numbered(n, result=b"x" * 9_000) for n in range(1, 11)])
    assert trim(store, now_ms=106, retention_ms=100, count_max=3) == 3
    assert trim(store, now_ms=106, retention_ms=100, count_max=3) == 2
    assert trim(store, now_ms=106, retention_ms=100, count_max=3) == 0
    assert [row for row, _ in store.list(tenant="acme").rows] == [10, 9, 8, 7, 6]
    assert store.show("acme", "event-5") == ()


def test_records_past_the_bytes_are_deleted_oldest_first(store: Executions) -> None:
    append(store, *[numbered(n, result=b"x" * 1_000) for n in range(1, 11)])
    each_bytes = store.totals().kept_bytes // 10
    assert trim(store, retention_bytes=each_bytes * 4 + 500) == 6
    assert [row for row, _ in store.list().rows] == [10, 9, 8, 7]
    assert store.totals().records == 10
    assert store.totals("acme").kept_bytes == store.totals().kept_bytes < each_bytes * 5


def test_row_numbers_go_on_after_everything_is_trimmed(tmp_path: Path) -> None:
    store = Executions.open(tmp_path, map_bytes=64 * MIB)
    append(store, numbered(1), numbered(2))
    assert trim(store, retention_bytes=0) == 2
    store.close()
    store = Executions.open(tmp_path, map_bytes=64 * MIB)
    assert store.newest == 2
    assert append(store, numbered(3)) == [3]
    assert [row for row, _ in store.list(since_ms=3).rows] == [3]
    store.close()


def test_a_trimmed_record_leaves_no_row_behind(store: Executions) -> None:
    append(store, *[numbered(n) for n in range(1, 6)])
    trim(store, retention_bytes=0)
    with store._env.read() as txn:
        counts = {
            table: txn.count(table) for table in ("records", "attempts", "by_tenant", "by_job", "by_event")
        }
        assert set(counts.values()) == {0}
        assert txn.count("by_outcome") == 0
        assert txn.count("marks") <= 1


def test_a_damaged_record_is_left_out_and_trimmed_with_the_rest(tmp_path: Path) -> None:
    store = Executions.open(tmp_path, map_bytes=64 * MIB)
    append(store, *[numbered(n, result=b"x" * 9_000) for n in range(1, 4)])
    store.close()
    damage(tmp_path, "records", (2).to_bytes(8) + b"\0\1")
    store = Executions.open(tmp_path, map_bytes=64 * MIB)
    assert [row for row, _ in store.list().rows] == [3, 1]
    assert store.show("acme", "event-2") == ()
    assert store.damaged == 1
    assert append(store, numbered(4)) == [4]
    assert trim(store, retention_bytes=0) == 3
    store.close()
