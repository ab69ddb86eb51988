"""The delivery machine: one claim a test, without clock, socket or store."""

import pytest
from machine_kit import (
    LEASE_MS,
    Abort,
    Bench,
    Lease,
    LeasesLost,
    Refused,
    Resolved,
    StoreLease,
    make_revision,
    stored_entry,
)

from jobico import limits
from jobico.change import Bury, Reschedule, Settle
from jobico.definition import Order
from jobico.errors import NotFound, QuotaExceeded, TooLarge
from jobico.event import Emitted, Outcome, Source, State
from jobico.retry import Backoff, RetryPolicy
from jobico.routes import Routes
from jobico.tenancy import Quotas


def test_an_event_is_sent_settled_and_recorded_once() -> None:
    bench = Bench()
    bench.join("x")
    (event,) = bench.many(1)
    bench.settle("x", bench.sent["x"][0], result=b"42")
    (change,) = bench.changes
    assert isinstance(change, Settle)
    assert (change.record.id, change.record.attempt, change.record.state) == (event.id, 1, State.DONE)
    assert change.record.result == b"42"
    assert [one.record.id for one in bench.told(Resolved)] == [event.id]
    assert not bench.machine.busy


def test_nothing_is_leased_before_the_first_routes() -> None:
    bench = Bench()
    bench.machine._settling.routes = None
    bench.join("x")
    bench.many(1)
    assert not bench.sent
    bench.machine.set_routes(Routes.build([make_revision()]))
    bench.go()
    assert bench.sent


def test_tokens_carry_the_incarnation_and_grow() -> None:
    bench = Bench(incarnation=7)
    bench.join("x", "y")
    bench.many(2)
    tokens = sorted(item.token for items in bench.sent.values() for item in items)
    assert [token >> 32 for token in tokens] == [7, 7]
    assert tokens[0] < tokens[1]


def test_a_second_settlement_of_a_token_is_refused() -> None:
    bench = Bench()
    bench.join("x")
    bench.many(1)
    item = bench.sent["x"][0]
    bench.settle("x", item)
    bench.settle("x", item)
    assert [one.token for one in bench.told(Refused)] == [item.token]
    assert len(bench.records) == 1


def test_a_settlement_from_another_executor_than_the_lease_has_is_refused() -> None:
    bench = Bench()
    bench.join("x")
    bench.many(1)
    bench.settle("y", bench.sent["x"][0])
    assert bench.told(Refused)
    assert not bench.records


def test_while_a_settlement_is_stored_another_is_refused() -> None:
    bench = Bench()
    bench.join("x")
    bench.many(1)
    item = bench.sent["x"][0]
    bench.storing = False
    bench.settle("x", item)
    bench.settle("x", item, Outcome.FAILED)
    assert bench.told(Refused)
    bench.store()
    assert [record.outcome for record in bench.records] == [Outcome.OK]


def test_a_settlement_that_could_not_be_stored_is_stored_later() -> None:
    bench = Bench()
    bench.join("x")
    bench.many(1)
    bench.storing = False
    bench.settle("x", bench.sent["x"][0])
    bench.fail()
    assert bench.machine.busy
    bench.storing = True
    bench.pass_ms(300)
    assert [record.outcome for record in bench.records] == [Outcome.OK]
    assert not bench.machine.busy


def test_follow_ups_of_a_commit_that_failed_are_numbered_anew() -> None:
    """Numbers must be stored in order, and others have been given since."""
    bench = Bench(make_revision(ok="then"))
    bench.join("x")
    bench.many(1)
    bench.storing = False
    bench.settle("x", bench.sent["x"][0], result=b"1")
    bench.fail()
    bench.storing = True
    (entry,) = bench.machine.admit([bench.event()], bench.now)
    bench.machine.not_accepted([entry])
    bench.pass_ms(300)
    settle = next(change for change in bench.changes if isinstance(change, Settle))
    assert settle.follow_ups[0].seq > entry.seq


# --- Retries and dead letters -----------------------------------------------------------------------------


