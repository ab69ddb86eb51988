"""Two tenants on one platform over tcp: the one is answered as if what is the other's were not there.

Every node answers here with its real handlers and stores, through sockets with CURVE; the asking tenant has
an `admin` key, the strongest that a tenant can have, over tcp and over HTTP.
"""

import asyncio
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import zmq
from acceptance_kit import ECHO, Answer, Platform, job, run_cli, until, wasm

from cli.ports import free_port
from dashboard.feed import LiveFeed
from jobico.errors import DeadlineExceeded, JobicoError, NotFound, Unauthenticated
from jobico.event import Record
from jobico.ids import new_event_id
from jobico.settings import Settings, Transport
from protocol import codec
from protocol import messages as m
from protocol.authorisation import ALLOWED, Role
from protocol.client import Client
from protocol.key_files import load_public_key
from protocol.messages import Feed, Ping
from protocol.sockets import Wire, control_endpoint
from protocol.subscribing import Subscriber

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
]  # a platform is started and driven command by command
OWNER, RIVAL, NOBODY = "sesame", "rival", "nobody"
SECRET = "open-says-me-0123456789"
NO_DIGEST = "sha256:" + "ab" * 32


class Known(NamedTuple):
    """What the rival has found out of the owner, and would like to use."""

    done: str  # ids of events
    dead: str
    digest: str
    key_id: str


class World:
    """The platform, and the rival's connections to it."""

    def __init__(self, home: Path) -> None:
        port = free_port("127.0.0.1")
        self.platform = Platform(home, JOBICO_TRANSPORT="tcp", JOBICO_CONTROL_PORT=str(port))
        self.bearer = {OWNER: "", RIVAL: ""}
        for tenant in self.bearer:
            self._furnish(tenant)
        self.known = self._owners_things()
        out = home / "elsewhere" / "keys"
        self.rival_key = self.platform.cli(
            "peers", "make", "rival", "--role", f"tenant:{RIVAL}:admin", "--out", str(out), "--json"
        ).json["key"]
        self.settings = Settings(home=str(out.parent), transport=Transport.TCP, control_port=port)
        self.wire = Wire(self.settings, "rival")
        self.client = Client(self.wire, "rival")
        operator = Settings(home=str(home), transport=Transport.TCP, control_port=port)
        with Wire(operator, "operator") as wire:
            client = Client(wire, "test")
            nodes = client.call(control_endpoint(operator, "rep"), m.ListNodes()).items
            client.close()
        self.nodes = {node.role: node for node in nodes}

    def _furnish(self, tenant: str) -> None:
        """A tenant with a job, a program, a schema, a secret, an event that is done and one that is dead."""
        cli = self.platform.cli
        folder = self.platform.home / tenant
        folder.mkdir()
        program = wasm(ECHO) + b"\x00" + bytes([len(tenant) + 1, len(tenant)]) + tenant.encode()
        definition = job(folder, program, {"type": ["object", "string"], "title": tenant})
        trap = {"id": "fails", "supplierqueue": "orders", "runtime": "trap", "retry": {"attempts": 1}}
        (folder / "trap.wasm").write_bytes(
            wasm('(module (memory (export "memory") 1) (func (export "_start") unreachable))')
        )
        definition["runtimes"].append({"id": "trap", "name": "Trap", "moduleref": "trap.wasm"})
        definition["jobs"].append({"event": trap})
        cli("tenants", "create", tenant)
        cli("secrets", "set", tenant, "WORD", stdin=f"{SECRET}-{tenant}")
        self.platform.deploy(folder, **{**definition, "tenant": tenant})
        self.bearer[tenant] = cli("keys", "create", tenant, "--json").json["key"]
        cli("send", tenant, "order", "--wait", stdin=json.dumps({"of": tenant}))
        cli("send", tenant, "fails", "--wait", stdin=json.dumps({"of": tenant}), code=1)

    def _owners_things(self) -> Known:
        cli = self.platform.cli
        done, dead = (
            json.loads(cli("logs", OWNER, "--event", event, "--json").out.splitlines()[0])["id"]
            for event in ("order", "fails")
        )
        digest = (
            "sha256:" + hashlib.sha256((self.platform.home / OWNER / "program.wasm").read_bytes()).hexdigest()
        )
        return Known(done, dead, digest, cli("keys", "list", OWNER, "--json").json[0]["id"])

    def ask(self, role: str, message: Any) -> Any:
        """The rival's question to the node of that role."""
        node = self.nodes[role]
        return self.client.call(node.endpoints["rep"], message, timeout_ms=20_000, server_key=node.public_key)

    def outcome(self, role: str, message: Any) -> tuple[str, str, Any]:
        """How a question ends: an error's code, text and detail, or the answer."""
        try:
            return "", "", self.ask(role, message)
        except JobicoError as error:
            return error.code, error.message, dict(error.detail)

    def http(self, method: str, path: str, body: bytes | None = None) -> Answer:
        """The rival's request over HTTP."""
        return self.platform.http(method, path, body, Authorization=f"Bearer {self.bearer[RIVAL]}")

    def close(self) -> None:
        self.client.close()
        self.wire.close()


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    home = Path(tempfile.mkdtemp(prefix="jb"))
    made: list[World] = []
    try:
        made.append(World(home))
        yield made[0]
        _check_that_the_owner_has_what_it_had(made[0])
    finally:
        for one in made:
            one.close()
        run_cli("down", home=home)
        shutil.rmtree(home, ignore_errors=True)


