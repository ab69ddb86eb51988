"""Claims about `nodes.snapshot.Follower`: what a node knows of control, with control there, away and back."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from node_kit import StartNode
from protocol_kit import MakeWire, until

from jobico.settings import Settings
from jobico.tenancy import TenantInfo
from nodes.beat import Beat
from nodes.control.service import serve as serve_control
from nodes.lifecycle import Node
from nodes.snapshot import Follower, Tables, read_snapshot, write_snapshot
from protocol.client import Client
from protocol.messages import ControlSnapshot, CreateTenant, ListNodes, Ping
from protocol.sockets import control_endpoint


class Follows:
    """Keeps the tenants that a follower tells of."""

    def __init__(self, settings: Settings, wire: Any, cache_path: Path) -> None:
        self.tenants: dict[str, TenantInfo] = {}
        self.snapshots = 0
        self.lock = threading.Lock()
        self.follower = Follower(settings, wire, cache_path, self.change, self.take)

    def change(self, table: str, key: str, value: Any) -> None:
        if table == "tenants":
            self.tenants[key] = value

    def take(self, tables: Tables) -> None:
        self.snapshots += 1
        self.tenants = dict(tables["tenants"])


Follow = Callable[[], Follows]


@pytest.fixture
def follow(settings: Settings, make_wire: MakeWire, home: Path) -> Iterator[Follow]:
    """Starts a follower; stopped at the end."""
    made: list[Follows] = []

    def start() -> Follows:
        follows = Follows(settings, make_wire(settings, "follower"), home / "kept" / "control.snapshot")
        follows.follower.start()
        made.append(follows)
        return follows

    yield start
    for follows in made:
        follows.follower.stop()


def make_tenant(settings: Settings, client: Client, name: str) -> None:
    client.call(control_endpoint(settings, "rep"), CreateTenant(request_id="", name=name))


def stop(node: Node) -> None:
    node.drain()
    until(lambda: node.wire._context.closed, 10)


def test_it_takes_a_snapshot_and_then_each_change(
    settings: Settings, client: Client, start_node: StartNode, follow: Follow
) -> None:
    start_node(serve_control, "control")
    make_tenant(settings, client, "before")
    follows = follow()
    until(lambda: "before" in follows.tenants)
    make_tenant(settings, client, "after")
    until(lambda: "after" in follows.tenants)
    seq = client.call(control_endpoint(settings, "rep"), Ping()).seq
    until(lambda: follows.follower.seq == seq)


def test_it_waits_for_a_control_that_comes_later(
    settings: Settings, client: Client, start_node: StartNode, follow: Follow
) -> None:
    follows = follow()
    assert not follows.follower.known
    start_node(serve_control, "control")
    make_tenant(settings, client, "acme")
    assert follows.follower.wait_known(10)
    until(lambda: "acme" in follows.tenants)


def test_without_control_it_works_from_the_snapshot_on_disk(
    settings: Settings, client: Client, start_node: StartNode, follow: Follow
) -> None:
    node = start_node(serve_control, "control")
    make_tenant(settings, client, "acme")
    first = follow()
    until(lambda: "acme" in first.tenants)
    first.follower.stop()
    stop(node)
    second = follow()
    assert second.follower.known, "before anybody has answered"
    assert "acme" in second.tenants


def test_a_control_that_restarts_is_followed_on(
    settings: Settings, client: Client, start_node: StartNode, follow: Follow, make_wire: MakeWire
) -> None:
    """What a restart loses of the feed is found by the heartbeat, whose answer has another epoch."""
    node = start_node(serve_control, "control")
    follows = follow()
    until(lambda: follows.snapshots == 1)
    wire = make_wire(settings, "worker")
    beat = Beat(settings, wire, Node(settings, "recorder", wire, "worker").info, follows.follower.seen)
    beat.start()
    stop(node)
    start_node(serve_control, "control")
    make_tenant(settings, client, "acme")
    until(lambda: "acme" in follows.tenants, 10)
    until(lambda: follows.snapshots == 2, 10)
    beat.stop()
    names = [known.name for known in client.call(control_endpoint(settings, "rep"), ListNodes()).items]
    assert "worker" not in names


def test_a_snapshot_file_that_is_damaged_or_missing_is_as_good_as_none(tmp_path: Path) -> None:
    path = tmp_path / "control.snapshot"
    assert read_snapshot(path) is None
    snapshot = ControlSnapshot(
        seq=7, epoch="e", tables={"tenants": {"acme": {"name": "acme", "created_ms": 1}}}
    )
    write_snapshot(path, snapshot)
    assert read_snapshot(path) == snapshot
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert read_snapshot(path) is None
    path.write_bytes(b"")
    assert read_snapshot(path) is None


def test_a_snapshot_that_cannot_be_kept_does_not_stop_the_follower(
    settings: Settings, client: Client, start_node: StartNode, follow: Follow, home: Path
) -> None:
    (home / "kept").write_text("a file in the place of the directory")
    start_node(serve_control, "control")
    follows = follow()
    make_tenant(settings, client, "acme")
    until(lambda: "acme" in follows.tenants)
