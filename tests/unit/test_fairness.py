"""The fair share: whose turn it is."""

from collections import Counter

from machine_kit import Bench, make_revision

from jobico.tenancy import Quotas


def drive(bench: Bench, rounds: int, run_us: dict[str, int]) -> Counter[str]:
    """Runs what is leased, `rounds` times; how much run time each tenant had, in milliseconds."""
    used: Counter[str] = Counter()
    for _ in range(rounds):
        sent, bench.sent = bench.sent, {}
        for executor, items in sent.items():
            for item in items:
                took_us = run_us[item.event.tenant]
                used[item.event.tenant] += took_us // 1_000
                bench.settle(executor, item, run_us=took_us)
    return used


def test_tenants_share_run_time_and_not_events() -> None:
    bench = Bench(make_revision("a"), make_revision("b"))
    bench.join("x")
    bench.many(400, "a")
    bench.many(400, "b")
    used = drive(bench, 100, {"a": 2_000, "b": 10_000})
    assert abs(used["a"] - used["b"]) <= 40


def test_weights_divide_run_time() -> None:
    bench = Bench(make_revision("a"), make_revision("b"))
    bench.machine.set_quotas({"a": Quotas(weight=3), "b": Quotas(weight=1)})
    bench.join("x")
    bench.many(900, "a")
    bench.many(900, "b")
    used = drive(bench, 100, {"a": 4_000, "b": 4_000})
    assert 2.5 < used["a"] / used["b"] < 3.5


def test_an_idle_tenant_saves_nothing_up() -> None:
    bench = Bench(make_revision("a"), make_revision("b"))
    bench.join("x")
    bench.many(1, "b")
    drive(bench, 1, {"a": 1_000, "b": 1_000})
    bench.many(300, "a")
    drive(bench, 50, {"a": 5_000, "b": 5_000})
    bench.many(100, "b")
    used = drive(bench, 20, {"a": 5_000, "b": 5_000})
    assert used["a"] >= used["b"] - 40


def test_a_tenant_that_comes_is_served_next_however_long_the_backlog_of_another_is() -> None:
    bench = Bench(make_revision("a"), make_revision("b"))
    bench.join("x")
    bench.learn(tenant="b")
    bench.many(10_000, "a")
    drive(bench, 20, {"a": 5_000, "b": 1_000})
    (event,) = bench.many(1, "b")
    drive(bench, 2, {"a": 5_000, "b": 1_000})
    assert event.id not in bench.machine.backlog.by_id


def test_queues_of_a_tenant_take_turns() -> None:
    bench = Bench()
    bench.join("x")
    bench.learn()
    bench.many(200)
    (event,) = bench.many(1, name="then")
    drive(bench, 2, {"acme": 1_000})
    assert event.id not in bench.machine.backlog.by_id


def test_what_a_death_cost_is_charged_to_the_tenant_whose_event_ran() -> None:
    bench = Bench(make_revision("a"))
    bench.join("x")
    bench.many(1, "a")
    bench.pass_ms(5_000)
    bench.join("x", instance="two")
    assert bench.machine.backlog.shares["a"].used_us >= 5_000_000
