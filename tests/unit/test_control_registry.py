"""Claims about `nodes.control.registry`: what heartbeats, goodbyes and silence make of the registry."""

import msgspec
import pytest

from jobico.errors import AlreadyExists
from jobico.limits import NODE_FORGOTTEN_MS, NODE_LOST_MS
from jobico.registry import NodeInfo
from nodes.control.registry import Registry

WALL_MS = 1_700_000_000_000


def node(name: str = "executor-0", **fields: object) -> NodeInfo:
    known: dict[str, object] = {
        "name": name, "role": "executor", "instance": "i1", "pid": 1, "host": "h", "version": "1",
        "endpoints": {"deliveries": "ipc://x"}, "ready": True, "started_ms": 5,
    }  # fmt: skip
    return NodeInfo(**{**known, **fields})  # type: ignore[arg-type]


def registry(*stored: NodeInfo) -> Registry:
    return Registry(stored, 0)


def test_a_first_heartbeat_is_stored_without_what_is_true_only_now() -> None:
    row = registry().beat(node(load={"waiting": 1.0}, seen_ms=77), 0, WALL_MS)
    assert row == node()


def test_a_heartbeat_that_says_nothing_new_is_not_stored_but_seen() -> None:
    nodes = registry()
    nodes.beat(node(), 0, WALL_MS)
    assert nodes.beat(node(load={"waiting": 2.0}), 1_000, WALL_MS + 1_000) is None
    [shown] = nodes.nodes()
    assert (shown.load, shown.seen_ms) == ({"waiting": 2.0}, WALL_MS + 1_000)


@pytest.mark.parametrize(
    "changed", [{"ready": False}, {"draining": True}, {"instance": "i2", "started_ms": 9}]
)
def test_a_heartbeat_with_news_is_stored(changed: dict[str, object]) -> None:
    nodes = registry()
    nodes.beat(node(), 0, WALL_MS)
    row = nodes.beat(node(**changed), 1_000, WALL_MS)
    assert row == node(**changed)


def test_a_silent_node_is_lost_once_and_back_with_its_next_heartbeat() -> None:
    nodes = registry()
    nodes.beat(node(), 0, WALL_MS)
    assert nodes.sweep(NODE_LOST_MS).lost == ()
    assert nodes.sweep(NODE_LOST_MS + 1).lost == (node(lost=True, ready=False),)
    assert nodes.sweep(NODE_LOST_MS + 2).lost == ()
    assert nodes.beat(node(), NODE_LOST_MS + 3, WALL_MS) == node()


def test_a_stored_node_has_time_to_be_heard_of_after_a_restart_of_control() -> None:
    nodes = registry(node())
    assert nodes.sweep(NODE_LOST_MS).lost == ()
    assert nodes.beat(node(), NODE_LOST_MS, WALL_MS) is None


def test_a_node_that_was_lost_for_long_is_forgotten() -> None:
    nodes = registry(node())
    nodes.sweep(NODE_LOST_MS + 1)
    assert nodes.sweep(NODE_FORGOTTEN_MS + 1).forgotten == ("executor-0",)
    assert nodes.nodes() == ()


def test_of_two_nodes_with_one_name_the_one_that_started_last_has_it() -> None:
    nodes = registry()
    nodes.beat(node(instance="old", started_ms=5), 0, WALL_MS)
    nodes.beat(node(instance="new", started_ms=9), 1, WALL_MS)
    with pytest.raises(AlreadyExists, match="executor-0"):
        nodes.beat(node(instance="old", started_ms=5), 2, WALL_MS)
    assert nodes.nodes()[0].instance == "new"


def test_only_the_run_that_is_registered_can_say_goodbye() -> None:
    nodes = registry()
    nodes.beat(node(), 0, WALL_MS)
    assert not nodes.goodbye("executor-0", "another")
    assert not nodes.goodbye("nobody", "i1")
    assert nodes.goodbye("executor-0", "i1")
    assert nodes.nodes() == ()


def test_a_lost_node_is_shown_as_lost() -> None:
    nodes = registry()
    nodes.beat(node(load={"waiting": 1.0}), 0, WALL_MS)
    nodes.sweep(NODE_LOST_MS + 1)
    [shown] = nodes.nodes()
    assert shown == msgspec.structs.replace(
        node(load={"waiting": 1.0}), lost=True, ready=False, seen_ms=WALL_MS
    )
