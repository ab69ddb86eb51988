"""Claims about the repository node, asked over its sockets."""

import threading
import time

import pytest
from node_kit import StartNode
from noop_guests import NOOP, SCHEMA, command
from protocol_kit import MakeWire, until

from jobico.errors import (
    InvalidInput,
    InvalidModule,
    InvalidSchema,
    JobicoError,
    NotFound,
    QuotaExceeded,
    TooLarge,
)
from jobico.ids import digest_of
from jobico.limits import MODULE_BYTES_MAX, SCHEMA_BYTES_MAX
from jobico.settings import Settings
from jobico.tenancy import Quotas
from nodes.control.service import serve as serve_control
from nodes.repository.service import serve as serve_repository
from protocol.client import Client
from protocol.messages import (
    BindArtifacts,
    CheckArtifact,
    CreateTenant,
    DeleteTenant,
    GetArtifact,
    ListArtifacts,
    Ping,
    PutArtifact,
    ResolveArtifact,
)
from protocol.sockets import control_endpoint, endpoint


class Repository:
    """Asks the repository."""

    def __init__(self, settings: Settings, client: Client) -> None:
        self.endpoint = endpoint(settings, "repository", "rep")
        self.client = client

    def call(self, message):  # type: ignore[no-untyped-def]
        return self.client.call(self.endpoint, message, timeout_ms=60_000)

    def put(self, content: bytes, kind: str = "wasm", name: str = "", tenant: str = "acme"):  # type: ignore[no-untyped-def]
        request = PutArtifact(request_id="", tenant=tenant, kind=kind, content=content, name=name)
        return self.call(request).info


@pytest.fixture
def repository(settings: Settings, client: Client, start_node: StartNode) -> Repository:
    start_node(serve_repository, "repository")
    return Repository(settings, client)


def test_a_module_is_stored_under_its_digest_and_name_with_a_report(repository: Repository) -> None:
    stored = repository.put(NOOP, name="noop.wasm")
    assert stored.digest == digest_of(NOOP)
    assert stored.report.valid
    assert stored.report.abi == "command"
    assert repository.call(GetArtifact(digest=stored.digest)).content == NOOP
    for ref in ("noop.wasm", stored.digest):
        assert (
            repository.call(ResolveArtifact(tenant="acme", kind="wasm", ref=ref)).info.digest == stored.digest
        )
    assert [info.name for info in repository.call(ListArtifacts(tenant="acme")).items] == ["noop.wasm"]


def test_an_upload_compiles_the_module_for_the_executors_of_this_machine(
    repository: Repository, settings: Settings
) -> None:
    stored = repository.put(NOOP)
    compiled = [path.name for path in settings.modules_dir.glob("*/*")]
    assert f"{stored.digest.removeprefix('sha256:')}.plain" in compiled


def test_what_is_no_module_or_schema_is_refused_and_not_stored(repository: Repository) -> None:
    with pytest.raises(InvalidModule, match="00 61 73 6d"):
        repository.put(b"#!/bin/sh")
    with pytest.raises(InvalidSchema):
        repository.put(b'{"type": "nonsense"}', "json")
    with pytest.raises(InvalidInput, match="wasm or json"):
        repository.put(b"x", "exe")
    assert repository.call(ListArtifacts(tenant="acme")).items == ()


def test_a_module_of_another_main_function_is_stored_and_inspected_for_it(repository: Repository) -> None:
    import wasmtime

    text = """(module (memory (export "memory") 1) (func (export "init"))
      (func (export "malloc") (param i32) (result i32) i32.const 8) (func (export "free") (param i32))
      (func (export "handle") (param i32 i32 i32)))"""
    stored = repository.put(bytes(wasmtime.wat2wasm(text)))
    assert not stored.report.valid, "it exports no function `event`"
    asked = ResolveArtifact(tenant="acme", kind="wasm", ref=stored.digest, function="handle")
    assert repository.call(asked).info.report.abi == "jobicolet"
    assert repository.call(asked).info.report.valid


def test_a_check_stores_nothing(repository: Repository) -> None:
    assert repository.call(CheckArtifact(kind="wasm", content=NOOP)).info.report.valid
    bad = command("(call $fork)", '(import "env" "fork" (func $fork))')
    with pytest.raises(InvalidModule, match="fork"):
        repository.call(CheckArtifact(kind="wasm", content=bad))
    assert repository.call(ListArtifacts()).items == ()


