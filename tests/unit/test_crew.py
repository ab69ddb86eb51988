"""What executors hold ahead, and what is kept from slow guests."""

from machine_kit import Bench, make_revision

from jobico import limits
from jobico.crew import SLOW_US

HELD_AHEAD_US = limits.HELD_AHEAD_MS * 1_000


def test_a_runtime_that_was_never_seen_runs_one_at_a_time() -> None:
    bench = Bench()
    bench.join("x")
    bench.many(5)
    assert len(bench.sent["x"]) == 1


def test_what_is_held_ahead_is_about_the_bound_of_time() -> None:
    bench = Bench()
    bench.join("x")
    bench.learn(run_us=1_900)  # 2 ms with what an attempt costs besides
    bench.many(100)
    assert len(bench.sent["x"]) == HELD_AHEAD_US // 2_000


def test_a_runtime_longer_than_the_bound_is_held_one_at_a_time_and_fills_each_executor() -> None:
    bench = Bench()
    bench.join("x", "y")
    bench.learn(run_us=50_000)
    bench.many(10)
    assert [len(items) for items in bench.sent.values()] == [1, 1]


def test_no_executor_holds_more_than_its_bound_of_deliveries() -> None:
    bench = Bench()
    bench.join("x")
    bench.learn(run_us=0)
    bench.many(1_000)
    assert len(bench.sent["x"]) <= limits.HELD_DELIVERIES_MAX


def test_the_executor_with_the_least_to_do_is_next() -> None:
    bench = Bench()
    bench.join("x")
    bench.learn()
    bench.many(6)
    bench.join("y")
    bench.many(4)
    assert len(bench.sent["y"]) == 4


def test_nothing_is_put_behind_a_guest_that_takes_longer_than_expected() -> None:
    bench = Bench()
    bench.join("x")
    bench.learn()
    bench.many(1)
    bench.pass_ms(limits.HELD_AHEAD_MS + 5)
    bench.many(1)
    assert len(bench.sent["x"]) == 1
    bench.join("y")
    assert len(bench.sent["y"]) == 1


def test_with_quick_work_about_slow_guests_leave_one_executor_free() -> None:
    bench = Bench()
    bench.join("x")
    bench.learn()
    bench.learn(name="long", run_us=SLOW_US)
    bench.join("y", "z")
    bench.many(10, name="long")
    assert sum(len(items) for items in bench.sent.values()) == 2
    bench.many(1)
    assert sum(len(items) for items in bench.sent.values()) == 3


def test_without_quick_work_slow_guests_have_every_executor() -> None:
    bench = Bench()
    bench.join("x")
    bench.learn(name="long", run_us=SLOW_US)
    bench.join("y", "z")
    bench.many(10, name="long")
    assert sum(len(items) for items in bench.sent.values()) == 3


def test_with_other_tenants_about_the_slow_guests_of_one_leave_an_executor() -> None:
    bench = Bench(make_revision("a"), make_revision("b"))
    bench.join("x")
    bench.learn(tenant="a", name="long", run_us=SLOW_US)
    bench.learn(tenant="b", name="long", run_us=SLOW_US)
    bench.join("y", "z")
    bench.many(10, "a", "long")
    assert sum(len(items) for items in bench.sent.values()) == 2
    bench.many(1, "b", "long")
    assert sum(len(items) for items in bench.sent.values()) == 3


def test_a_slow_guest_that_waits_does_not_hold_back_another_queue() -> None:
    bench = Bench()
    bench.join("x")
    bench.learn()
    bench.learn(name="long", run_us=SLOW_US)
    bench.join("y")
    bench.many(5, name="long")
    quick = bench.many(3)
    assert {event.id for event in quick} <= set(bench.sent_ids)


def test_a_slow_guest_that_waits_goes_when_another_ends() -> None:
    bench = Bench()
    bench.join("x")
    bench.learn()
    bench.learn(name="long", run_us=SLOW_US)
    bench.join("y")
    _, second = bench.many(2, name="long")
    holder = next(name for name, items in bench.sent.items() if items)
    bench.settle(holder, bench.sent[holder][0], run_us=SLOW_US)
    assert second.id in bench.sent_ids


def test_what_waits_for_its_module_does_not_hold_back_others() -> None:
    bench = Bench()
    bench.join("x")
    bench.learn()
    bench.many(1, name="long")
    token = bench.sent["x"][0].token
    quick = bench.many(1)
    assert quick[0].id not in bench.sent_ids
    bench.machine.leasing.renewed("x", "one", 0, [token], bench.now, parked=[token])
    bench.go()
    assert quick[0].id in bench.sent_ids


def test_another_event_of_an_unknown_runtime_goes_where_none_waits_for_its_module() -> None:
    bench = Bench()
    bench.join("x")
    first, second = bench.many(2, name="long")
    token = bench.sent["x"][0].token
    bench.machine.leasing.renewed("x", "one", 0, [token], bench.now, parked=[token])
    bench.go()
    assert bench.sent_ids == [first.id]
    bench.join("y")
    assert bench.ids("y") == [second.id]


def test_an_event_whose_module_has_come_is_the_one_that_runs() -> None:
    bench = Bench()
    bench.join("x")
    bench.learn()
    bench.many(1, name="long")
    late = bench.sent["x"][0]
    bench.machine.leasing.renewed("x", "one", 0, [late.token], bench.now, parked=[late.token])
    bench.many(2)
    held = [item.token for item in bench.sent["x"]]
    bench.machine.leasing.renewed("x", "one", late.token, held, bench.now)
    bench.join("x", instance="two")
    assert [record.id for record in bench.records[1:]] == [late.event.id]


def test_a_new_runtime_is_not_held_back_by_a_slow_guest_of_its_tenant() -> None:
    bench = Bench(make_revision("a"), make_revision("b"))
    bench.join("x")
    bench.learn(tenant="b")
    bench.learn(tenant="a", name="long", run_us=SLOW_US)
    bench.pass_ms(61_000)  # that it turned out slow is forgotten by now
    bench.join("y")
    bench.many(1, "b")
    bench.settle("x" if "x" in bench.sent else "y", next(iter(bench.sent.values()))[0])
    bench.sent.clear()
    slow, new = [*bench.many(1, "a", "long"), *bench.many(1, "a", "e")]
    assert bench.sent_ids == [slow.id, new.id]


def test_a_tenant_whose_new_runtimes_turn_out_slow_does_not_get_every_executor() -> None:
    bench = Bench(make_revision("a"), make_revision("b"))
    bench.join("x")
    bench.learn(tenant="b")
    bench.learn(tenant="a", name="long", run_us=SLOW_US)
    bench.join("y")
    slow, new = [*bench.many(1, "a", "long"), *bench.many(1, "a", "e")]
    assert bench.sent_ids == [slow.id]
    quick = bench.many(1, "b")
    assert bench.sent_ids == [slow.id, quick[0].id]
    assert new.id not in bench.sent_ids
