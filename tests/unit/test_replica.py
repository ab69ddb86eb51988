"""Claims about `nodes.replica`: what a follower of control's tables knows, whatever the network loses."""

import random

from jobico.tenancy import TenantInfo
from nodes.replica import Replica, TableChange
from protocol.messages import ControlChange, ControlSnapshot

EPOCH = "e1"


def tenant_change(seq: int, name: str = "", *, delete: bool = False) -> ControlChange:
    name = name or f"t{seq}"
    value = None if delete else TenantInfo(name=name, created_ms=seq)
    return ControlChange(seq=seq, table="tenants", key=name, value=value)


def snapshot(seq: int, *names: str, epoch: str = EPOCH) -> ControlSnapshot:
    rows = {name: TenantInfo(name=name, created_ms=0) for name in names}
    return ControlSnapshot(seq=seq, epoch=epoch, tables={"tenants": rows})


def current(seq: int, *names: str) -> Replica:
    replica = Replica()
    replica.load(snapshot(seq, *names))
    return replica


def test_changes_before_the_snapshot_wait_and_those_it_holds_are_dropped() -> None:
    replica = Replica()
    for seq in (4, 5, 6, 7):
        assert replica.apply(tenant_change(seq)) == ()
    replica.load(snapshot(5, "old"))
    assert not replica.loading
    assert replica.seq == 7
    assert sorted(replica.tables["tenants"]) == ["old", "t6", "t7"]


def test_the_next_change_is_applied_with_typed_values() -> None:
    replica = current(1)
    plain = ControlChange(seq=2, table="tenants", key="acme", value={"name": "acme", "created_ms": 5})
    assert replica.apply(plain) == (TableChange("tenants", "acme", TenantInfo(name="acme", created_ms=5)),)


def test_a_change_without_value_deletes() -> None:
    replica = current(1, "acme")
    assert replica.apply(tenant_change(2, "acme", delete=True)) == (TableChange("tenants", "acme", None),)
    assert replica.tables["tenants"] == {}


def test_an_old_change_does_nothing() -> None:
    replica = current(9)
    assert replica.apply(tenant_change(9)) == ()
    assert replica.tables["tenants"] == {}


def test_a_gap_asks_for_a_snapshot_and_keeps_what_was_known_readable() -> None:
    replica = current(1, "acme")
    assert replica.apply(tenant_change(3)) == ()
    assert replica.loading
    assert list(replica.tables["tenants"]) == ["acme"]
    replica.load(snapshot(2, "acme", "t2"))
    assert not replica.loading
    assert sorted(replica.tables["tenants"]) == ["acme", "t2", "t3"]


def test_a_snapshot_that_is_older_than_the_buffer_leaves_it_loading() -> None:
    replica = Replica()
    replica.apply(tenant_change(8))
    replica.load(snapshot(5))
    assert replica.loading
    replica.load(snapshot(7))
    assert not replica.loading
    assert replica.seq == 8


def test_an_answer_that_overtakes_a_change_is_no_loss() -> None:
    replica = current(1)
    replica.observe(2, EPOCH)
    assert not replica.loading
    replica.apply(tenant_change(2))
    replica.observe(2, EPOCH)
    assert not replica.loading


def test_a_change_that_is_not_in_by_the_second_answer_is_lost() -> None:
    replica = current(1)
    replica.observe(2, EPOCH)
    replica.observe(2, EPOCH)
    assert replica.loading


def test_another_epoch_asks_for_a_snapshot() -> None:
    replica = current(7)
    replica.observe(7, "e2")
    assert replica.loading


def test_a_restored_snapshot_is_readable_but_not_current() -> None:
    replica = Replica()
    replica.restore(snapshot(5, "acme"))
    assert replica.loading
    assert list(replica.tables["tenants"]) == ["acme"]
    assert replica.apply(tenant_change(6)) == ()


def test_tables_and_shapes_of_a_newer_control_are_left_out() -> None:
    replica = current(1)
    assert replica.apply(ControlChange(seq=2, table="quarks", key="up", value=1)) == ()
    assert replica.apply(ControlChange(seq=3, table="tenants", key="x", value={"nonsense": 1})) == ()
    assert replica.refused == 1
    assert not replica.loading
    assert replica.seq == 3


def test_any_loss_and_any_restart_of_the_feed_ends_with_the_tables_of_control() -> None:
    """200 seeded runs of a lossy feed; heartbeats reveal what was lost, and every replica ends up equal."""
    for seed in range(200):
        rng = random.Random(seed)
        replica, truth = Replica(), dict[str, TenantInfo]()
        seq = 0
        for _ in range(60):
            seq += 1
            name = f"t{rng.randrange(5)}"
            change = tenant_change(seq, name, delete=rng.random() < 0.3)
            if change.value is None:
                truth.pop(name, None)
            else:
                truth[name] = change.value
            if rng.random() < 0.8:
                replica.apply(change)
            if rng.random() < 0.2:
                replica.observe(seq, EPOCH)
            if replica.loading and rng.random() < 0.5:
                replica.load(ControlSnapshot(seq=seq, epoch=EPOCH, tables={"tenants": dict(truth)}))
        for _ in range(2):
            replica.observe(seq, EPOCH)
            if replica.loading:
                replica.load(ControlSnapshot(seq=seq, epoch=EPOCH, tables={"tenants": dict(truth)}))
        assert replica.tables["tenants"] == truth, f"seed {seed}"