def test_a_failed_attempt_waits_for_its_backoff() -> None:
    policy = RetryPolicy(attempts=3, backoff=Backoff.FIXED, initial_ms=1_000)
    bench = Bench(make_revision(retry=policy))
    bench.join("x")
    bench.many(1)
    bench.settle("x", bench.sent["x"][0], Outcome.FAILED, code=3)
    (change,) = bench.changes
    assert isinstance(change, Reschedule)
    assert change.record is not None
    assert change.record.state is State.DELAYED
    assert bench.now.wall_ms + 500 <= change.ready_at_ms <= bench.now.wall_ms + 1_000
    bench.pass_ms(499)
    assert len(bench.sent["x"]) == 1
    bench.pass_ms(501)
    assert [item.attempt for item in bench.sent["x"]] == [1, 2]


def test_attempts_include_the_first_and_the_last_makes_a_dead_letter() -> None:
    bench = Bench(make_revision(retry=RetryPolicy(attempts=3, initial_ms=10)))
    bench.join("x")
    bench.many(1)
    for _ in range(3):
        bench.settle("x", bench.sent["x"][-1], Outcome.FAILED, code=1)
        bench.pass_ms(100)
    assert len(bench.sent["x"]) == 3
    last = bench.changes[-1]
    assert isinstance(last, Bury)
    assert (last.reason, last.attempts, last.record.attempt) == ("attempts", 3, 3)


def test_a_code_under_never_is_final() -> None:
    bench = Bench(make_revision(retry=RetryPolicy(attempts=5, never=(422,))))
    bench.join("x")
    bench.many(1)
    bench.settle("x", bench.sent["x"][0], Outcome.FAILED, code=422)
    last = bench.changes[-1]
    assert isinstance(last, Bury)
    assert last.reason == "final"


def test_an_event_runs_on_the_revision_that_is_current_when_it_is_leased() -> None:
    bench = Bench()
    bench.many(1)
    bench.machine.set_routes(Routes.build([make_revision(number=2)]))
    bench.join("x")
    assert bench.sent["x"][0].revision == 2
    bench.settle("x", bench.sent["x"][0])
    assert bench.records[0].revision == 2


def test_an_event_without_a_route_is_a_dead_letter() -> None:
    bench = Bench()
    bench.machine.set_routes(Routes.build([]))
    bench.many(1)
    last = bench.changes[-1]
    assert isinstance(last, Bury)
    assert last.reason == "no-route"
    assert last.record.leased_ms == 0


def test_an_event_whose_route_is_on_the_way_waits() -> None:
    bench = Bench()
    bench.machine.set_routes(Routes.build([]), frozenset({("acme", "e")}))
    bench.join("x")
    bench.many(1)
    assert not bench.changes
    bench.machine.set_routes(Routes.build([make_revision()]))
    bench.pass_ms(1_000)
    assert bench.sent["x"]


def test_an_event_without_a_route_waits_while_the_routes_may_be_old() -> None:
    bench = Bench()
    bench.machine.set_routes(Routes.build([]), complete=False)
    bench.join("x")
    bench.many(1)
    assert not bench.changes
    bench.machine.set_routes(Routes.build([make_revision()]))
    bench.pass_ms(1_000)
    assert bench.sent["x"]


def test_a_delayed_event_waits_for_its_time_and_a_clock_that_jumps_does_not_matter() -> None:
    bench = Bench()
    bench.join("x")
    bench.accept(bench.event(ready_at_ms=bench.now.wall_ms + 5_000))
    bench.now = bench.now._replace(wall_ms=bench.now.wall_ms + 3_600_000)
    bench.pass_ms(4_000)
    assert not bench.sent
    bench.pass_ms(1_000)
    assert bench.sent


# --- Follow-ups -------------------------------------------------------------------------------------------


def test_a_result_makes_its_follow_up_in_the_settlement() -> None:
    bench = Bench(make_revision(ok="then"))
    bench.join("x")
    (event,) = bench.many(1)
    bench.settle("x", bench.sent["x"][0], result=b'{"n":1}')
    settle = bench.changes[0]
    assert isinstance(settle, Settle)
    made = settle.follow_ups[0].event
    assert (made.event, made.payload, made.parent, made.hop) == ("then", b'{"n":1}', event.id, 1)
    assert made.source is Source.RESULT
    assert settle.record.follow_ups == (made.id,)
    assert bench.sent["x"][1].event.id == made.id


