"""Claims about the control node, asked over its sockets."""

import threading
import time

import msgspec
import pytest
from node_kit import StartNode
from noop_guests import JOB, NOOP, SCHEMA
from protocol_kit import MakeWire, until

from jobico.errors import AlreadyExists, Conflict, InvalidDefinition, InvalidInput, NotFound, TooLarge
from jobico.limits import KEY_GRACE_MS_MAX, SECRET_BYTES_MAX
from jobico.registry import NodeInfo
from jobico.settings import Settings
from jobico.tenancy import Quotas
from nodes.beat import Beat
from nodes.control.keys import digest_key
from nodes.control.service import serve as serve_control
from nodes.lifecycle import Node
from nodes.repository.service import serve as serve_repository
from nodes.secrets import SecretTable, opening
from protocol.client import Client
from protocol.messages import (
    AddPeer,
    ControlChange,
    CreateKey,
    CreateTenant,
    DeleteSecret,
    DeleteTenant,
    DeployJob,
    GetSnapshot,
    Goodbye,
    Heartbeat,
    ListAudit,
    ListJobs,
    ListKeys,
    ListNodes,
    ListPeers,
    ListSecrets,
    ListTenants,
    Ping,
    PutArtifact,
    ResolveArtifact,
    RevokeKey,
    RevokePeer,
    RollbackJob,
    SetSecret,
    ShowJob,
    ShowTenant,
    UndeployJob,
)
from protocol.server import Reactor
from protocol.sockets import control_endpoint, endpoint
from protocol.topics import CONTROL_TOPIC

REP = "rep"


class Control:
    """Asks control; `ids` gives each request an id of its own."""

    def __init__(self, settings: Settings, client: Client) -> None:
        self.settings = settings
        self.endpoint = control_endpoint(settings, REP)
        self.client = client
        self.count = 0

    def call(self, message):  # type: ignore[no-untyped-def]
        return self.client.call(self.endpoint, message)

    def id(self) -> str:
        self.count += 1
        return f"request-{self.count}"

    def upload(self, kind: str, content: bytes, tenant: str = "acme") -> str:
        where = endpoint(self.settings, "repository", REP)
        request = PutArtifact(request_id=self.id(), tenant=tenant, kind=kind, content=content)
        return self.client.call(where, request, timeout_ms=60_000).info.digest

    def deploy(self, source: str = JOB, **fields):  # type: ignore[no-untyped-def]
        request = DeployJob(request_id=self.id(), source=source.encode(), **fields)
        return self.client.call(self.endpoint, request, timeout_ms=60_000)


@pytest.fixture
def control(settings: Settings, client: Client, start_node: StartNode) -> Control:
    start_node(serve_control, "control")
    return Control(settings, client)


@pytest.fixture
def platform(control: Control, start_node: StartNode) -> Control:
    """Control and repository, with the files of JOB uploaded."""
    start_node(serve_repository, "repository")
    return control


def files(control: Control) -> dict[str, str]:
    return {"noop.wasm": control.upload("wasm", NOOP), "thing.json": control.upload("json", SCHEMA)}


# --- Tenants and keys


def test_a_tenant_is_made_shown_listed_and_deleted(control: Control) -> None:
    control.call(CreateTenant(request_id=control.id(), name="acme", quotas=Quotas(weight=3)))
    assert control.call(ShowTenant(name="acme")).tenant.quotas.weight == 3
    assert [tenant.name for tenant in control.call(ListTenants()).items] == ["acme"]
    control.call(DeleteTenant(request_id=control.id(), name="acme"))
    with pytest.raises(NotFound):
        control.call(ShowTenant(name="acme"))


def test_a_second_tenant_of_the_name_is_refused_unless_it_may_exist(control: Control) -> None:
    control.call(CreateTenant(request_id=control.id(), name="acme"))
    with pytest.raises(AlreadyExists):
        control.call(CreateTenant(request_id=control.id(), name="acme"))
    changed = CreateTenant(request_id=control.id(), name="acme", exist_ok=True, quotas=Quotas(events_per_s=7))
    assert control.call(changed).tenant.quotas.events_per_s == 7


