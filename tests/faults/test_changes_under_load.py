"""Definitions and tenants change while there is work; events that make events without end."""

from pathlib import Path

import pytest
from acceptance_kit import ECHO, says, until, wasm
from faults_kit import FaultyPlatform, Tenant

from cli.session import new_request_id
from jobico.limits import HOPS_MAX
from protocol.messages import DeleteTenant, RollbackJob

CHANGES = 50


@pytest.mark.slow
def test_deploys_and_rollbacks_under_load_break_nothing(
    platform: FaultyPlatform, tenant: Tenant, tmp_path: Path
) -> None:
    """50 deploys and rollbacks: no request fails, and each event runs on one revision, as its record says."""
    texts: dict[int, str] = {}
    for text in ("even", "odd"):
        deployed = tenant.deploy(tmp_path, tenant.definition(tmp_path, says(text), name=text))
        texts[deployed.revision.number] = text
    with tenant.load() as senders:
        for number in range(CHANGES):
            if number % 2:
                request = RollbackJob(request_id=new_request_id(), tenant=tenant.name, job="orders")
                revision = platform.session.change(request).revision.number
                assert revision in texts
            else:
                text = f"revision-{number % 4}"
                deployed = tenant.deploy(tmp_path, tenant.definition(tmp_path, says(text), name=text))
                texts[deployed.revision.number] = text
    assert not senders.refused
    final = tenant.check(senders.accepted)
    assert {one.outcome for one in final.values()} == {"ok"}
    assert {(one.revision, one.result.decode()) for one in final.values()} <= set(texts.items())
    assert len({one.revision for one in final.values()}) > 2, "events came during the changes"


def test_a_tenant_deleted_with_work_queued_takes_nothing_along(
    platform: FaultyPlatform, tenant: Tenant, tmp_path: Path
) -> None:
    """Its queued events end as dead letters, `no-route`, its key is refused; other tenants feel nothing."""
    doomed = platform.tenant(f"{tenant.name}-doomed")
    for one in (tenant, doomed):
        one.deploy(tmp_path, one.definition(tmp_path, wasm(ECHO)))
    platform.supervisorctl("stop", "executor:*")
    kept = [tenant.accept(b"%d" % number) for number in range(20)]
    lost = [doomed.accept(b"%d" % number) for number in range(20)]
    platform.session.change(DeleteTenant(request_id=new_request_id(), name=doomed.name))
    assert doomed.post(b"1").status == 401
    platform.supervisorctl("start", "executor:*")
    final = tenant.check(kept)
    assert {str(one.outcome) for one in final.values()} == {"ok"}
    ended = doomed.check(lost)
    assert {(str(one.state), one.reason) for one in ended.values()} == {("dead", "no-route")}
    letters = doomed.dead_letters().items
    assert sorted((one.event.id, one.reason) for one in letters) == [
        (one, "no-route") for one in sorted(lost)
    ]


def test_an_endless_chain_ends(platform: FaultyPlatform, tenant: Tenant, tmp_path: Path) -> None:
    """An event whose result is the event again is a dead letter, `loop`, after 16 hops."""
    definition = tenant.definition(tmp_path, wasm(ECHO), result={"ok": "order"})
    tenant.deploy(tmp_path, definition)
    tenant.accept(b'{"id": 1}')
    letters = until(lambda: tenant.dead_letters().items, 20, "the chain ends")
    assert [(one.event.hop, one.reason) for one in letters] == [(HOPS_MAX + 1, "loop")]
    until(lambda: tenant.final_count() == HOPS_MAX + 2, 10, "all of it is recorded")
    records = tenant.records()
    ran = [one.hop for one in records if one.outcome == "ok"]
    assert sorted(ran) == list(range(HOPS_MAX + 1))
    assert tenant.queued() == {}