def test_an_error_fires_once_after_the_last_attempt_with_code_error_and_event() -> None:
    bench = Bench(make_revision(error="oops", retry=RetryPolicy(attempts=2, initial_ms=10)))
    bench.join("x")
    bench.accept(bench.event(payload=b'{"a":1}'))
    for _ in range(2):
        bench.settle("x", bench.sent["x"][-1], Outcome.FAILED, code=7, error='say "no"')
        bench.pass_ms(100)
    made = [entry.event for change in bench.changes for entry in getattr(change, "follow_ups", ())]
    assert [event.payload for event in made] == [b'{"code":7,"error":"say \\"no\\"","event":{"a":1}}']


def test_a_chain_past_its_bound_is_a_dead_letter_that_never_ran() -> None:
    bench = Bench()
    bench.join("x")
    bench.accept(bench.event(hop=limits.HOPS_MAX), bench.event(hop=limits.HOPS_MAX + 1))
    assert [item.event.hop for item in bench.sent["x"]] == [limits.HOPS_MAX]
    (bury,) = bench.changes
    assert isinstance(bury, Bury)
    assert bury.reason == "loop"


def test_emitted_events_are_those_that_the_runtime_names() -> None:
    bench = Bench(make_revision(emits=("then",)))
    bench.join("x")
    bench.many(1)
    emitted = (Emitted("then", b"1"), Emitted("other", b"2"))
    bench.settle("x", bench.sent["x"][0], emitted=emitted)
    settle = bench.changes[0]
    assert isinstance(settle, Settle)
    assert [(one.event.event, one.event.source) for one in settle.follow_ups] == [("then", Source.EMIT)]


def test_emitting_past_the_quota_fails_the_attempt() -> None:
    bench = Bench(make_revision(emits=("then",)))
    bench.machine.set_quotas({"acme": Quotas(queued_events=3)})
    bench.join("x")
    bench.many(1)
    bench.settle("x", bench.sent["x"][0], emitted=tuple(Emitted("then", b"1") for _ in range(3)))
    assert bench.records[0].outcome is Outcome.FAILED
    assert "quota" in bench.records[0].error


# --- Executors that die -----------------------------------------------------------------------------------


def test_a_death_counts_the_attempt_of_the_one_that_ran_and_of_no_other() -> None:
    bench = Bench()
    bench.join("x")
    bench.learn()
    first, second, third = bench.many(3)
    assert bench.ids("x") == [first.id, second.id, third.id]
    bench.machine.leasing.disconnected("x", bench.now)
    bench.join("x", instance="two")
    assert [(record.id, record.outcome) for record in bench.records[1:]] == [(first.id, Outcome.KILLED)]
    assert [lost.charged for lost in bench.told(LeasesLost)] == [first.id]
    attempts = {item.event.id: item.attempt for item in bench.sent["x"][3:]}
    assert attempts == {first.id: 2, second.id: 1, third.id: 1}


def test_the_one_that_a_renewal_names_is_the_one_that_ran() -> None:
    bench = Bench()
    bench.join("x")
    bench.learn()
    _, second = bench.many(2)
    tokens = [item.token for item in bench.sent["x"]]
    bench.machine.leasing.renewed("x", "one", tokens[1], tokens, bench.now)
    bench.join("x", instance="two")
    assert bench.records[-1].id == second.id


def test_where_nobody_knows_what_ran_nobody_is_charged_and_each_that_may_have_runs_alone() -> None:
    bench = Bench()
    bench.join("x")
    bench.learn()
    (parked,) = bench.many(1, name="long")
    token = bench.sent["x"][0].token
    bench.machine.leasing.renewed("x", "one", 0, [token], bench.now, parked=[token])
    first, second = bench.many(2)
    bench.sent.clear()
    bench.join("x", instance="two")
    assert len(bench.records) == 1
    alone = [bench.sent_ids[0]]
    while len(alone) < 3:
        bench.settle("x", bench.sent["x"][-1])
        alone.append(bench.sent_ids[-1])
    assert sorted(alone) == sorted([parked.id, first.id, second.id])
    assert [record.outcome.value for record in bench.records[1:]] == ["ok", "ok"]