def _check_that_the_owner_has_what_it_had(world: World) -> None:
    """After all that the rival has tried."""
    cli = world.platform.cli
    assert [one["name"] for one in cli("secrets", "list", OWNER, "--json").json] == ["WORD"]
    assert cli("show", "job", OWNER, "orders", "--json").json["current"] == 1
    assert [one["revoked_ms"] for one in cli("keys", "list", OWNER, "--json").json] == [0]
    assert [one["id"] for one in cli("dead-letters", "list", OWNER, "--json").json["items"]] == [
        world.known.dead
    ]


# Which node answers what a tenant may ask, and how each is asked about a tenant and its things.
Ask = Callable[[str, Known], Any]
ABOUT_A_TENANT: dict[str, tuple[str, Ask]] = {
    "tenant.show": ("control", lambda t, _: m.ShowTenant(name=t)),
    "key.create": ("control", lambda t, _: m.CreateKey(request_id=new_event_id(), tenant=t)),
    "key.list": ("control", lambda t, _: m.ListKeys(tenant=t)),
    "key.revoke": ("control", lambda t, k: m.RevokeKey(request_id=new_event_id(), tenant=t, id=k.key_id)),
    "secret.list": ("control", lambda t, _: m.ListSecrets(tenant=t)),
    "secret.set": (
        "control",
        lambda t, _: m.SetSecret(request_id=new_event_id(), tenant=t, name="WORD", value=b"x"),
    ),
    "secret.delete": (
        "control",
        lambda t, _: m.DeleteSecret(request_id=new_event_id(), tenant=t, name="WORD"),
    ),
    "job.deploy": (
        "control",
        lambda t, _: m.DeployJob(request_id=new_event_id(), source=_definition(t), update=True),
    ),
    "job.rollback": (
        "control",
        lambda t, _: m.RollbackJob(request_id=new_event_id(), tenant=t, job="orders"),
    ),
    "job.undeploy": (
        "control",
        lambda t, _: m.UndeployJob(request_id=new_event_id(), tenant=t, job="orders"),
    ),
    "job.show": ("control", lambda t, _: m.ShowJob(tenant=t, job="orders")),
    "job.list": ("control", lambda t, _: m.ListJobs(tenant=t)),
    "audit.list": ("control", lambda t, _: m.ListAudit(tenant=t)),
    "artifact.put": (
        "repository",
        lambda t, _: m.PutArtifact(
            request_id=new_event_id(), tenant=t, kind="json", content=b"{}", name="order.json"
        ),
    ),
    "artifact.bind": (
        "repository",
        lambda t, k: m.BindArtifacts(request_id=new_event_id(), tenant=t, names={"wasm/x": k.digest}),
    ),
    "artifact.resolve": ("repository", lambda t, k: m.ResolveArtifact(tenant=t, kind="wasm", ref=k.digest)),
    "artifact.get": ("repository", lambda t, k: m.GetArtifact(tenant=t, digest=k.digest)),
    "artifact.list": ("repository", lambda t, _: m.ListArtifacts(tenant=t)),
    "execution.list": ("recorder", lambda t, _: m.ListExecutions(tenant=t)),
    "execution.show": ("recorder", lambda t, k: m.ShowExecution(tenant=t, id=k.done)),
    "execution.totals": ("recorder", lambda t, _: m.GetTotals(tenant=t)),
    "event.show": ("listener", lambda t, k: m.ShowEvent(tenant=t, id=k.done)),
    "event.list": ("listener", lambda t, _: m.ListEvents(tenant=t)),
    "event.post": (
        "listener",
        lambda t, _: m.PostEvents(request_id=new_event_id(), tenant=t, event="order", body=b"{}"),
    ),
    "event.cancel": ("listener", lambda t, k: m.CancelEvent(request_id=new_event_id(), tenant=t, id=k.done)),
    "dead.list": ("listener", lambda t, _: m.ListDeadLetters(tenant=t)),
    "dead.replay": (
        "listener",
        lambda t, k: m.ReplayDeadLetters(request_id=new_event_id(), tenant=t, ids=(k.dead,)),
    ),
    "dead.purge": (
        "listener",
        lambda t, k: m.PurgeDeadLetters(request_id=new_event_id(), tenant=t, ids=(k.dead,)),
    ),
    "queue.list": ("listener", lambda t, _: m.ListQueues(tenant=t)),
}
ABOUT_NO_TENANT = {"ping", "node.list", "tenant.list", "artifact.check"}
LISTS = [name for name in ABOUT_A_TENANT if name.endswith((".list", ".totals"))]
BY_ID = [
    "key.revoke", "artifact.bind", "artifact.resolve", "artifact.get", "execution.show", "event.show",
    "event.cancel", "dead.replay", "dead.purge",
]  # fmt: skip


