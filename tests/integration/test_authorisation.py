"""Who may ask for what, cell by cell over real CURVE sockets: a role comes from the key alone."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocol_kit import MakeWire, Serve, until
from protocol_samples import sample

from jobico.errors import Forbidden, NotFound, Unauthenticated
from jobico.settings import Settings
from protocol import codec
from protocol.authorisation import ALLOWED, LOCAL, Caller, Role, authorise, may_subscribe
from protocol.client import Client
from protocol.key_files import KeyPair, generate_key_pair
from protocol.messages import MESSAGES, Message, Recorded, Request
from protocol.publishing import Publisher
from protocol.security import Keyring
from protocol.server import Reactor
from protocol.sockets import Monitor, PeerEvent, advertised, try_send
from protocol.subscribing import Subscriber
from protocol.topics import CONTROL_TOPIC, feed_topic

# What each role gets: y is an answer, n is forbidden, o is an answer about its own tenant and "not found"
# about any other. Between nodes there are no answers: y is taken, n is dropped.
TABLE = """
                    node operator admin read
    ping              y     y       y     y
    control.snapshot  y     n       n     n
    node.heartbeat    y     n       n     n
    node.goodbye      y     n       n     n
    node.list         y     y       y     y
    peer.list         n     y       n     n
    peer.add          n     y       n     n
    peer.revoke       n     y       n     n
    audit.list        n     y       o     n
    tenant.create     n     y       n     n
    tenant.delete     n     y       n     n
    tenant.show       y     y       o     o
    tenant.list       y     y       y     y
    key.create        n     y       o     n
    key.list          n     y       o     n
    key.revoke        n     y       o     n
    secret.list       n     y       o     n
    secret.set        n     y       o     n
    secret.delete     n     y       o     n
    job.deploy        n     y       y     n
    job.rollback      n     y       o     n
    job.undeploy      n     y       o     n
    job.show          y     y       o     o
    job.list          y     y       o     o
    artifact.check    y     y       y     n
    artifact.put      y     y       o     n
    artifact.bind     y     y       o     n
    artifact.resolve  y     y       o     o
    artifact.get      y     y       o     o
    artifact.list     y     y       o     o
    execution.list    y     y       o     o
    execution.show    y     y       o     o
    execution.totals  y     y       o     o
    event.show        y     y       o     o
    event.list        y     y       o     o
    event.cancel      n     y       o     n
    event.emit        y     n       n     n
    event.post        n     y       o     n
    dead.list         y     y       o     o
    dead.replay       n     y       o     n
    dead.purge        n     y       o     n
    queue.list        y     y       o     o
    deliveries        y     n       n     n
    hello             y     n       n     n
    welcome           y     n       n     n
    settlements       y     n       n     n
    renewal           y     n       n     n
    returned          y     n       n     n
    abort             y     n       n     n
    records           y     n       n     n
    recorded          y     n       n     n
