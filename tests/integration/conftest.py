"""Nodes on threads, with real sockets and stores, in a data directory of the test."""

import threading
from collections.abc import Callable, Iterator

import msgspec
import pytest
from node_kit import StartNode
from protocol_kit import MakeWire, until

from jobico.settings import Settings
from nodes.lifecycle import Node
from protocol.client import Client
from protocol.sockets import Wire


@pytest.fixture
def start_node(settings: Settings) -> Iterator[StartNode]:
    """Starts a node: `start_node(serve, role, name="", **settings)`; ready on return, drained at the end."""
    running: list[tuple[Node, threading.Thread, list[BaseException]]] = []

    def start(serve: Callable[[Node], None], role: str, name: str = "", **changed: object) -> Node:
        own = msgspec.structs.replace(settings, node_name=name, **changed)
        node = Node(own, role, Wire(own, name or role), name or role)
        failed: list[BaseException] = []

        def run() -> None:
            try:
                serve(node)
            except BaseException as error:
                failed.append(error)
            finally:
                node.wire.close()

        thread = threading.Thread(target=run, name=node.name)
        thread.start()
        running.append((node, thread, failed))
        until(lambda: node.ready or failed, 10)
        assert not failed, failed
        return node

    yield start
    for node, _, _ in running:
        node.drain()
    for node, thread, failed in running:
        thread.join(15)
        assert not thread.is_alive(), node.name
        assert not failed, failed
        assert not node.failed, node.name


@pytest.fixture
def client(settings: Settings, make_wire: MakeWire) -> Iterator[Client]:
    """Calls nodes as the command line does."""
    caller = Client(make_wire(settings, "test"), "test")
    yield caller
    caller.close()