def _definition(tenant: str) -> bytes:
    return (
        f"tenant: {tenant}\nid: orders\nqueues: [{{id: orders}}]\n"
        "runtimes: [{id: program, moduleref: program.wasm}]\n"
        "jobs: [{event: {id: order, supplierqueue: orders, runtime: program}}]\n"
    ).encode()


def test_every_request_that_a_tenant_may_make_is_tried_here() -> None:
    may = {kind.TYPE for kind, roles in ALLOWED.items() if Role.ADMIN in roles}
    assert may == ABOUT_A_TENANT.keys() | ABOUT_NO_TENANT


@pytest.mark.parametrize("name", ABOUT_A_TENANT)
def test_asking_about_another_tenant_is_answered_as_about_one_that_does_not_exist(
    world: World, name: str
) -> None:
    role, ask = ABOUT_A_TENANT[name]
    code, text, detail = world.outcome(role, ask(OWNER, world.known))
    none_code, none_text, none_detail = world.outcome(role, ask(NOBODY, world.known))
    assert code == none_code == "not-found"
    assert text.replace(OWNER, NOBODY) == none_text
    assert detail == none_detail == {}


@pytest.mark.parametrize("name", BY_ID)
def test_naming_anothers_thing_as_ones_own_is_answered_as_naming_nothing(world: World, name: str) -> None:
    role, ask = ABOUT_A_TENANT[name]
    nothing = Known(new_event_id(), new_event_id(), NO_DIGEST, "k000000000000")
    told = world.outcome(role, ask(RIVAL, world.known))
    none = world.outcome(role, ask(RIVAL, nothing))
    assert told[0] == none[0]
    text = told[1]
    for theirs, made_up in zip(world.known, nothing, strict=True):
        text = text.replace(theirs, made_up)
    assert text == none[1]
    assert told[2] == none[2]
    assert told[0] == "not-found" or told[2] in (m.Counted(count=0), m.Execution(items=()))


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("tenant", [RIVAL, ""])
def test_a_list_has_ones_own_things_and_nothing_of_others(world: World, name: str, tenant: str) -> None:
    role, ask = ABOUT_A_TENANT[name]
    told = b"".join(codec.encode(world.ask(role, ask(tenant, world.known))))
    for theirs in (OWNER, *world.known):
        assert theirs.encode() not in told


