"""The simulation has teeth: each rule of delivery, broken on purpose, is caught, and as what it is."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from sim_checks import Breach
from sim_fair import run_fair, run_isolation
from sim_listener import Listener
from sim_scenario import FailedScenario, run_scenario

from jobico import crew, delivery, limits, verdict
from jobico.backlog import Backlog
from jobico.change import StoreLease
from jobico.crew import Crew, Executor
from jobico.delivery import DeliveryMachine
from jobico.fairness import FairShare, Share
from jobico.follow_ups import FollowUps
from jobico.leasing import Leasing
from jobico.ordering import Phase, Queue
from jobico.quota import TenantUse

SCENARIOS = 600

Patch = pytest.MonkeyPatch


def assert_caught(*promises: str, run: Callable[[int], Any] = run_scenario) -> None:
    """One of these promises is seen to be broken; breaches of others do not count."""
    seen: set[str] = set()
    for seed in range(SCENARIOS):
        try:
            run(seed)
        except FailedScenario as failure:
            cause = failure.__cause__
            seen.add(cause.promise if isinstance(cause, Breach) else type(cause).__name__)
            if not seen.isdisjoint(promises):
                return
    pytest.fail(f"{SCENARIOS} scenarios did not notice, but saw {seen}")


def test_without_fencing_a_late_settlement_is_noticed(monkeypatch: Patch) -> None:
    ever: dict[int, Any] = {}
    grant, find = Leasing.grant, Leasing.find

    def remember(self: Leasing, item: Any, *args: Any) -> None:
        grant(self, item, *args)
        ever[item.token] = item

    def find_any(self: Leasing, executor: str, token: int) -> Any:
        item = ever.get(token)
        stale = item is not None and item.phase is Phase.LEASED and self.held.get(item.token) is item
        return item if stale else find(self, executor, token)

    monkeypatch.setattr(Leasing, "grant", remember)
    monkeypatch.setattr(Leasing, "find", find_any)
    assert_caught("a late settlement is refused", run=partial(run_scenario, only="stall"))


def test_an_answer_before_the_commit_is_noticed(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Listener, "eager_ack", True)
    assert_caught("an answered event is stored")


def test_going_on_before_the_commit_is_noticed(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Listener, "eager_commit", True)
    assert_caught("an end is told once it is stored", "what is not stored is not run")


def test_charging_a_bystander_is_noticed(monkeypatch: Patch) -> None:
    def lose_all(self: Leasing, executor: Executor, reason: str, now: Any) -> None:
        executor.joined, executor.suspect_ms = False, 0
        for item in [*executor.reserved.values()]:
            self.take_back(item, now)
        for item in [*executor.held.values()]:
            self._kill(item, executor, now)

    monkeypatch.setattr(Leasing, "_lose", lose_all)
    assert_caught("only what ran is charged with a death")


def test_charging_nobody_is_noticed(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Executor, "victim", lambda _: None)
    monkeypatch.setattr("sim_scenario._STEPS_MAX", 5_000)
    assert_caught("every event ends")


def test_letting_others_pass_while_a_retry_waits_is_noticed(monkeypatch: Patch) -> None:
    turn = Backlog.turn

    def turn_and_pass(self: Backlog, item: Any, now: Any) -> None:
        turn(self, item, now)
        lane = item.queue._lanes.get(item.event.order_key) if item.event.ordered else None
        if item.phase is Phase.DELAYED and lane and len(lane) > 1 and lane[1].phase is Phase.WAITING:
            turn(self, lane[1], now)

    monkeypatch.setattr(Backlog, "turn", turn_and_pass)
    assert_caught("a lane is sent in order", "a lane ends in order", "never two leases of a lane at once")


def test_running_a_lane_in_parallel_is_noticed(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Queue, "add", lambda self, item: (_counted(self, item), True)[1])
    monkeypatch.setattr(Queue, "remove", lambda self, item, _: _uncounted(self, item))
    assert_caught("never two leases of a lane at once", "a lane is sent in order")


def test_not_storing_the_lease_of_an_ordered_event_is_noticed(monkeypatch: Patch) -> None:
    commit = DeliveryMachine._commit

    def skip(self: DeliveryMachine, step: Any) -> None:
        if isinstance(step.change, StoreLease):
            self._send(step.item, self.skipped_now)  # type: ignore[attr-defined]
        else:
            commit(self, step)

    pump = DeliveryMachine.pump

    def pump_noted(self: DeliveryMachine, now: Any) -> bool:
        self.skipped_now = now  # type: ignore[attr-defined]
        return pump(self, now)

    monkeypatch.setattr(DeliveryMachine, "_commit", skip)
    monkeypatch.setattr(DeliveryMachine, "pump", pump_noted)
    assert_caught("never two of a lane at once", run=partial(run_scenario, only="restart"))


def test_a_follow_up_too_many_is_noticed(monkeypatch: Patch) -> None:
    of_ok = FollowUps.of_ok
    monkeypatch.setattr(FollowUps, "of_ok", lambda self, result: of_ok(self, result) + of_ok(self, result))
    assert_caught("follow-ups are emitted once")


def test_a_follow_up_that_is_not_made_is_noticed(monkeypatch: Patch) -> None:
    monkeypatch.setattr(FollowUps, "of_error", lambda *_: [])
    assert_caught("follow-ups are emitted once")


def test_a_quota_that_leaks_is_noticed(monkeypatch: Patch) -> None:
    monkeypatch.setattr(TenantUse, "give_back", lambda *_: None)
    assert_caught("quotas are given back")


def test_an_attempt_too_many_is_noticed(monkeypatch: Patch) -> None:
    is_final = verdict.is_final
    monkeypatch.setattr(
        verdict,
        "is_final",
        lambda policy, outcome, code, attempts: is_final(policy, outcome, code, attempts - 1),
    )
    assert_caught("attempts are bounded by the policy")


def test_poison_that_is_not_buried_is_noticed(monkeypatch: Patch) -> None:
    monkeypatch.setattr(verdict.limits, "DEATHS_MAX", 30)
    monkeypatch.setattr("sim_checks.limits", _Frozen(DEATHS_MAX=3))
    assert_caught("an event kills at most three executors", "follow-ups are emitted once")


def test_company_for_what_may_be_poison_is_noticed(monkeypatch: Patch) -> None:
    monkeypatch.setattr(crew, "_ALONE_DEATHS", 99)
    assert_caught("what may be poison runs alone")


def test_too_many_runs_at_once_are_noticed(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Share, "may_lease", property(lambda self: bool(self.turns)))
    assert_caught("a tenant's concurrent runs are bounded")


def test_too_many_runs_of_a_queue_are_noticed(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Queue, "may_lease", property(lambda self: bool(self._ready)))
    assert_caught("a queue's concurrent runs are bounded")


def test_holding_ahead_without_a_bound_is_noticed(monkeypatch: Patch) -> None:
    monkeypatch.setattr(crew, "_HELD_AHEAD_US", 1 << 40)
    assert_caught("what is held ahead is bounded by time")


def test_a_failed_commit_that_is_forgotten_is_noticed(monkeypatch: Patch) -> None:
    failed = DeliveryMachine.commit_failed

    def forget(self: DeliveryMachine, step: Any, now: Any) -> None:
        if isinstance(step.change, StoreLease):
            failed(self, step, now)
        else:
            self._committing -= 1

    monkeypatch.setattr(DeliveryMachine, "commit_failed", forget)
    monkeypatch.setattr("sim_scenario._STEPS_MAX", 5_000)
    assert_caught("every event ends")


def test_leases_that_never_end_are_noticed(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Leasing, "tick", lambda *_: None)
    monkeypatch.setattr("sim_scenario._STEPS_MAX", 5_000)
    assert_caught("every event ends")


def test_a_chain_without_end_is_noticed(monkeypatch: Patch) -> None:
    monkeypatch.setattr(delivery.limits, "HOPS_MAX", 10_000)
    monkeypatch.setattr("sim_checks.limits", _Frozen(HOPS_MAX=16))
    monkeypatch.setattr("sim_scenario._STEPS_MAX", 5_000)
    assert_caught("every event ends", "chains end")


def test_running_what_was_withdrawn_is_noticed(monkeypatch: Patch) -> None:
    put_back = DeliveryMachine._put_back

    def keep(self: DeliveryMachine, item: Any, due_ms: int, now: Any) -> None:
        item.cancelled = False
        put_back(self, item, due_ms, now)

    monkeypatch.setattr(DeliveryMachine, "_put_back", keep)
    assert_caught("what was withdrawn is not run again")


def test_an_order_of_tenants_that_is_not_fair_is_noticed(monkeypatch: Patch) -> None:
    def oldest_first(self: FairShare) -> Share | None:
        ready = [share for _, _, share in self._heap if share.may_lease]
        return min(ready, key=lambda share: share.turns[0].oldest_seq, default=None)

    monkeypatch.setattr(FairShare, "next", oldest_first)
    assert_caught("tenants share run time by weight", run=run_fair)


def test_weights_that_do_not_count_are_noticed(monkeypatch: Patch) -> None:
    charge = FairShare._charge

    def unweighted(self: FairShare, share: Share, us: float) -> None:
        weight, share.use.weight = share.use.weight, 1
        charge(self, share, us)
        share.use.weight = weight

    monkeypatch.setattr(FairShare, "_charge", unweighted)
    assert_caught("tenants share run time by weight", run=run_fair)


def test_slow_guests_on_every_executor_are_noticed(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Crew, "_may_be_slow", lambda *_, **__: True)
    assert_caught(
        "slow guests do not delay another tenant", "slow guests do not stop another tenant", run=run_isolation
    )


def test_without_mutation_these_worlds_are_clean() -> None:
    for seed in range(SCENARIOS // 4):
        run_scenario(seed)


class _Frozen:
    """Bounds as they should be, for the checks, while the code has others."""

    def __init__(self, **bounds: int) -> None:
        for name, value in vars(limits).items():
            setattr(self, name, value)
        for name, value in bounds.items():
            setattr(self, name, value)


def _counted(queue: Queue, item: Any) -> None:
    queue.count += 1
    queue.size_bytes += item.size_bytes


def _uncounted(queue: Queue, item: Any) -> None:
    item.phase = Phase.GONE
    queue.count -= 1
    queue.size_bytes -= item.size_bytes