"""
ROLES = {"node": "node", "operator": "operator", "admin": "tenant:acme:admin", "read": "tenant:acme:read"}
CELLS = {
    (line.split()[0], role): cell
    for line in TABLE.strip().splitlines()[1:]
    for role, cell in zip(ROLES, line.split()[1:], strict=True)
}
REQUESTS = sorted({name for name, _ in CELLS if issubclass(MESSAGES[name], Request)})
POSTED = sorted({name for name, _ in CELLS} - set(REQUESTS))


def _about(kind: type[Message], tenant: str) -> Message:
    message = sample(kind)
    for field in ("tenant", "name" if kind.TYPE == "tenant.show" else "tenant"):
        if field in kind.__struct_fields__:
            message = msgspec.structs.replace(message, **{field: tenant})
    return message


class Platform:
    """A node with a `rep` and a `pull` that take everything, and a key for each role."""

    def __init__(self, settings: Settings, make_wire: MakeWire, serve: Serve) -> None:
        self.settings, self.make_wire = settings, make_wire
        self.server = generate_key_pair(settings.keys_dir, "control", "node")
        self.keys: dict[str, KeyPair] = {
            name: generate_key_pair(settings.keys_dir, f"key-{name}", role)
            for name, role in {**ROLES, "stranger": "operator"}.items()
        }
        self.peers = {self.keys[name].public: role for name, role in ROLES.items()}
        self.wire = make_wire(settings, "control", Keyring(self.server, peers=self.peers))
        self.took: list[Message] = []
        self.callers: list[Caller] = []
        self.reactor = serve(self.wire, self._setup)

    def wire_of(self, name: str) -> Any:
        return self.make_wire(self.settings, name, Keyring(self.keys[name], self.server.public))

    def _answer(self, message: Any, caller: Caller) -> Message:
        self.took.append(message)
        self.callers.append(caller)
        return sample(message.REPLY)

    def _publish(self) -> None:
        for number, topic in enumerate(TOPICS):
            self.publisher.send(topic, Recorded(upto=number))

    def _setup(self, reactor: Reactor) -> None:
        rep = self.wire.rep("tcp://127.0.0.1:*")
        pull = self.wire.pull("tcp://127.0.0.1:*")
        self.publisher = Publisher(self.wire, "tcp://127.0.0.1:*")
        reactor.on_request(rep, {MESSAGES[name]: self._answer for name in REQUESTS})
        reactor.on_message(pull, {MESSAGES[name]: self.took.append for name in POSTED})
        reactor.publish_with(self.publisher)
        reactor.every(10, self._publish)
        self.rep, self.pull = advertised(self.settings, rep), advertised(self.settings, pull)
        self.pub = advertised(self.settings, self.publisher.socket)


@pytest.fixture
def platform(tcp_settings: Settings, make_wire: MakeWire, serve: Serve) -> Platform:
    """A node, and keys for it."""
    return Platform(tcp_settings, make_wire, serve)


def test_the_table_has_every_message_that_a_bound_socket_takes_and_no_other() -> None:
    assert {name for name, _ in CELLS} == {kind.TYPE for kind in ALLOWED}
    replies = {kind.REPLY for kind in MESSAGES.values() if issubclass(kind, Request)}
    on_feeds = {"control.change", "feed"}
    answers_only = {kind.TYPE for kind in replies} | {"error"} | on_feeds
    assert answers_only | {kind.TYPE for kind in ALLOWED} == MESSAGES.keys()


@pytest.mark.parametrize("role", ROLES)
def test_every_request_is_answered_or_refused_as_the_table_says(platform: Platform, role: str) -> None:
    client = Client(platform.wire_of(role), "test")
    for name in REQUESTS:
        kind = MESSAGES[name]
        assert issubclass(kind, Request)
        cell = CELLS[name, role]
        platform.took.clear()
        if cell == "n":
            for tenant in ("acme", "other", ""):
                with pytest.raises(Forbidden, match="may not ask"):
                    client.call(platform.rep, _about(kind, tenant))  # type: ignore[arg-type]
            assert not platform.took, name
            continue
        own = _about(kind, "acme")
        client.call(platform.rep, own)  # type: ignore[arg-type]
        assert platform.took == [own], name
        if cell == "o":
            with pytest.raises(NotFound, match="no tenant 'other'"):
                client.call(platform.rep, _about(kind, "other"))  # type: ignore[arg-type]
            assert platform.took == [own], name
            client.call(platform.rep, _about(kind, ""))  # type: ignore[arg-type]
            assert platform.took[1:] == [own], f"{name}: an empty tenant is the caller's own"
    client.close()


def test_every_message_between_nodes_is_taken_from_nodes(platform: Platform) -> None:
    push = platform.wire_of("node").push(platform.pull)
    for name in POSTED:
        push.send_multipart(codec.encode(sample(MESSAGES[name])))
    until(lambda: len(platform.took) == len(POSTED))
    assert platform.took == [sample(MESSAGES[name]) for name in POSTED if CELLS[name, "node"] == "y"]
    push.close(linger=0)


@pytest.mark.parametrize("role", ["operator", "admin", "read", "stranger"])
def test_who_is_no_node_does_not_get_to_connect_where_nodes_post(platform: Platform, role: str) -> None:
    assert not any(CELLS[name, role] != "n" for name in POSTED if role in ROLES)
    push = platform.wire_of(role).push(platform.pull)
    monitor = Monitor(push)
    told: list[PeerEvent] = []
    until(lambda: told.extend(monitor.read()) or told)
    assert told[0] == PeerEvent.REFUSED
    assert not try_send(push, codec.encode(sample(MESSAGES["settlements"])))
    monitor.close()
    push.close(linger=0)


@pytest.mark.parametrize(
    ("role", "tenant"), [("node", ""), ("operator", ""), ("admin", "acme"), ("read", "acme")]
)
def test_the_caller_is_who_holds_the_key_whatever_the_message_says(
    platform: Platform, role: str, tenant: str
) -> None:
    client = Client(platform.wire_of(role), "operator")
    client.call(platform.rep, sample(MESSAGES["ping"]))  # type: ignore[arg-type]
    assert platform.callers == [Caller(Role(role), tenant, platform.keys[role].public)]
    client.close()


def test_a_key_that_is_not_on_the_list_is_refused_at_the_handshake(platform: Platform) -> None:
    client = Client(platform.wire_of("stranger"), "test")
    with pytest.raises(Unauthenticated, match="does not let this key in"):
        client.call(platform.rep, sample(MESSAGES["ping"]), timeout_ms=300)  # type: ignore[arg-type]
    assert not platform.took
    client.close()


def test_a_server_with_another_key_than_the_expected_one_is_not_spoken_to(platform: Platform) -> None:
    client = Client(platform.wire_of("operator"), "test")
    with pytest.raises(Exception, match=r"does not let this key in|Nobody answers"):
        client.call(
            platform.rep,
            sample(MESSAGES["ping"]),  # type: ignore[arg-type]
            timeout_ms=300,
            server_key=platform.keys["stranger"].public,
        )
    assert not platform.took
    client.close()


TENANTS = ("acme", "acme2", "acme.eu", "other")
TOPICS = [CONTROL_TOPIC, *map(feed_topic, TENANTS)]
WISHES = [[CONTROL_TOPIC, feed_topic()], [""], ["c", "x"], TOPICS, [feed_topic("acme"), "x/acme"]]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("wish", WISHES)
def test_a_feed_gives_a_tenant_its_own_topic_whatever_it_subscribes_to(
    platform: Platform, role: str, wish: list[str]
) -> None:
    subscriber = Subscriber(platform.wire_of(role), platform.pub, wish)
    heard: set[int] = set()
    for _ in range(60):
        item = subscriber.receive(10)
        if isinstance(item, Recorded):
            heard.add(item.upto)
    own = feed_topic("acme")
    granted = [topic for topic in wish if role in ("node", "operator") or topic.startswith(own)]
    assert heard == {number for number, topic in enumerate(TOPICS) if topic.startswith(tuple(granted))}
    assert platform.publisher.refused == len(wish) - len(granted)
    subscriber.close()


# --- The decision by itself ---


def test_on_ipc_everything_is_allowed_to_the_owner_of_the_directory() -> None:
    for kind in ALLOWED:
        assert authorise(LOCAL, sample(kind)) == sample(kind)


def test_what_is_in_no_row_is_allowed_to_nobody() -> None:
    for kind in MESSAGES.values():
        if kind not in ALLOWED:
            for caller in (LOCAL, Caller(Role.NODE), Caller(Role.ADMIN, "acme")):
                with pytest.raises(Forbidden):
                    authorise(caller, sample(kind))


@pytest.mark.parametrize(
    ("topic", "allowed"),
    [
        ("x/acme/", True),
        ("x/acme/more", True),
        ("x/acme", False),
        ("x/acme2/", False),
        ("x/acme.eu/", False),
        ("x/", False),
        ("", False),
        ("c/", False),
        ("x/acme\0/", False),
        ("X/acme/", False),
    ],
)
def test_a_tenant_may_subscribe_to_what_begins_with_its_own_topic_alone(topic: str, allowed: bool) -> None:
    assert may_subscribe(Caller(Role.READ, "acme"), topic.encode()) is allowed
    assert may_subscribe(Caller(Role.OPERATOR), topic.encode())


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True), st.text("a./", max_size=6))
def test_no_name_that_a_tenant_can_have_gives_it_the_topic_of_another(name: str, other: str) -> None:
    for tenant in (name[:-1] + "." + other, name + "." + other, name + other):
        if tenant != name and "/" not in tenant:
            assert not may_subscribe(Caller(Role.READ, name), feed_topic(tenant).encode())
            assert not may_subscribe(Caller(Role.READ, tenant), feed_topic(name).encode())