def test_a_tenant_is_told_where_nodes_are_and_nothing_else_of_them(world: World) -> None:
    nodes = world.ask("control", m.ListNodes()).items
    assert {node.role for node in nodes} == {"listener", "recorder", "repository"}
    assert not [node for node in nodes if node.pid or node.host or node.load]


def test_a_dashboard_with_a_tenants_key_shows_its_own_things_alone(world: World) -> None:
    seen: list[Record] = []

    async def watch() -> None:
        feed = LiveFeed(world.settings, RIVAL, "rival")
        feed.start(lambda rows: seen.extend(record for _, record in rows))
        try:
            async with asyncio.timeout(20):
                while not (feed.nodes and feed.queues.items and not feed.notices):
                    await asyncio.sleep(0.02)
                loop = asyncio.get_running_loop()
                for tenant in (OWNER, RIVAL):
                    send = partial(world.platform.cli, "send", tenant, "order", "--wait", stdin="{}")
                    await loop.run_in_executor(None, send)
                while not seen:
                    await asyncio.sleep(0.02)
            assert {one.definition.tenant for one in await feed.jobs()} == {RIVAL}
            assert {info.tenant for info in await feed.artifacts()} == {RIVAL}
            assert {letter.event.tenant for letter in (await feed.dead_letters())[0]} == {RIVAL}
        finally:
            await feed.close()

    asyncio.run(watch())
    assert {record.tenant for record in seen} == {RIVAL}


def test_the_list_of_tenants_has_the_own_one(world: World) -> None:
    assert [tenant.name for tenant in world.ask("control", m.ListTenants()).items] == [RIVAL]


def test_anothers_program_cannot_be_deployed_by_its_digest(world: World) -> None:
    """Whether the platform has such a program is not told either."""

    def deploy(digest: str) -> tuple[str, str, Any]:
        files = {"program.wasm": digest}
        request = m.DeployJob(
            request_id=new_event_id(), source=_definition(RIVAL), files=files, update=True, dry_run=True
        )
        return world.outcome("control", request)

    told, none = deploy(world.known.digest), deploy(NO_DIGEST)
    assert told[0] == none[0] == "invalid-definition"
    assert str(told).replace(world.known.digest, NO_DIGEST) == str(none)


def test_over_http_anothers_events_are_answered_byte_for_byte_as_none(world: World) -> None:
    made_up = new_event_id()
    for method, body in (("GET", None), ("DELETE", None), ("POST", b"{}")):
        none = world.http(method, f"/events/{NOBODY}/{made_up}", body)
        assert none.status == 404
        for name in (world.known.done, world.known.dead, made_up, "order", "fails", "nothing"):
            told = world.http(method, f"/events/{OWNER}/{name}", body)
            assert (told.status, told.body) == (404, none.body), (method, name)
        theirs = world.http(method, f"/events/{RIVAL}/{world.known.done}", body)
        nothing = world.http(method, f"/events/{RIVAL}/{made_up}", body)
        assert theirs.status == nothing.status == 404
        assert theirs.body.replace(world.known.done.encode(), made_up.encode()) == nothing.body
    assert OWNER.encode() not in world.http("GET", "/openapi.json").body


def test_the_feeds_give_a_tenant_its_own_records_and_nothing_else(world: World) -> None:
    def feed(role: str, topics: list[str]) -> Subscriber:
        node = world.nodes[role]
        return Subscriber(world.wire, node.endpoints["pub"], topics, server_key=node.public_key)

    wishes = ["", "x", "x/", f"x/{OWNER}/", f"x/{OWNER}", "c/"]
    nosy = [feed("recorder", wishes), feed("control", wishes)]
    own = feed("recorder", [f"x/{RIVAL}/"])
    heard: list[Any] = []

    def heard_own() -> bool:
        world.platform.cli("send", OWNER, "order", "--wait", stdin='{"of": "sesame"}')
        world.platform.cli("send", RIVAL, "order", "--wait", stdin='{"of": "rival"}')
        while (item := own.receive(200)) is not None:
            heard.append(item)
        return any(isinstance(item, Feed) for item in heard)

    until(heard_own, 20, "the rival hears of its own")
    world.platform.cli("secrets", "set", OWNER, "WORD", f"{SECRET}-{OWNER}")  # a change that control tells of
    feeds = [item for item in heard if isinstance(item, Feed)]
    assert {item.tenant for item in feeds} == {RIVAL}
    assert OWNER.encode() not in b"".join(codec.encode(feeds[0]))
    for subscriber in nosy:
        while (item := subscriber.receive(200)) is not None:
            assert not isinstance(item, m.Message), item
        subscriber.close()
    own.close()