def test_the_name_of_a_deleted_tenant_is_not_given_again(platform: Control) -> None:
    """What is left of it under its name must not be read by who comes later."""
    platform.deploy(files=files(platform))
    platform.call(DeleteTenant(request_id=platform.id(), name="acme"))
    with pytest.raises(AlreadyExists, match="not given again"):
        platform.call(CreateTenant(request_id=platform.id(), name="acme", exist_ok=True))
    with pytest.raises(AlreadyExists, match="not given again"):
        platform.deploy(files=files(platform))


def test_a_repeated_request_is_given_the_first_answer(control: Control) -> None:
    request = CreateTenant(request_id="same", name="acme")
    assert control.call(request) == control.call(request)


def test_a_key_is_told_once_and_stored_as_its_digest(control: Control) -> None:
    control.call(CreateTenant(request_id=control.id(), name="acme"))
    request = CreateKey(request_id="same", tenant="acme", role="send", name="ci")
    made = control.call(request)
    assert made.key.startswith("jbc_s_")
    assert len(made.key) == len("jbc_s_") + 43
    assert made.info.digest == digest_key(made.key)
    assert control.call(request) == made, "the repeat of the request that made it is told it again"
    [listed] = control.call(ListKeys(tenant="acme")).items
    assert listed == made.info
    assert made.key not in str(control.call(GetSnapshot()))


def test_a_revoked_key_stays_listed_with_its_time(control: Control) -> None:
    control.call(CreateTenant(request_id=control.id(), name="acme"))
    made = control.call(CreateKey(request_id=control.id(), tenant="acme"))
    control.call(RevokeKey(request_id=control.id(), tenant="acme", id=made.info.id))
    [listed] = control.call(ListKeys(tenant="acme")).items
    assert listed.revoked_ms > 0
    with pytest.raises(NotFound):
        control.call(RevokeKey(request_id=control.id(), tenant="acme", id="k000"))


def test_a_key_may_be_revoked_later_and_then_sooner_but_not_later_again(control: Control) -> None:
    control.call(CreateTenant(request_id=control.id(), name="acme"))
    made = control.call(CreateKey(request_id=control.id(), tenant="acme"))

    def revoke(grace_ms: int) -> int:
        request = RevokeKey(request_id=control.id(), tenant="acme", id=made.info.id, grace_ms=grace_ms)
        control.call(request)
        revoked_ms: int = control.call(ListKeys(tenant="acme")).items[0].revoked_ms
        return revoked_ms - time.time_ns() // 1_000_000

    assert 50_000 < revoke(60_000) <= 60_000
    assert control.call(ShowTenant(name="acme")).keys == 1
    assert revoke(120_000) <= 60_000
    assert revoke(0) <= 0
    assert control.call(ShowTenant(name="acme")).keys == 0
    for grace_ms in (-1, KEY_GRACE_MS_MAX + 1):
        with pytest.raises(InvalidInput):
            revoke(grace_ms)


def test_a_role_that_no_key_has_is_refused(control: Control) -> None:
    control.call(CreateTenant(request_id=control.id(), name="acme"))
    with pytest.raises(InvalidInput, match="admin, read, send"):
        control.call(CreateKey(request_id=control.id(), tenant="acme", role="root"))


# --- Jobs


def test_a_deploy_makes_revision_1_and_its_tenant(platform: Control) -> None:
    deployed = platform.deploy(files=files(platform))
    assert (deployed.revision.number, deployed.previous, deployed.unchanged) == (1, 0, False)
    assert deployed.revision.source == JOB
    assert platform.call(ShowTenant(name="acme")).events == ("thing-made",)
    [listed] = platform.call(ListJobs(tenant="acme")).items
    assert listed == deployed.revision