def test_a_connection_that_comes_back_to_the_same_process_costs_nothing() -> None:
    bench = Bench()
    bench.join("x")
    bench.many(1)
    token = bench.sent["x"][0].token
    bench.machine.leasing.disconnected("x", bench.now)
    bench.pass_ms(limits.PEER_GRACE_MS - 1)
    bench.join("x", held=[token])
    bench.pass_ms(limits.PEER_GRACE_MS)
    assert not bench.records
    bench.settle("x", bench.sent["x"][0])
    assert bench.records[0].outcome is Outcome.OK


def test_what_was_lost_with_a_connection_is_sent_again_without_an_attempt() -> None:
    bench = Bench()
    bench.join("x")
    bench.many(1)
    bench.machine.leasing.disconnected("x", bench.now)
    bench.join("x", held=[])
    assert [item.attempt for item in bench.sent["x"]] == [1, 1]
    assert not bench.records


def test_a_lost_connection_is_a_death_after_its_grace() -> None:
    bench = Bench()
    bench.join("x", "y")
    bench.many(1)
    gone, other = ("x", "y") if "x" in bench.sent else ("y", "x")
    bench.machine.leasing.disconnected(gone, bench.now)
    bench.pass_ms(limits.PEER_GRACE_MS)
    assert [item.attempt for item in bench.sent[other]] == [2]


