"""A key that leaves the list is cut off within a second, and nobody else notices."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

import pytest
from protocol_kit import MakeWire, Serve, pong, until
from protocol_samples import sample

from jobico import limits
from jobico.errors import DeadlineExceeded, Forbidden, JobicoError, Unauthenticated
from jobico.settings import Settings
from protocol import codec
from protocol.client import Client
from protocol.key_files import KeyPair, generate_key_pair
from protocol.messages import (
    CreateTenant,
    Failure,
    Jobs,
    ListJobs,
    Message,
    Ping,
    Recorded,
    Settlements,
)
from protocol.publishing import Publisher
from protocol.security import Keyring
from protocol.server import Reactor
from protocol.sockets import Wire, advertised
from protocol.subscribing import Subscriber
from protocol.topics import feed_topic
from protocol.watching import PeerEvent

ROLES = {"good": "node", "bad": "node", "reader": "tenant:acme:read", "other": "tenant:other:admin"}


class Node:
    """A node with one socket of each kind."""

    def __init__(self, settings: Settings, make_wire: MakeWire, serve: Serve) -> None:
        self._settings, self._make_wire = settings, make_wire
        self._own = generate_key_pair(settings.keys_dir, "control", "node")
        self.keys: dict[str, KeyPair] = {
            name: generate_key_pair(settings.keys_dir, name, role) for name, role in ROLES.items()
        }
        self.peers = {self.keys[name].public: role for name, role in ROLES.items()}
        self.keyring = Keyring(self._own, peers=self.peers)
        self.wire: Wire = make_wire(settings, "control", self.keyring)
        self.took: list[Message] = []
        self.later: Future[Message] = Future()
        self.reactor = serve(self.wire, self._setup)

    def wire_of(self, name: str) -> Wire:
        return self._make_wire(self._settings, name, Keyring(self.keys[name], self._own.public))

    def set_role(self, name: str, role: str | None) -> None:
        """What a change of control's `peers` does."""
        key = self.keys[name].public
        self.peers.pop(key)
        if role is not None:
            self.peers[key] = role
        self.keyring.replace(self.peers)

    def _setup(self, reactor: Reactor) -> None:
        rep, pull = self.wire.rep("tcp://127.0.0.1:*"), self.wire.pull("tcp://127.0.0.1:*")
        publisher = Publisher(self.wire, "tcp://127.0.0.1:*")
        reactor.on_request(rep, {Ping: pong, ListJobs: lambda *_: self.later, CreateTenant: pong})
        reactor.on_message(pull, {Settlements: self.took.append})
        reactor.publish_with(publisher)
        reactor.every(10, lambda: publisher.send(feed_topic("acme"), Recorded(upto=1)))
        self.rep, self.pull, self.pub = (
            advertised(self._settings, socket) for socket in (rep, pull, publisher.socket)
        )


@pytest.fixture
def node(tcp_settings: Settings, make_wire: MakeWire, serve: Serve) -> Node:
    """The node, and keys for it."""
    return Node(tcp_settings, make_wire, serve)


REVOCATIONS: dict[str, Callable[[Node, str], None]] = {
    "removed": lambda node, name: node.set_role(name, None),
    "marked": lambda node, name: node.set_role(name, "revoked"),
}


@pytest.mark.parametrize("how", REVOCATIONS)
def test_requests_of_a_revoked_key_are_dropped_and_it_cannot_come_back(node: Node, how: str) -> None:
    bad, good = Client(node.wire_of("bad"), "bad"), Client(node.wire_of("good"), "good")
    bad.call(node.rep, Ping())
    good.call(node.rep, Ping())
    REVOCATIONS[how](node, "bad")
    with pytest.raises(DeadlineExceeded):
        bad.call(node.rep, Ping(), timeout_ms=150)
    with pytest.raises(Unauthenticated):
        bad.call(node.rep, Ping(), timeout_ms=300)
    assert good.call(node.rep, Ping()).ready
    bad.close()
    good.close()