def test_the_files_of_a_deploy_have_names_afterwards(platform: Control) -> None:
    uploaded = files(platform)
    platform.deploy(files=uploaded)
    where = endpoint(platform.settings, "repository", REP)
    for kind, name in (("wasm", "noop.wasm"), ("json", "thing.json")):
        resolved = platform.client.call(where, ResolveArtifact(tenant="acme", kind=kind, ref=name))
        assert resolved.info.digest == uploaded[name]
    assert platform.deploy(JOB.replace("name: Things", "name: Other"), update=True).revision.number == 2


def test_deploying_the_same_again_changes_nothing(platform: Control) -> None:
    uploaded = files(platform)
    first = platform.deploy(files=uploaded)
    again = platform.deploy(files=uploaded, update=True)
    assert again.unchanged
    assert again.revision == first.revision


def test_a_job_that_exists_is_replaced_only_with_update(platform: Control) -> None:
    platform.deploy(files=files(platform))
    changed = JOB.replace("name: Things", "name: Other")
    with pytest.raises(AlreadyExists, match="--update"):
        platform.deploy(changed)
    assert platform.deploy(changed, update=True).previous == 1


def test_a_dry_run_stores_nothing(platform: Control) -> None:
    deployed = platform.deploy(files=files(platform), dry_run=True)
    assert deployed.revision.number == 1
    with pytest.raises(NotFound):
        platform.call(ShowTenant(name="acme"))


def test_a_bad_definition_is_refused_with_all_its_problems(platform: Control) -> None:
    with pytest.raises(InvalidDefinition) as refused:
        platform.deploy()
    paths = [problem["path"] for problem in refused.value.detail["problems"]]
    assert paths == ["runtimes[0].moduleref", "events[0].schema.schemaref"]
    with pytest.raises(InvalidDefinition):
        platform.deploy("nonsense: [")
    with pytest.raises(InvalidDefinition):
        platform.deploy(JOB.replace("moduleref: noop.wasm", "moduleref: noop.wasm\n    limits: {time: 1h}"))


def test_an_event_of_another_job_is_refused(platform: Control) -> None:
    uploaded = files(platform)
    platform.deploy(files=uploaded)
    with pytest.raises(InvalidDefinition, match="thing-made"):
        platform.deploy(JOB.replace("id: things", "id: others"), files=uploaded)


def test_a_rollback_makes_the_revision_before_current(platform: Control) -> None:
    uploaded = files(platform)
    platform.deploy(files=uploaded)
    platform.deploy(JOB.replace("name: Things", "name: Other"), update=True)
    back = platform.call(RollbackJob(request_id=platform.id(), tenant="acme", job="things"))
    assert (back.revision.number, back.previous) == (1, 2)
    shown = platform.call(ShowJob(tenant="acme", job="things"))
    assert (shown.current, shown.kept) == (1, (1, 2))
    third = platform.deploy(JOB.replace("name: Things", "name: Third"), update=True)
    assert third.revision.number == 3
    with pytest.raises(NotFound):
        platform.call(RollbackJob(request_id=platform.id(), tenant="acme", job="things", to=9))


def test_an_undeployed_job_is_gone_and_its_numbers_go_on(platform: Control) -> None:
    uploaded = files(platform)
    platform.deploy(files=uploaded)
    platform.call(UndeployJob(request_id=platform.id(), tenant="acme", job="things"))
    with pytest.raises(NotFound):
        platform.call(ShowJob(tenant="acme", job="things"))
    assert platform.deploy(files=uploaded).revision.number == 2


def test_other_requests_are_answered_while_a_deploy_waits_for_the_repository(
    control: Control, settings: Settings, make_wire: MakeWire
) -> None:
    """No repository is there, so the deploy hangs until it gives up; a ping is answered meanwhile."""
    wire = make_wire(settings, "deployer")
    ended = threading.Event()

    def deploy() -> None:
        other = Client(wire, "deployer")
        with pytest.raises(Exception):  # noqa: B017, PT011 - what it is told does not matter here
            other.call(control.endpoint, DeployJob(request_id="x", source=JOB.encode()), timeout_ms=800)
        other.close()
        ended.set()

    thread = threading.Thread(target=deploy)
    thread.start()
    assert control.call(Ping()).ready
    assert not ended.is_set()
    thread.join(10)


