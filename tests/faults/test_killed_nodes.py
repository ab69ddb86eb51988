"""Nodes are killed, stopped and ended while there is work: nothing is lost, nothing is recorded twice."""

import os
import signal
import time
from pathlib import Path
from random import Random

import pytest
from acceptance_kit import ECHO, until, wasm
from faults_kit import LEASE_MS, WAITS, FaultyPlatform, Tenant, ordered_by_name

ROUNDS = int(os.environ.get("JOBICO_TEST_ROUNDS", "20"))
ROLES = ("control", "repository", "recorder", "executor-0", "executor-1", "listener")


@pytest.mark.slow
@pytest.mark.timeout(60 + 8 * ROUNDS)
def test_what_was_accepted_outlives_a_listener_that_is_killed(
    platform: FaultyPlatform, tenant: Tenant, tmp_path: Path, chance: Random
) -> None:
    """An event answered with 202 is never lost, and has one outcome, whenever the listener is killed.

    It is gunicorn's master and its one worker: either is killed, or both.
    """
    tenant.deploy(tmp_path, tenant.definition(tmp_path, wasm(ECHO)))
    with tenant.load() as senders:
        for _ in range(ROUNDS):
            count = len(senders.accepted)
            until(lambda count=count: len(senders.accepted) > count, 20, "events flow again")  # type: ignore[misc]
            time.sleep(chance.uniform(0, 0.5))  # the moment is the claim
            before = until(lambda: platform.node("listener"), 10, "control answers")
            processes = platform.processes("listener")
            for pid in chance.choice((processes, processes[:1], processes[1:])):
                os.kill(pid, signal.SIGKILL)
            platform.await_ready("listener", other_than=before.instance)
    tenant.check(senders.accepted)


def test_an_executor_killed_during_a_run_costs_one_attempt(
    platform: FaultyPlatform, tenant: Tenant, tmp_path: Path
) -> None:
    """A dead executor is noticed within 2 s, and its event runs elsewhere."""
    tenant.deploy(tmp_path, tenant.definition(tmp_path, wasm(WAITS)))
    tenant.check([tenant.accept(b"1")])
    event_id = tenant.accept(b"400")
    executor = until(lambda: tenant.running().get(event_id), 10, "it runs")
    killed_ms = time.time() * 1_000
    platform.kill(executor)
    until(lambda: tenant.final_count() == 2, 10, "it runs elsewhere")
    records = tenant.records_of(event_id)
    assert ordered_by_name(records) == [(1, "killed", "queued"), (2, "ok", "done")]
    assert records[0].settled_ms - killed_ms < 2_000


@pytest.mark.parametrize("also", ["nobody", "listener"])
def test_an_outcome_that_was_not_stored_is_found_again(
    platform: FaultyPlatform, tenant: Tenant, tmp_path: Path, also: str
) -> None:
    """An executor dies after the run, before its settlement is stored: the event has one outcome, `ok`."""
    tenant.deploy(tmp_path, tenant.definition(tmp_path, wasm(WAITS)))
    first = tenant.accept(b"1")
    tenant.check([first])
    event_id = tenant.accept(b"700")
    executor = until(lambda: tenant.running().get(event_id), 10, "it runs")
    ran = platform.attempts(executor)
    stopped = platform.send("listener", signal.SIGSTOP)  # it stores nothing from now on
    until(lambda: platform.attempts(executor) > ran, 10, "the run has ended")
    platform.kill(executor)
    if also == "listener":
        platform.kill("listener")
    else:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    assert str(tenant.check([first, event_id])[event_id].outcome) == "ok"


@pytest.mark.slow
def test_an_event_outlives_a_listener_that_was_killed_before_it_kept_the_last_deploy(
    platform: FaultyPlatform, tenant: Tenant, tmp_path: Path
) -> None:
    """A listener whose last snapshot is older than its events does not take them for events without a job."""
    snapshot = platform.home / "data" / "listener" / "control.snapshot"
    older = until(lambda: snapshot.is_file() and snapshot.read_bytes(), 10, "a snapshot is kept")
    platform.supervisorctl("stop", "executor:*")
    tenant.deploy(tmp_path, tenant.definition(tmp_path, wasm(ECHO)))
    event_id = tenant.accept(b"1")
    platform.supervisorctl("stop", "listener", "control")
    snapshot.write_bytes(older)
    platform.supervisorctl("start", "executor:*", "listener")
    until(lambda: tenant.queued() == {event_id: "delayed"}, 20, "it waits for a route")
    platform.supervisorctl("start", "control")
    assert str(tenant.check([event_id])[event_id].outcome) == "ok"