@pytest.mark.parametrize(("kind", "bound"), [("wasm", MODULE_BYTES_MAX), ("json", SCHEMA_BYTES_MAX)])
def test_a_file_over_the_bound_of_its_kind_is_refused(repository: Repository, kind: str, bound: int) -> None:
    start = b"\0asm\x01\0\0\0" if kind == "wasm" else b""
    with pytest.raises((TooLarge, InvalidModule), match=str(bound)):
        repository.put(start + bytes(bound + 1 - len(start)), kind)


def test_names_are_bound_all_or_none(repository: Repository) -> None:
    noop, schema = repository.put(NOOP), repository.put(SCHEMA, "json")
    missing = "sha256:" + "0" * 64
    names = {"wasm/a.wasm": noop.digest, "json/b.json": missing}
    with pytest.raises(NotFound):
        repository.call(BindArtifacts(request_id="", tenant="acme", names=names))
    with pytest.raises(NotFound):
        repository.call(ResolveArtifact(tenant="acme", kind="wasm", ref="a.wasm"))
    names["json/b.json"] = schema.digest
    repository.call(BindArtifacts(request_id="", tenant="acme", names=names))
    assert (
        repository.call(ResolveArtifact(tenant="acme", kind="json", ref="b.json")).info.digest
        == schema.digest
    )


def test_a_tenant_does_not_see_what_another_has_uploaded(repository: Repository) -> None:
    stored = repository.put(NOOP, name="noop.wasm")
    for ref in ("noop.wasm", stored.digest):
        with pytest.raises(NotFound):
            repository.call(ResolveArtifact(tenant="other", kind="wasm", ref=ref))
    with pytest.raises(NotFound):
        repository.call(GetArtifact(digest=stored.digest, tenant="other"))


def test_others_are_answered_while_a_module_compiles(
    repository: Repository, settings: Settings, make_wire: MakeWire
) -> None:
    """Modules are on their way; a ping takes no longer than without them."""
    wire, ended = make_wire(settings, "uploader"), threading.Event()

    def upload() -> None:
        uploader = Repository(settings, Client(wire, "uploader"))
        for number in range(3):
            uploader.put(command(f"(drop (i32.const {number}))"))
        uploader.client.close()
        ended.set()

    thread = threading.Thread(target=upload)
    thread.start()
    slowest_s = 0.0
    while not ended.is_set():
        begun_s = time.monotonic()
        assert repository.call(Ping()).ready
        slowest_s = max(slowest_s, time.monotonic() - begun_s)
    thread.join()
    assert slowest_s < 1


def test_stored_bytes_are_bounded_by_the_quota_of_the_tenant(
    settings: Settings, client: Client, start_node: StartNode
) -> None:
    start_node(serve_control, "control")
    start_node(serve_repository, "repository")
    repository = Repository(settings, client)
    quotas = Quotas(stored_bytes=len(NOOP) + 10)
    create = CreateTenant(request_id="1", name="acme", quotas=quotas)
    client.call(control_endpoint(settings, "rep"), create)
    repository.put(NOOP)

    def refused() -> bool:
        try:
            repository.put(command("(nop)"))
        except QuotaExceeded:
            return True
        except JobicoError:
            return False
        return False

    until(refused, 10)
    repository.put(NOOP, name="again.wasm")


def test_the_files_of_a_deleted_tenant_are_deleted(
    settings: Settings, client: Client, start_node: StartNode
) -> None:
    start_node(serve_control, "control")
    start_node(serve_repository, "repository")
    repository, control = Repository(settings, client), control_endpoint(settings, "rep")
    client.call(control, CreateTenant(request_id="1", name="acme"))
    until(lambda: repository.call(Ping()).seq == client.call(control, Ping()).seq, 10)
    repository.put(NOOP, name="noop.wasm")
    client.call(control, DeleteTenant(request_id="2", name="acme"))
    until(lambda: repository.call(ListArtifacts()).items == (), 10)


def test_what_it_stores_survives_its_restart(
    settings: Settings, client: Client, start_node: StartNode
) -> None:
    node = start_node(serve_repository, "repository")
    repository = Repository(settings, client)
    stored = repository.put(NOOP, name="noop.wasm")
    node.drain()
    until(lambda: node.wire._context.closed, 10)
    start_node(serve_repository, "repository")
    assert repository.call(GetArtifact(digest=stored.digest)).content == NOOP