def test_who_has_no_key_gets_nothing_out_of_any_socket_of_the_platform(world: World) -> None:
    request = [b"", *codec.encode(Ping())]
    with zmq.Context() as context:
        sockets = []
        for node in world.nodes.values():
            for name, endpoint in node.endpoints.items():
                if not endpoint.startswith("tcp://"):
                    continue
                plain = context.socket(zmq.SUB if name == "pub" else zmq.DEALER)
                plain.setsockopt(zmq.LINGER, 0)
                if name == "pub":
                    plain.subscribe(b"")
                plain.connect(endpoint)
                if name != "pub":
                    plain.send_multipart(request)
                sockets.append(plain)
        assert len(sockets) >= len(world.nodes)
        world.platform.cli("send", OWNER, "order", "--wait", stdin='{"of": "sesame"}')
        poller = zmq.Poller()
        for plain in sockets:
            poller.register(plain, zmq.POLLIN)
        assert poller.poll(1_000) == []
        for plain in sockets:
            plain.close()


@pytest.mark.parametrize("role", ["control", "repository", "recorder", "listener"])
def test_a_revoked_key_is_cut_off_from_every_node_within_a_second(world: World, role: str) -> None:
    """Each time a key of its own, of the rival too."""
    name = f"short-{role}"
    out = Path(world.settings.home) / "keys"
    made = world.platform.cli(
        "peers", "make", name, "--role", f"tenant:{RIVAL}:read", "--out", str(out), "--json"
    )
    node = world.nodes[role]
    with Wire(world.settings, name) as wire:
        client = Client(wire, name)

        def served() -> bool:
            try:
                client.call(node.endpoints["rep"], Ping(), timeout_ms=500, server_key=node.public_key)
            except JobicoError:
                return False
            return True

        until(served, 10, "it is let in")
        world.platform.cli("peers", "revoke", made.json["key"], "--yes")
        revoked_s = last_s = time.monotonic()
        while time.monotonic() - revoked_s < 1.5:
            if served():
                last_s = time.monotonic()
        assert last_s - revoked_s < 1
        assert not served()
        client.close()


def test_the_audit_log_names_the_key_of_who_made_a_change(world: World) -> None:
    world.ask("control", m.CreateKey(request_id=new_event_id(), tenant=RIVAL, role="read"))
    world.platform.cli("keys", "create", RIVAL, "--role", "send")
    by_operator, by_rival = world.platform.cli("audit", RIVAL, "-n", "2", "--json").json["items"]
    assert (by_rival["role"], by_rival["key"]) == ("admin", world.rival_key)
    operator = load_public_key(world.platform.home / "keys", "operator")
    assert (by_operator["role"], by_operator["key"]) == ("operator", operator)


def test_a_tenant_that_is_deleted_is_not_there_for_its_own_keys_either(world: World) -> None:
    """Runs on a third tenant."""
    out = Path(world.settings.home) / "keys"
    world.platform.cli("tenants", "create", "brief")
    world.platform.cli("peers", "make", "brief", "--role", "tenant:brief:admin", "--out", str(out), "--json")
    with Wire(world.settings, "brief") as wire:
        client = Client(wire, "brief")
        node = world.nodes["control"]

        def show() -> Any:
            return client.call(
                node.endpoints["rep"], m.ShowTenant(name=""), timeout_ms=500, server_key=node.public_key
            )

        assert show().tenant.name == "brief"
        world.platform.cli("tenants", "delete", "brief", "--yes")
        with pytest.raises((DeadlineExceeded, Unauthenticated, NotFound)):
            show()
        client.close()