@pytest.mark.slow
def test_records_outlive_a_recorder_and_a_control_that_are_killed(
    platform: FaultyPlatform, tenant: Tenant, tmp_path: Path, chance: Random
) -> None:
    """The recorder's and control's deaths cost no event and no record, and senders do not notice them."""
    tenant.deploy(tmp_path, tenant.definition(tmp_path, wasm(ECHO)))
    with tenant.load() as senders:
        for name in ("recorder", "control", "recorder", "control"):
            time.sleep(chance.uniform(0, 0.5))
            platform.hurt(name)
    assert not senders.refused
    tenant.check(senders.accepted)


@pytest.mark.slow
def test_a_settlement_that_comes_late_is_refused(
    platform: FaultyPlatform, tenant: Tenant, tmp_path: Path
) -> None:
    """An executor that stands still for twice its lease has lost it: what it says then changes nothing."""
    tenant.deploy(tmp_path, tenant.definition(tmp_path, wasm(WAITS)))
    first = tenant.accept(b"1")
    tenant.check([first])
    event_id = tenant.accept(b"300")
    executor = until(lambda: tenant.running().get(event_id), 10, "it runs")
    refused = platform.log_of("listener").count("settlement-refused")
    (pid,) = platform.send(executor, signal.SIGSTOP)
    stopped_s = time.monotonic()
    try:
        tenant.check([first, event_id])
        until(lambda: time.monotonic() - stopped_s > 2 * LEASE_MS / 1_000, 10, "two leases pass")
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: platform.log_of("listener").count("settlement-refused") > refused, 10, "it is refused")
    tenant.check([first, event_id])
    assert ordered_by_name(tenant.records_of(event_id)) == [(1, "killed", "queued"), (2, "ok", "done")]


@pytest.mark.slow
def test_events_wait_for_executors(platform: FaultyPlatform, tenant: Tenant, tmp_path: Path) -> None:
    """Without any executor events are accepted and kept; they run when executors are back."""
    tenant.deploy(tmp_path, tenant.definition(tmp_path, wasm(ECHO)))
    platform.supervisorctl("stop", "executor:*")
    accepted = [tenant.accept(b'{"id": %d}' % number) for number in range(50)]
    assert platform.http("GET", "/readyz").status == 200
    assert tenant.final_count() == 0
    platform.supervisorctl("start", "executor:*")
    final = tenant.check(accepted)
    assert {(str(one.outcome), one.attempt) for one in final.values()} == {("ok", 1)}


@pytest.mark.slow
@pytest.mark.parametrize("name", ROLES)
def test_a_node_that_is_told_to_stop_breaks_nothing(
    platform: FaultyPlatform, tenant: Tenant, tmp_path: Path, name: str
) -> None:
    """SIGTERM under load: what is under way is finished, no attempt is lost, no request is cut off."""
    tenant.deploy(tmp_path, tenant.definition(tmp_path, wasm(ECHO)))
    with tenant.load() as senders:
        platform.hurt(name, signal.SIGTERM)
        before = len(senders.accepted)
        until(lambda: len(senders.accepted) > before + 20, 10, "events flow")
    final = tenant.check(senders.accepted)
    assert {(str(one.outcome), one.attempt) for one in final.values()} == {("ok", 1)}
    assert set(senders.refused) <= ({"ConnectionRefusedError", 503} if name == "listener" else set())


@pytest.mark.slow
def test_a_poison_event_ends_and_takes_nobody_along(
    platform: FaultyPlatform, tenant: Tenant, tmp_path: Path
) -> None:
    """An event under which three executors die is a dead letter, `killed`; no other is charged for it."""
    tenant.deploy(tmp_path, tenant.definition(tmp_path, wasm(WAITS)))
    first = tenant.accept(b"1")
    tenant.check([first])
    poison = tenant.accept(b"4000")
    bystanders: list[str] = []
    for death in range(3):
        executor = until(lambda: tenant.running().get(poison), 20, "the poison runs")
        bystanders += [tenant.accept(b"2") for _ in range(10)]
        platform.kill(executor)
        until(lambda death=death: len(tenant.records_of(poison)) > death, 10, "its attempt is counted")  # type: ignore[misc]
    final = tenant.check([first, poison, *bystanders])
    assert [(one.event.id, one.reason, one.attempts) for one in tenant.dead_letters().items] == [
        (poison, "killed", 3)
    ]
    others = {(str(final[one].outcome), final[one].attempt) for one in bystanders}
    assert others == {("ok", 1)}
