"""The listener's queue: what each change does, and that it does it once."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from storage_kit import LEASE, WaitedQueue, accept, bury, damage, make_entry, make_record, settle

from jobico.change import (
    Accept,
    AcceptResult,
    Acknowledge,
    Entry,
    Forget,
    IdempotencyKey,
    Lease,
    Purge,
    Replay,
    Reschedule,
    StoreLease,
)
from jobico.errors import Conflict, Internal, NotFound
from jobico.event import State
from jobico.limits import RECORD_PAYLOAD_BYTES_MAX


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[WaitedQueue]:
    with WaitedQueue(tmp_path / "queue") as opened:
        yield opened


def key(name: str = "k", body: bytes = b"digest", now_ms: int = 0, expires_ms: int = 1_000) -> IdempotencyKey:
    return IdempotencyKey(name, body, now_ms, expires_ms)


# --- Accept -----------------------------------------------------------------------------------------------


def test_accepted_events_are_recovered_in_order_without_payload(tmp_path: Path) -> None:
    entries = [make_entry(seq, payload=b"x" * seq) for seq in (1, 2, 5)]
    with WaitedQueue(tmp_path) as queue:
        assert queue.apply(accept(*entries[:2]), accept(entries[2])) == (
            AcceptResult(("event-1", "event-2"), fresh=True),
            AcceptResult(("event-5",), fresh=True),
        )
    with WaitedQueue(tmp_path) as queue:
        found = list(queue.store.recover())
        assert [entry.event.id for entry, _ in found] == ["event-1", "event-2", "event-5"]
        assert [size for _, size in found] == [1, 2, 5]
        assert {entry.event.payload for entry, _ in found} == {b""}
        assert queue.store.next_seq == 6


@pytest.mark.parametrize("size_bytes", [2, 5_000, 1 << 20])
def test_a_payload_comes_back_as_it_came(queue: WaitedQueue, size_bytes: int) -> None:
    payload = b"\x00\xff" * (size_bytes // 2)
    queue.apply(accept(make_entry(1, payload=payload)))
    assert queue.store.payload(1) == payload
    assert queue.store.payloads([2, 1]) == [None, payload]


def test_what_an_entry_has_been_through_is_stored_with_it(queue: WaitedQueue) -> None:
    entry = make_entry(1, attempts=2, deaths=1, lease=LEASE, payload=b"")
    queue.apply(accept(entry))
    assert queue.entries() == [entry]


def test_a_sequence_number_is_never_taken_twice(queue: WaitedQueue) -> None:
    queue.apply(accept(make_entry(3)))
    with pytest.raises(Internal, match="Sequence number 3"):
        queue.apply(accept(make_entry(3, event_id="other")))
    assert [entry.event.id for entry in queue.entries()] == ["event-3"]


def test_next_seq_and_rows_go_on_after_everything_is_gone(tmp_path: Path) -> None:
    entry = make_entry(9)
    with WaitedQueue(tmp_path) as queue:
        queue.apply(accept(entry))
        queue.apply(settle(entry))
        queue.apply(Acknowledge(1))
    with WaitedQueue(tmp_path) as queue:
        assert queue.store.next_seq == 10
        assert queue.store.outbox_newest == 1
        assert queue.store.outbox_rows == 0
        other = make_entry(10)
        queue.apply(accept(other))
        queue.apply(settle(other))
        assert queue.outbox() == [2]


def test_each_open_is_a_new_incarnation(tmp_path: Path) -> None:
    seen = []
    for _ in range(3):
        with WaitedQueue(tmp_path) as queue:
            seen.append(queue.store.incarnation)
    assert seen == [1, 2, 3]


# --- Idempotency ------------------------------------------------------------------------------------------


def test_a_known_key_answers_with_the_first_ids_and_stores_nothing(queue: WaitedQueue) -> None:
    queue.apply(Accept((make_entry(1), make_entry(2)), key()))
    assert queue.apply(Accept((make_entry(3), make_entry(4)), key())) == (
        AcceptResult(("event-1", "event-2"), fresh=False),
    )
    assert len(queue.entries()) == 2


def test_a_known_key_with_another_body_is_a_conflict_and_stores_nothing(queue: WaitedQueue) -> None:
    queue.apply(Accept((make_entry(1),), key()))
    with pytest.raises(Conflict, match="another body"):
        queue.apply(accept(make_entry(2)), Accept((make_entry(3),), key(body=b"other")))
    assert [entry.seq for entry in queue.entries()] == [1]


def test_a_key_outlives_its_event_and_a_restart(tmp_path: Path) -> None:
    entry = make_entry(1)
    with WaitedQueue(tmp_path) as queue:
        queue.apply(Accept((entry,), key()))
        queue.apply(settle(entry))
    with WaitedQueue(tmp_path) as queue:
        assert queue.apply(Accept((make_entry(2),), key())) == (AcceptResult(("event-1",), fresh=False),)


def test_an_expired_key_is_new_even_before_it_is_forgotten(queue: WaitedQueue) -> None:
    queue.apply(Accept((make_entry(1),), key(expires_ms=1_000)))
    again = key(body=b"other", now_ms=1_000, expires_ms=2_000)
    assert queue.apply(Accept((make_entry(2),), again)) == (AcceptResult(("event-2",), fresh=True),)
    assert queue.apply(Forget(1_500)) == (0,)
    assert queue.apply(Accept((make_entry(3),), again)) == (AcceptResult(("event-2",), fresh=False),)


def test_forget_drops_expired_keys_alone_and_as_many_as_it_may(queue: WaitedQueue) -> None:
    for n in range(5):
        queue.apply(Accept((make_entry(n + 1),), key(f"k{n}", expires_ms=100 * n + 100)))
    assert queue.apply(Forget(300, count=2)) == (2,)
    assert queue.apply(Forget(300, count=2)) == (1,)
    assert queue.apply(Forget(300, count=2)) == (0,)
    assert queue.apply(Accept((make_entry(9),), key("k3"))) == (AcceptResult(("event-4",), fresh=False),)


@pytest.mark.parametrize("name", ["", "k" * 255, "é" * 255, "\ud800", "a\0b"])
def test_a_key_may_be_any_text(queue: WaitedQueue, name: str) -> None:
    queue.apply(Accept((make_entry(1),), key(name)))
    assert queue.apply(Accept((make_entry(2),), key(name))) == (AcceptResult(("event-1",), fresh=False),)


def test_a_batch_of_a_thousand_ids_is_kept_under_its_key(queue: WaitedQueue) -> None:
    entries = tuple(make_entry(n) for n in range(1, 1_001))
    queue.apply(Accept(entries, key()))
    [result] = queue.apply(Accept((make_entry(2_000),), key()))
    assert result == AcceptResult(tuple(entry.event.id for entry in entries), fresh=False)


# --- Settle, reschedule, leases ---------------------------------------------------------------------------


def test_a_settlement_removes_the_event_for_its_record_and_follow_ups(queue: WaitedQueue) -> None:
    entry, follow_up = make_entry(1), make_entry(2, event_id="next", payload=b"[1]")
    queue.apply(accept(entry))
    assert queue.apply(settle(entry, follow_up)) == (True,)
    assert [each.event.id for each in queue.entries()] == ["next"]
    assert queue.store.payload(2) == b"[1]"
    assert queue.store.payload(1) is None
    assert queue.store.outbox_record("event-1") == make_record()


def test_a_settlement_that_comes_twice_does_nothing_the_second_time(queue: WaitedQueue) -> None:
    entry = make_entry(1)
    queue.apply(accept(entry))
    assert queue.apply(settle(entry), settle(entry, make_entry(2))) == (True, False)
    assert queue.outbox() == [1]
    assert queue.entries() == []


@pytest.mark.parametrize(
    "change",
    [
        settle(make_entry(9)),
        bury(make_entry(9)),
        Reschedule(9, 1, 0, 0, make_record()),
        StoreLease(9, LEASE),
        Purge("event-9"),
        Replay("event-9", make_entry(10)),
    ],
    ids=lambda change: type(change).__name__,
)
def test_a_change_of_what_is_not_there_answers_false_and_does_nothing(
    queue: WaitedQueue, change: object
) -> None:
    assert queue.apply(change) == (False,)  # type: ignore[arg-type]
    assert queue.outbox() == []
    assert queue.entries() == []


def test_changes_of_one_apply_see_those_before_them(queue: WaitedQueue) -> None:
    entry = make_entry(1)
    assert queue.apply(
        accept(entry), StoreLease(1, LEASE), Reschedule(1, 1, 0, 50, make_record()), settle(entry, attempt=2)
    ) == (AcceptResult(("event-1",), fresh=True), True, True, True)
    assert queue.entries() == []
    assert queue.outbox() == [1, 2]


def test_a_rescheduled_event_keeps_its_counts_and_loses_its_lease(tmp_path: Path) -> None:
    with WaitedQueue(tmp_path) as queue:
        queue.apply(accept(make_entry(1)), StoreLease(1, LEASE))
        queue.apply(Reschedule(1, attempts=2, deaths=1, ready_at_ms=5_000, record=None))
        assert queue.outbox() == []
    with WaitedQueue(tmp_path) as queue:
        [entry] = queue.entries()
        assert (entry.attempts, entry.deaths, entry.lease, entry.event.ready_at_ms) == (2, 1, None, 5_000)


def test_a_stored_lease_outlives_a_restart_and_keeps_the_counts(tmp_path: Path) -> None:
    with WaitedQueue(tmp_path) as queue:
        queue.apply(accept(make_entry(1)))
        queue.apply(Reschedule(1, 2, 1, 5_000, None), StoreLease(1, LEASE))
    with WaitedQueue(tmp_path) as queue:
        [entry] = queue.entries()
        assert (entry.attempts, entry.deaths, entry.lease, entry.event.ready_at_ms) == (2, 1, LEASE, 5_000)
        queue.apply(StoreLease(1, Lease(8, "other", "def")))
        assert queue.entries()[0].lease == Lease(8, "other", "def")


def test_one_change_that_cannot_be_undoes_all_of_its_apply(queue: WaitedQueue) -> None:
    entry = make_entry(1)
    queue.apply(accept(entry))
    with pytest.raises(Internal):
        queue.apply(settle(entry), accept(make_entry(1)))
    assert queue.entries() == [make_entry(1, payload=b"")]
    assert queue.outbox() == []


# --- Outbox -----------------------------------------------------------------------------------------------


def settled(queue: WaitedQueue, count: int, **fields: object) -> list[Entry]:
    entries = [make_entry(seq) for seq in range(1, count + 1)]
    queue.apply(accept(*entries))
    queue.apply(*[settle(entry, **fields) for entry in entries])
    return entries


def test_outbox_rows_count_from_one_without_gaps_in_commit_order(queue: WaitedQueue) -> None:
    settled(queue, 20)
    rows = queue.store.outbox(0, rows_max=100, bytes_max=1 << 20)
    assert [row for row, _ in rows] == list(range(1, 21))
    assert queue.store.outbox_rows == 20


def test_the_outbox_is_read_within_its_bounds_but_never_nothing(queue: WaitedQueue) -> None:
    settled(queue, 20, result=b"x" * 10_000)
    read = queue.store.outbox
    assert [row for row, _ in read(5, rows_max=3, bytes_max=1 << 20)] == [6, 7, 8]
    assert [row for row, _ in read(5, rows_max=100, bytes_max=35_000)] == [6, 7, 8]
    assert [row for row, _ in read(5, rows_max=100, bytes_max=1)] == [6]
    assert read(20, rows_max=100, bytes_max=1 << 20) == []


def test_acknowledged_rows_are_dropped_with_their_ids(queue: WaitedQueue) -> None:
    settled(queue, 10, result=b"x" * 10_000)
    assert queue.apply(Acknowledge(4)) == (4,)
    assert queue.apply(Acknowledge(4)) == (0,)
    assert queue.outbox() == list(range(5, 11))
    assert queue.store.outbox_record("event-4") is None
    assert queue.store.outbox_record("event-5") is not None
    assert queue.apply(Acknowledge(1_000)) == (6,)
    assert queue.store.outbox_rows == 0


def test_the_latest_record_of_an_id_is_the_one_that_is_found(queue: WaitedQueue) -> None:
    entry = make_entry(1)
    first = make_record(attempt=1, state=State.DELAYED)
    queue.apply(accept(entry), Reschedule(1, 1, 0, 0, first))
    queue.apply(settle(entry, attempt=2))
    queue.apply(Acknowledge(1))
    assert queue.store.outbox_record("event-1") == make_record(attempt=2)


# --- Dead letters -----------------------------------------------------------------------------------------


def test_a_buried_event_is_a_dead_letter_with_payload_record_and_follow_up(queue: WaitedQueue) -> None:
    entry = make_entry(1, payload=b"x" * 50_000)
    queue.apply(accept(entry))
    assert queue.apply(bury(entry, make_entry(2, event_id="failed"))) == (True,)
    letter = queue.store.dead_letter("event-1")
    assert letter is not None
    assert letter.event == entry.event
    assert (letter.attempts, letter.deaths, letter.reason, letter.outcome) == (3, 1, "attempts", "failed")
    assert (letter.code, letter.error, letter.buried_ms) == (9, "no", 1_002)
    assert [each.event.id for each in queue.entries()] == ["failed"]
    assert queue.outbox() == [1]


def buried(queue: WaitedQueue, count: int) -> None:
    for seq in range(1, count + 1):
        entry = make_entry(seq, tenant="acme" if seq % 2 else "acme2")
        queue.apply(accept(entry))
        queue.apply(bury(entry, reason="attempts" if seq % 3 else "killed"))


def test_dead_letters_are_listed_newest_first_by_filter_and_page(queue: WaitedQueue) -> None:
    buried(queue, 10)

    def listed(*filters: str, limit: int = 100) -> list[int]:
        letters = queue.store.dead_letters(*filters, limit=limit)
        return [int(letter.event.id.removeprefix("event-")) for letter in letters]

    assert listed() == [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]
    assert listed("acme") == [9, 7, 5, 3, 1]
    assert listed("acme", "registration", "killed") == [9, 3]
    assert listed("", "", "killed") == [9, 6, 3]
    assert listed("acme", "other") == []
    assert listed("", "", "", "event-8", limit=2) == [7, 6]
    assert listed("acme", "", "", "event-7") == [5, 3, 1]
    with pytest.raises(NotFound):
        listed("acme", "", "", "event-99")


def test_listed_payloads_are_cut(queue: WaitedQueue) -> None:
    entry = make_entry(1, payload=b"x" * 1_000_000)
    queue.apply(accept(entry))
    queue.apply(bury(entry))
    [letter] = queue.store.dead_letters()
    assert letter.event.payload == b"x" * RECORD_PAYLOAD_BYTES_MAX


def test_dead_letters_are_counted_across_restarts(tmp_path: Path) -> None:
    with WaitedQueue(tmp_path) as queue:
        buried(queue, 10)
    with WaitedQueue(tmp_path) as queue:
        queue.apply(Purge("event-9"))
        assert queue.store.dead_count() == 9
        assert queue.store.dead_count("acme") == 4
        assert queue.store.dead_count(reason="killed") == 2
        assert queue.store.dead_counts() == {
            ("acme", "customers", "default"): 4,
            ("acme2", "customers", "default"): 5,
        }


def test_a_replayed_dead_letter_is_an_event_again_with_the_stored_payload(queue: WaitedQueue) -> None:
    entry = make_entry(1, payload=b"[1]")
    queue.apply(accept(entry))
    queue.apply(bury(entry))
    assert queue.apply(Replay("event-1", make_entry(2, event_id="event-1", payload=b""))) == (True,)
    assert queue.store.dead_letter("event-1") is None
    assert queue.store.dead_count() == 0
    [replayed] = queue.entries()
    assert (replayed.seq, replayed.attempts, replayed.event.id) == (2, 0, "event-1")
    assert queue.store.payload(2) == b"[1]"
    assert queue.apply(Replay("event-1", make_entry(3))) == (False,)


def test_a_purged_dead_letter_is_gone(queue: WaitedQueue) -> None:
    entry = make_entry(1, payload=b"x" * 20_000)
    queue.apply(accept(entry))
    queue.apply(bury(entry))
    assert queue.apply(Purge("event-1"), Purge("event-1")) == (True, False)
    assert queue.store.dead_letters() == []


# --- Damage -----------------------------------------------------------------------------------------------


def seq_key(seq: int) -> bytes:
    return seq.to_bytes(8)


def test_a_damaged_event_is_set_aside_and_the_rest_is_served(tmp_path: Path) -> None:
    with WaitedQueue(tmp_path) as queue:
        queue.apply(accept(*[make_entry(seq, payload=b"x" * 9_000) for seq in (1, 2, 3)]))
    damage(tmp_path, "events", seq_key(2) + b"\0\1")
    with WaitedQueue(tmp_path) as queue:
        assert [entry.seq for entry in queue.entries()] == [1, 3]
        assert queue.store.payloads([1, 2, 3]) == [b"x" * 9_000, None, b"x" * 9_000]
        assert queue.store.damaged == 1
        queue.apply(Forget(0))
        assert queue.apply(settle(make_entry(2))) == (False,)
    with WaitedQueue(tmp_path) as queue:
        assert [entry.seq for entry in queue.entries()] == [1, 3]
        assert queue.store.damaged >= 1


def test_a_damaged_payload_is_none_and_its_event_stays_to_be_buried(tmp_path: Path) -> None:
    entry = make_entry(1)
    with WaitedQueue(tmp_path) as queue:
        queue.apply(accept(entry, make_entry(2)))
    damage(tmp_path, "events", seq_key(1))
    with WaitedQueue(tmp_path) as queue:
        assert queue.store.payload(1) is None
        assert queue.store.payload(2) == b"{}"
        assert queue.store.damaged == 1
        assert queue.apply(bury(entry, reason="corrupt")) == (True,)
        assert queue.outbox() == [1]
        assert [each.seq for each in queue.entries()] == [2]


def test_a_damaged_state_costs_its_counts_not_its_event(tmp_path: Path) -> None:
    with WaitedQueue(tmp_path) as queue:
        queue.apply(accept(make_entry(1)), Reschedule(1, 2, 1, 5_000, None))
    damage(tmp_path, "states", seq_key(1))
    with WaitedQueue(tmp_path) as queue:
        assert queue.entries() == [make_entry(1, payload=b"")]
        assert queue.apply(settle(make_entry(1))) == (True,)


def test_a_damaged_outbox_row_is_left_out(tmp_path: Path) -> None:
    with WaitedQueue(tmp_path) as queue:
        settled(queue, 3)
    damage(tmp_path, "outbox", seq_key(2))
    with WaitedQueue(tmp_path) as queue:
        assert queue.outbox() == [1, 3]
        assert queue.store.outbox_record("event-2") is None
        assert queue.apply(Acknowledge(3)) == (2,)


def test_a_damaged_event_that_is_buried_still_leaves_its_record(tmp_path: Path) -> None:
    entry = make_entry(1)
    with WaitedQueue(tmp_path) as queue:
        queue.apply(accept(entry))
    damage(tmp_path, "events", seq_key(1))
    with WaitedQueue(tmp_path) as queue:
        assert queue.apply(bury(entry, make_entry(2))) == (True,)
        assert queue.outbox() == [1]
        assert queue.store.dead_letters() == []
        assert [each.seq for each in queue.entries()] == [2]


def test_a_damaged_dead_letter_is_left_out(tmp_path: Path) -> None:
    with WaitedQueue(tmp_path) as queue:
        buried(queue, 3)
    damage(tmp_path, "dead", seq_key(2))
    with WaitedQueue(tmp_path) as queue:
        assert [letter.event.id for letter in queue.store.dead_letters()] == ["event-3", "event-1"]
        assert queue.store.dead_letter("event-2") is None


def test_damaged_counters_are_read_from_their_copy(tmp_path: Path) -> None:
    with WaitedQueue(tmp_path) as queue:
        queue.apply(accept(make_entry(7)))
    damage(tmp_path, "meta", b"counters")
    with WaitedQueue(tmp_path) as queue:
        assert queue.store.next_seq == 8
        assert queue.store.incarnation == 2


def test_a_damaged_idempotency_key_is_a_new_key(tmp_path: Path) -> None:
    with WaitedQueue(tmp_path) as queue:
        queue.apply(Accept((make_entry(1),), key()))
        with queue.store._env.read() as txn:
            [(name, _)] = txn.items("idempotency")
    damage(tmp_path, "idempotency", name)
    with WaitedQueue(tmp_path) as queue:
        assert queue.apply(Accept((make_entry(2),), key())) == (AcceptResult(("event-2",), fresh=True),)