def test_a_lease_that_is_renewed_does_not_end() -> None:
    bench = Bench()
    bench.join("x")
    bench.many(1)
    token = bench.sent["x"][0].token
    for _ in range(10):
        bench.pass_ms(LEASE_MS // 5)
        bench.machine.leasing.renewed("x", "one", token, [token], bench.now)
    assert not bench.records


def test_a_silent_executor_loses_its_leases_and_its_late_settlement_is_refused() -> None:
    bench = Bench()
    bench.join("x")
    bench.many(1)
    late = bench.sent["x"][0]
    bench.pass_ms(LEASE_MS)
    assert bench.records[0].outcome is Outcome.KILLED
    bench.join("y")
    bench.settle("x", late)
    assert bench.told(Refused)
    bench.settle("y", bench.sent["y"][0])
    assert [record.outcome for record in bench.records] == [Outcome.KILLED, Outcome.OK]


def test_a_silent_executor_that_comes_back_is_told_to_end_what_it_lost() -> None:
    bench = Bench()
    bench.join("x")
    bench.many(1)
    token = bench.sent["x"][0].token
    bench.pass_ms(LEASE_MS)
    bench.join("x", held=[token])
    assert bench.told(Abort)[0].tokens == (token,)


def test_the_third_death_buries_and_the_third_attempt_runs_alone() -> None:
    bench = Bench(make_revision(retry=RetryPolicy(attempts=10)))
    bench.join("x")
    bench.learn()
    (poison,) = bench.many(1)
    for death in range(3):
        if death == 2:
            bench.many(2)
            assert bench.ids("x") == [poison.id]
        bench.sent.clear()
        bench.join("x", instance=f"run {death}")
    buried = [change for change in bench.changes if isinstance(change, Bury)]
    assert [(one.reason, one.deaths, one.record.id) for one in buried] == [("killed", 3, poison.id)]


def test_what_an_executor_returns_costs_no_attempt_and_it_gets_nothing_behind_its_long_guest() -> None:
    bench = Bench()
    bench.join("x")
    bench.learn()
    first, second = bench.many(2)
    bench.machine.leasing.returned("x", [bench.sent["x"][1].token], bench.now)
    bench.go()
    assert bench.ids("x") == [first.id, second.id]
    bench.join("y")
    assert bench.ids("y") == [second.id]
    assert bench.sent["y"][0].attempt == 1


def test_a_draining_executor_gets_nothing_more() -> None:
    bench = Bench()
    bench.join("x")
    bench.machine.leasing.returned("x", [], bench.now, draining=True)
    bench.many(1)
    assert not bench.sent


def test_what_could_not_be_pushed_goes_elsewhere() -> None:
    bench = Bench()
    bench.join("x")
    bench.many(1)
    bench.machine.leasing.unsent("x", [bench.sent["x"][0].token], bench.now)
    bench.join("y")
    assert [item.attempt for item in bench.sent["y"]] == [1]
    assert len(bench.sent["x"]) == 1


def test_a_damaged_payload_makes_a_dead_letter() -> None:
    bench = Bench()
    bench.join("x")
    bench.many(1)
    bench.machine.unreadable("x", bench.sent["x"][0].token, bench.now)
    bench.go()
    last = bench.changes[-1]
    assert isinstance(last, Bury)
    assert last.reason == "corrupt"


# --- Order ------------------------------------------------------------------------------------------------


def test_a_strict_queue_runs_one_at_a_time_and_stores_the_lease_before_the_push() -> None:
    bench = Bench(make_revision(order=Order.STRICT))
    bench.join("x", "y")
    bench.storing = False
    first, second = bench.many(2, ordered=True)
    assert not bench.sent
    assert isinstance(bench.held[0].changes[0], StoreLease)
    bench.store()
    assert bench.sent_ids == [first.id]
    name = "x" if "x" in bench.sent else "y"
    bench.settle(name, bench.sent[name][0])
    assert bench.sent_ids.count(second.id) == 1


def test_a_retry_holds_back_its_key_and_no_other() -> None:
    bench = Bench(make_revision(order=Order.KEY, key="/k", retry=RetryPolicy(initial_ms=1_000)))
    bench.join("x")
    bench.learn()
    a1, a2 = (bench.event(ordered=True, order_key="a") for _ in range(2))
    b1 = bench.event(ordered=True, order_key="b")
    bench.accept(a1, a2, b1)
    items = {item.event.id: item for item in bench.sent["x"]}
    bench.settle("x", items[a1.id], Outcome.FAILED)
    bench.settle("x", items[b1.id])
    assert bench.ids("x") == [a1.id, b1.id]
    bench.pass_ms(1_000)
    bench.settle("x", bench.sent["x"][-1])
    assert bench.ids("x") == [a1.id, b1.id, a1.id, a2.id]


def test_a_delayed_event_of_an_ordered_queue_holds_back_those_behind_it() -> None:
    bench = Bench(make_revision(order=Order.STRICT))
    bench.join("x")
    late = bench.event(ordered=True, ready_at_ms=bench.now.wall_ms + 1_000)
    prompt = bench.event(ordered=True)
    bench.accept(late, prompt)
    assert not bench.sent
    bench.pass_ms(1_000)
    assert bench.ids("x") == [late.id]


def test_a_withdrawn_event_does_not_hold_back_its_lane() -> None:
    bench = Bench(make_revision(order=Order.STRICT))
    first, second, third = bench.many(3, ordered=True)
    assert bench.machine.cancel("acme", second.id, bench.now)
    assert bench.machine.cancel("acme", first.id, bench.now)
    bench.join("x")
    assert bench.ids("x") == [third.id]


def test_a_restarted_listener_waits_for_the_executor_of_a_stored_lease() -> None:
    bench = Bench(make_revision(order=Order.STRICT), incarnation=2, next_seq=3)
    events = [bench.event(ordered=True) for _ in range(2)]
    bench.payloads = {1: b"{}", 2: b"{}"}
    lease = Lease(token=1 << 32 | 5, executor="x", instance="one")
    bench.machine.recover([stored_entry(events[0], 1, lease=lease), stored_entry(events[1], 2)], bench.now)
    bench.join("y")
    assert not bench.sent
    bench.join("x", held=[lease.token])
    assert not bench.sent
    bench.machine.settled("x", _ok(lease.token), bench.now)
    bench.go()
    assert bench.records[0].id == events[0].id
    assert bench.sent_ids == [events[1].id]


def test_a_stored_lease_of_an_executor_that_does_not_come_back_ends_with_the_lease() -> None:
    bench = Bench(make_revision(order=Order.STRICT), incarnation=2, next_seq=2)
    event = bench.event(ordered=True)
    bench.payloads = {1: b"{}"}
    bench.machine.recover([stored_entry(event, 1, lease=Lease(5, "x", "one"))], bench.now)
    bench.join("y")
    bench.pass_ms(LEASE_MS)
    assert [(item.event.id, item.attempt) for item in bench.sent["y"]] == [(event.id, 1)]


# --- Cancelling -------------------------------------------------------------------------------------------


def test_cancelling_a_queued_event_ends_it_without_follow_ups() -> None:
    bench = Bench(make_revision(error="oops"))
    (event,) = bench.many(1)
    assert bench.machine.cancel("acme", event.id, bench.now)
    bench.go()
    (change,) = bench.changes
    assert isinstance(change, Settle)
    assert change.record.outcome is Outcome.CANCELLED
    assert not change.follow_ups


def test_cancelling_a_running_event_aborts_it_and_a_success_still_counts() -> None:
    bench = Bench()
    bench.join("x")
    (event,) = bench.many(1)
    assert not bench.machine.cancel("acme", event.id, bench.now)
    bench.go()
    assert bench.told(Abort)[0].tokens == (bench.sent["x"][0].token,)
    bench.settle("x", bench.sent["x"][0])
    assert bench.records[0].outcome is Outcome.OK


def test_an_attempt_that_fails_after_its_event_was_cancelled_is_not_tried_again() -> None:
    bench = Bench()
    bench.join("x")
    (event,) = bench.many(1)
    bench.machine.cancel("acme", event.id, bench.now)
    bench.settle("x", bench.sent["x"][0], Outcome.FAILED)
    bench.pass_ms(60_000)
    assert [record.outcome for record in bench.records] == [Outcome.CANCELLED]


def test_an_event_is_cancelled_while_its_retry_is_being_stored() -> None:
    bench = Bench()
    bench.join("x")
    (event,) = bench.many(1)
    bench.storing = False
    bench.settle("x", bench.sent["x"][0], Outcome.FAILED)
    bench.machine.cancel("acme", event.id, bench.now)
    bench.store()
    assert [record.outcome for record in bench.records] == [Outcome.FAILED, Outcome.CANCELLED]


def test_another_tenant_cannot_cancel() -> None:
    bench = Bench()
    (event,) = bench.many(1)
    with pytest.raises(NotFound):
        bench.machine.cancel("other", event.id, bench.now)


# --- Quotas and bounds ------------------------------------------------------------------------------------


def test_a_tenant_runs_no_more_at_once_than_its_bound() -> None:
    bench = Bench()
    bench.machine.set_quotas({"acme": Quotas(concurrent_runs=2)})
    bench.join("x", "y", "z")
    bench.many(5)
    assert sum(len(items) for items in bench.sent.values()) == 2


def test_a_queue_runs_no_more_at_once_than_its_bound_and_a_lifted_bound_counts_at_once() -> None:
    bench = Bench(make_revision(concurrency=1))
    bench.join("x", "y")
    bench.many(3)
    assert sum(len(items) for items in bench.sent.values()) == 1
    bench.machine.set_routes(Routes.build([make_revision()]))
    bench.go()
    assert sum(len(items) for items in bench.sent.values()) == 2


def test_a_full_queue_refuses_and_room_is_there_again_when_events_end() -> None:
    bench = Bench()
    bench.machine.set_quotas({"acme": Quotas(queued_events=2)})
    bench.many(2)
    with pytest.raises(QuotaExceeded) as caught:
        bench.machine.admit([bench.event()], bench.now)
    assert caught.value.retry_after_s >= 1
    bench.join("x")
    bench.settle("x", bench.sent["x"][0])
    bench.machine.admit([bench.event()], bench.now)


def test_a_batch_that_can_never_fit_is_too_large() -> None:
    bench = Bench()
    bench.machine.set_quotas({"acme": Quotas(queued_events=2)})
    with pytest.raises(TooLarge):
        bench.machine.admit([bench.event() for _ in range(3)], bench.now)


def test_a_follow_up_is_never_refused() -> None:
    bench = Bench(make_revision(ok="then"))
    bench.machine.set_quotas({"acme": Quotas(queued_events=1)})
    bench.join("x")
    bench.many(1)
    bench.settle("x", bench.sent["x"][0], result=b"1")
    assert len(bench.sent["x"]) == 2


def _ok(token: int):  # type: ignore[no-untyped-def]
    from jobico.event import Settlement

    return Settlement(token, Outcome.OK)