# --- Nodes, followers, trust


def node_info(**fields: object) -> NodeInfo:
    known: dict[str, object] = {
        "name": "executor-0", "role": "executor", "instance": "i1", "pid": 7, "host": "h", "version": "1",
        "endpoints": {}, "ready": True, "started_ms": 5, "load": {"waiting": 3.0},
    }  # fmt: skip
    return NodeInfo(**{**known, **fields})  # type: ignore[arg-type]


def test_a_heartbeat_registers_a_node_and_a_goodbye_takes_it_out(control: Control) -> None:
    control.call(Heartbeat(node=node_info()))
    nodes = {node.name: node for node in control.call(ListNodes()).items}
    assert nodes["executor-0"].load == {"waiting": 3.0}
    assert nodes["executor-0"].seen_ms > 0
    control.call(Goodbye(name="executor-0", instance="another run"))
    assert "executor-0" in {node.name for node in control.call(ListNodes()).items}
    control.call(Goodbye(name="executor-0", instance="i1"))
    assert "executor-0" not in {node.name for node in control.call(ListNodes()).items}


def test_an_older_twin_of_a_node_is_refused(control: Control) -> None:
    control.call(Heartbeat(node=node_info(instance="i2", started_ms=9)))
    with pytest.raises(AlreadyExists, match="JOBICO_NODE_NAME"):
        control.call(Heartbeat(node=node_info()))


def test_the_answer_to_a_heartbeat_names_the_last_change(control: Control) -> None:
    control.call(Heartbeat(node=node_info()))
    until(lambda: control.call(Heartbeat(node=node_info())).seq == control.call(GetSnapshot()).seq)
    assert control.call(Heartbeat(node=node_info())).epoch == control.call(GetSnapshot()).epoch


def test_changes_are_published_in_order_and_without_gaps(
    control: Control, settings: Settings, make_wire: MakeWire
) -> None:
    wire = make_wire(settings, "follower")
    reactor, heard = Reactor(wire), list[ControlChange]()
    socket = wire.sub(control_endpoint(settings, "pub"), [CONTROL_TOPIC])
    reactor.on_message(socket, {ControlChange: heard.append}, topics=True)
    thread = threading.Thread(target=reactor.run)
    thread.start()
    try:
        number = 0
        while not heard:  # until the subscription has reached control
            number += 1
            control.call(CreateTenant(request_id="", name=f"t{number}"))
        for extra in range(20):
            control.call(CreateTenant(request_id="", name=f"extra{extra}"))
        until(lambda: heard[-1].key == "extra19")
        assert [change.seq for change in heard] == list(range(heard[0].seq, heard[0].seq + len(heard)))
    finally:
        reactor.stop()
        thread.join(5)
        socket.close(linger=0)


def test_what_control_knows_survives_its_restart_under_a_new_epoch(
    settings: Settings, client: Client, start_node: StartNode
) -> None:
    node = start_node(serve_control, "control")
    control = Control(settings, client)
    control.call(CreateTenant(request_id="same", name="acme"))
    control.call(Heartbeat(node=node_info()))
    before = control.call(GetSnapshot())
    node.drain()
    until(lambda: node.wire._context.closed)
    start_node(serve_control, "control")
    after = control.call(GetSnapshot())
    assert after.epoch != before.epoch
    assert after.seq >= before.seq
    assert after.tables["tenants"] == before.tables["tenants"]
    assert "executor-0" in after.tables["nodes"], "a node is not lost by a restart of control"
    control.call(CreateTenant(request_id="same", name="acme"))


def test_a_beat_says_goodbye_when_it_stops_and_comes_back_after_control_was_away(
    settings: Settings, client: Client, start_node: StartNode, make_wire: MakeWire
) -> None:
    wire = make_wire(settings, "worker")
    worker = Node(settings, "executor", wire, "worker")
    beat = Beat(settings, wire, worker.info)
    beat.start()
    start_node(serve_control, "control")
    control = Control(settings, client)
    until(lambda: "worker" in {node.name for node in control.call(ListNodes()).items}, 10)
    beat.stop()
    assert "worker" not in {node.name for node in control.call(ListNodes()).items}


