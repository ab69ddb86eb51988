"""Claims about nodes on several machines: tcp with CURVE, endpoints from control's registry."""

import random
import socket
from collections.abc import Iterator

import msgspec
import pytest
from node_kit import StartNode
from noop_guests import NOOP
from protocol_kit import MakeWire, until

from jobico.definition import Abi, RuntimeSpec
from jobico.errors import JobicoError
from jobico.event import Delivery, Outcome
from jobico.ids import digest_of, new_instance_id
from jobico.registry import NodeInfo
from jobico.settings import Settings, Transport
from nodes.beat import Beat
from nodes.control.service import serve as serve_control
from nodes.executor.service import serve as serve_executor
from nodes.recorder.service import serve as serve_recorder
from nodes.repository.service import serve as serve_repository
from protocol import codec
from protocol.client import Client
from protocol.key_files import make_missing_key_pairs
from protocol.messages import Deliveries, ListNodes, ListPeers, PutArtifact, RevokePeer, Settlements
from protocol.sockets import advertised, control_endpoint, endpoint, try_recv, try_send

ROLES = {
    "control": "node", "repository": "node", "recorder": "node", "listener": "node", "executor-0": "node",
    "operator": "operator", "stranger": "operator",
}  # fmt: skip


def free_ports() -> int:
    """The first of two free ports in a row, below those that the system gives to connections."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        try:
            for number in (port, port + 1):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", number))
        except OSError:
            continue
        return port


@pytest.fixture
def settings(tcp_settings: Settings) -> Settings:
    """In the place of the settings on ipc, for all fixtures of this file."""
    return msgspec.structs.replace(tcp_settings, control_port=free_ports())


@pytest.fixture
def operator(settings: Settings, make_wire: MakeWire) -> Iterator[Client]:
    caller = Client(make_wire(settings, "operator"), "operator")
    yield caller
    caller.close()


@pytest.fixture
def platform(settings: Settings, start_node: StartNode) -> None:
    assert settings.transport is Transport.TCP
    make_missing_key_pairs(settings.keys_dir, ROLES)
    start_node(serve_control, "control")
    start_node(serve_repository, "repository")
    start_node(serve_recorder, "recorder")
    start_node(serve_executor, "executor", "executor-0")


def registered(operator: Client, settings: Settings) -> dict[str, NodeInfo]:
    nodes = operator.call(control_endpoint(settings, "rep"), ListNodes()).items
    return {node.name: node for node in nodes if node.ready}


def test_an_event_is_run_and_settled_between_nodes_that_found_one_another_in_the_registry(
    platform: None, settings: Settings, operator: Client, make_wire: MakeWire
) -> None:
    until(lambda: registered(operator, settings).keys() >= {"repository", "recorder", "executor-0"}, 20)
    repository = registered(operator, settings)["repository"]
    put = PutArtifact(request_id="1", tenant="acme", kind="wasm", content=NOOP)
    operator.call(repository.endpoints["rep"], put, timeout_ms=60_000, server_key=repository.public_key)
    wire = make_wire(settings, "listener")
    pull = wire.pull(endpoint(settings, "listener", "settlements"))
    info = NodeInfo(
        name="listener", role="listener", instance=new_instance_id(), pid=1, host="h", version="1",
        endpoints={"settlements": advertised(settings, pull)}, public_key=wire.keyring.own.public, ready=True,
    )  # fmt: skip
    beat = Beat(settings, wire, lambda: info)
    beat.start()
    wire.keyring.replace({node.public_key: "node" for node in registered(operator, settings).values()})
    executor = registered(operator, settings)["executor-0"]
    push = wire.push(executor.endpoints["deliveries"], server_key=executor.public_key)
    spec = msgspec.msgpack.encode(RuntimeSpec(name="n", digest=digest_of(NOOP), abi=Abi.COMMAND))
    item = Delivery(
        token=1, id="0", tenant="acme", event="e", job="j", revision=1, attempt=1, runtime=spec, payload=b"{}"
    )
    frames = codec.encode(Deliveries(listener="listener", items=(item,)))
    until(lambda: try_send(push, frames), 10)
    heard: list[Settlements] = []

    def settled() -> bool:
        while (reply := try_recv(pull)) is not None:
            message = codec.decode(reply)[1]
            if isinstance(message, Settlements):
                heard.append(message)
        return bool(heard)

    until(settled, 20)
    assert heard[0].items[0].outcome is Outcome.OK
    beat.stop()
    for one in (push, pull):
        one.close(linger=0)


def test_a_revoked_key_is_cut_off_from_all_nodes(
    platform: None, settings: Settings, operator: Client, make_wire: MakeWire
) -> None:
    until(lambda: "repository" in registered(operator, settings), 20)
    wire = make_wire(settings, "stranger")
    stranger = Client(wire, "stranger")
    repository = registered(operator, settings)["repository"]
    control = control_endpoint(settings, "rep")
    put = PutArtifact(request_id="1", tenant="acme", kind="json", content=b"{}")

    def served() -> bool:
        try:
            stranger.call(
                repository.endpoints["rep"], put, timeout_ms=1_000, server_key=repository.public_key
            )
        except JobicoError:
            return False
        return True

    until(served, 20)
    key = wire.keyring.own.public
    operator.call(control, RevokePeer(request_id="1", key=key))
    assert operator.call(control, ListPeers()).items[key] == "revoked"
    until(lambda: not served(), 20)
    stranger.close()