def test_messages_of_a_revoked_key_are_dropped(node: Node) -> None:
    bad, good = node.wire_of("bad").push(node.pull), node.wire_of("good").push(node.pull)
    frames = codec.encode(sample(Settlements))
    bad.send_multipart(frames)
    good.send_multipart(frames)
    until(lambda: len(node.took) == 2)
    node.set_role("bad", "revoked")
    refused = node.reactor.refused
    bad.send_multipart(frames)
    until(lambda: node.reactor.refused == refused + 1)
    good.send_multipart(frames)
    until(lambda: len(node.took) == 3)
    bad.close(linger=0)
    good.close(linger=0)


def test_a_feed_to_a_revoked_key_ends_within_a_second_and_others_come_back(node: Node) -> None:
    bad = Subscriber(node.wire_of("reader"), node.pub, [feed_topic("acme")])
    good = Subscriber(node.wire_of("good"), node.pub, [feed_topic()])
    until(lambda: isinstance(bad.receive(1_000), Recorded))
    until(lambda: isinstance(good.receive(1_000), Recorded))
    node.set_role("reader", "revoked")
    revoked_s = time.monotonic()
    last_s = revoked_s
    told: list[PeerEvent] = []
    while time.monotonic() - revoked_s < 2:
        item = bad.receive(100)
        if isinstance(item, Recorded):
            last_s = time.monotonic()
        elif item is not None:
            told.append(item)
    assert last_s - revoked_s < 1
    assert told[0] == PeerEvent.DISCONNECTED
    assert PeerEvent.CONNECTED not in told
    heard: list[object] = []
    until(lambda: heard.append(good.receive(1_000)) or PeerEvent.CONNECTED in heard)
    until(lambda: isinstance(good.receive(1_000), Recorded))
    bad.close()
    good.close()


def test_a_role_that_changes_is_in_force_with_the_next_request(node: Node) -> None:
    client = Client(node.wire_of("bad"), "bad")
    assert client.call(node.rep, Ping()).node == "node:"
    node.set_role("bad", "tenant:acme:read")
    assert client.call(node.rep, Ping()).node == "read:acme"
    with pytest.raises(Forbidden):
        client.call(node.rep, CreateTenant(request_id="r", name="x"))
    client.close()


def test_a_key_that_is_let_in_later_connects_by_itself(node: Node) -> None:
    node.set_role("other", None)
    client = Client(node.wire_of("other"), "other")
    with pytest.raises(Unauthenticated):
        client.call(node.rep, Ping(), timeout_ms=200)
    node.peers[node.keys["other"].public] = ROLES["other"]
    node.keyring.replace(node.peers)
    assert client.call(node.rep, Ping()).node == "admin:other"
    client.close()


def test_what_was_under_way_for_a_key_when_it_was_revoked_is_not_answered(node: Node) -> None:
    client = Client(node.wire_of("bad"), "bad")
    client.call(node.rep, Ping())
    answers: list[object] = []

    def call() -> None:
        try:
            answers.append(client.call(node.rep, ListJobs(), timeout_ms=400))
        except JobicoError as error:
            answers.append(type(error))

    thread = threading.Thread(target=call)
    thread.start()
    until(lambda: node.reactor.under_way == 1)
    node.set_role("bad", "revoked")
    node.later.set_result(Jobs(items=()))
    thread.join(10)
    assert answers == [DeadlineExceeded]
    client.close()


def test_a_tenant_with_too_many_requests_under_way_is_told_so_and_others_are_served(node: Node) -> None:
    dealer = node.wire_of("other").dealer(node.rep)
    for number in range(limits.TENANT_REQUESTS_UNDER_WAY_MAX + 5):
        dealer.send_multipart([b"", *codec.encode(ListJobs(), correlation=str(number))])

    def answers(count: int) -> list[Message]:
        found = []
        for _ in range(count):
            assert dealer.poll(5_000)
            found.append(codec.decode(dealer.recv_multipart()[1:])[1])
        assert not dealer.poll(50)
        return found

    refused = answers(5)
    assert all(isinstance(one, Failure) and one.code == "node-unavailable" for one in refused)
    client = Client(node.wire_of("good"), "good")
    assert client.call(node.rep, Ping()).ready
    node.later.set_result(Jobs(items=()))
    assert (
        answers(limits.TENANT_REQUESTS_UNDER_WAY_MAX)
        == [Jobs(items=())] * limits.TENANT_REQUESTS_UNDER_WAY_MAX
    )
    dealer.close(linger=0)
    client.close()