def test_keys_of_programs_are_let_in_listed_and_revoked_for_good(control: Control) -> None:
    key = "k" * 40
    control.call(AddPeer(request_id=control.id(), key=key, role="tenant:acme:read"))
    assert control.call(ListPeers()).items == {key: "tenant:acme:read"}
    with pytest.raises(Conflict):
        control.call(AddPeer(request_id=control.id(), key=key, role="operator"))
    control.call(RevokePeer(request_id=control.id(), key=key))
    assert control.call(ListPeers()).items == {key: "revoked"}
    with pytest.raises(Conflict):
        control.call(AddPeer(request_id=control.id(), key=key, role="tenant:acme:read"))


def test_a_deleted_tenant_takes_the_keys_of_its_programs_along(control: Control) -> None:
    control.call(CreateTenant(request_id=control.id(), name="acme"))
    control.call(AddPeer(request_id=control.id(), key="a" * 40, role="tenant:acme:read"))
    control.call(AddPeer(request_id=control.id(), key="b" * 40, role="tenant:acme2:read"))
    control.call(DeleteTenant(request_id=control.id(), name="acme"))
    assert control.call(ListPeers()).items == {"a" * 40: "revoked", "b" * 40: "tenant:acme2:read"}


def test_a_secret_is_sealed_listed_by_name_rotated_and_deleted(control: Control) -> None:
    control.call(CreateTenant(request_id=control.id(), name="acme"))
    first = SetSecret(request_id=control.id(), tenant="acme", name="HOOK", value=b"first value")
    control.call(first)
    control.call(msgspec.structs.replace(first, request_id=control.id(), value=b"second value", rotate=True))
    [info] = control.call(ListSecrets(tenant="acme")).items
    assert (info.name, info.values) == ("HOOK", 2)
    sealed = control.call(GetSnapshot()).tables["secrets"]
    assert b"value" not in sealed["acme/HOOK"]
    table = SecretTable(opening(control.settings.keys_dir))
    table.replace(sealed)
    assert table.values("acme", "HOOK") == (b"second value", b"first value")
    assert table.resolve("acme", ["HOOK", "OTHER"]) == {"HOOK": "second value"}
    control.call(DeleteSecret(request_id=control.id(), tenant="acme", name="HOOK"))
    assert control.call(ListSecrets(tenant="acme")).items == ()


def test_a_secret_that_is_empty_or_too_long_is_refused(control: Control) -> None:
    control.call(CreateTenant(request_id=control.id(), name="acme"))
    for value, error in ((b"", InvalidInput), (b"x" * (SECRET_BYTES_MAX + 1), TooLarge)):
        with pytest.raises(error):
            control.call(SetSecret(request_id=control.id(), tenant="acme", name="HOOK", value=value))


def test_every_change_is_in_the_audit_log_and_what_changed_nothing_is_not(control: Control) -> None:
    control.call(CreateTenant(request_id=control.id(), name="acme"))
    control.call(CreateTenant(request_id=control.id(), name="acme", exist_ok=True))
    made = control.call(CreateKey(request_id=control.id(), tenant="acme"))
    control.call(RevokeKey(request_id=control.id(), tenant="acme", id=made.info.id))
    control.call(RevokeKey(request_id=control.id(), tenant="acme", id=made.info.id))
    entries = control.call(ListAudit(tenant="acme")).items
    assert [(entry.action, entry.subject) for entry in entries] == [
        ("key.revoke", made.info.id),
        ("key.create", made.info.id),
        ("tenant.create", "acme"),
    ]
    assert made.key not in str(msgspec.to_builtins(entries))
    page = control.call(ListAudit(tenant="acme", limit=2))
    assert control.call(ListAudit(tenant="acme", limit=2, before=page.next)).items == entries[2:]
