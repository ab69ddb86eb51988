"""A real listener process over HTTP, working from a snapshot on disk: no other node is needed."""

import contextlib
import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx

from jobico.definition import (
    Abi,
    EventDefinition,
    JobDefinition,
    ModulePin,
    Order,
    QueueDefinition,
    Revision,
    RuntimeDefinition,
    SchemaReference,
    Verification,
    VerifyScheme,
)
from jobico.ids import digest_of
from jobico.sealing import seal_secret
from jobico.settings import Settings
from jobico.tenancy import KeyInfo, Quotas, TenantInfo
from nodes.snapshot import write_snapshot
from protocol.key_files import load_sealing_keys, make_sealing_key
from protocol.messages import ControlSnapshot

SCHEMA = (
    b'{"type": "object", "required": ["customerId"], "additionalProperties": true,'
    b' "properties": {"customerId": {"type": "string"}, "amount": {"type": "number", "minimum": 0}}}'
)
GOOD = {"customerId": "c-1", "amount": 3}
HOOKS = ("hook-new", "hook-old")
"""The live values of the secret that signs the event `signed` of acme: it is being rotated."""
TENANTS = ("acme", "globex")
ROLES = ("admin", "send", "read")
MAIN = (
    "import sys; from jobico.settings import Settings; from nodes.listener import main; "
    "sys.exit(main(Settings.from_environ()))"
)


def key(tenant: str = "acme", role: str = "admin") -> str:
    """The bearer key of that role that every seeded tenant has."""
    return f"jbc_{role[0]}_" + f"{tenant}-{role}".ljust(43, "x")


def bearer(tenant: str = "acme", role: str = "admin") -> dict[str, str]:
    """The header with that key."""
    return {"Authorization": f"Bearer {key(tenant, role)}"}


def key_info(tenant: str, role: str) -> KeyInfo:
    """What control tells nodes of that key."""
    digest = hashlib.sha256(key(tenant, role).encode()).hexdigest()
    return KeyInfo(id=f"{tenant}-{role}", tenant=tenant, role=role, digest=digest)


def revision(tenant: str, schema: bytes = SCHEMA, number: int = 1) -> Revision:
    """A job with an event of each kind that the listener tells apart."""
    events = (
        EventDefinition(id="customer", queue="plain", runtime="greet", schema=SchemaReference(ref="s")),
        EventDefinition(id="keyed", queue="keyed", runtime="greet"),
        EventDefinition(
            id="open", queue="plain", runtime="greet", verify=Verification(scheme=VerifyScheme.NONE)
        ),
        EventDefinition(
            id="signed",
            queue="plain",
            runtime="greet",
            verify=Verification(scheme=VerifyScheme.GITHUB, secret="HOOK"),
        ),
        EventDefinition(id="inner", queue="plain", runtime="greet", inline=True),
    )
    return Revision(
        definition=JobDefinition(
            id="customers",
            tenant=tenant,
            queues=(
                QueueDefinition(id="plain"),
                QueueDefinition(id="keyed", order=Order.KEY, key="/customerId"),
            ),
            runtimes=(RuntimeDefinition(id="greet", module="greet.wasm"),),
            events=events,
        ),
        number=number,
        created_ms=number,
        modules={"greet": ModulePin(digest="sha256:" + "0" * 64, abi=Abi.JOBICOLET)},
        schemas={"customer": digest_of(schema)},
    )


def tables(
    secrets: Mapping[str, bytes], quotas: Quotas, jobs: Iterable[Revision] = ()
) -> dict[str, dict[str, Any]]:
    """Control's tables with two tenants that are alike but for the quotas of acme, and for `jobs`."""
    revisions = [*(revision(tenant) for tenant in TENANTS), *jobs]
    keys = [key_info(tenant, role) for tenant in TENANTS for role in ROLES]
    return {
        "tenants": {
            "acme": TenantInfo(name="acme", created_ms=1, quotas=quotas),
            "globex": TenantInfo(name="globex", created_ms=1),
        },
        "keys": {info.id: info for info in keys},
        "jobs": {f"{one.definition.tenant}/{one.definition.id}": one for one in revisions},
        "nodes": {},
        "secrets": dict(secrets),
        "peers": {},
    }


def seed(
    settings: Settings,
    secrets: Mapping[str, bytes] | None = None,
    quotas: Quotas | None = None,
    jobs: Iterable[Revision] = (),
) -> None:
    """Gives a data directory what a listener that has run before has there."""
    data_dir = settings.data_dir("listener")
    schemas = data_dir / "schemas"
    schemas.mkdir(parents=True, exist_ok=True)
    (schemas / (digest_of(SCHEMA).removeprefix("sha256:") + ".json")).write_bytes(SCHEMA)
    snapshot = ControlSnapshot(seq=1, epoch="e", tables=tables(secrets or {}, quotas or Quotas(), jobs))
    write_snapshot(data_dir / "control.snapshot", snapshot)


class Listener:
    """A listener process: `process` is the master, `worker` the one that serves."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, settings: Settings) -> None:
        self.process = process
        self.port = port
        self.settings = settings
        self.url = f"http://127.0.0.1:{port}"

    @property
    def worker(self) -> int:
        """The process id of the worker."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        assert len(children) == 1
        return int(children[0])

    def post(self, body: Any = None, *, path: str = "/events/acme/customer", **kwargs: Any) -> httpx.Response:
        """Posts an event as the admin of acme, unless told otherwise."""
        headers = {**bearer(), **kwargs.pop("headers", {})}
        return httpx.post(self.url + path, json=GOOD if body is None else body, headers=headers, **kwargs)

    def exchange(self, request: bytes, timeout_s: float = 5.0) -> bytes:
        """Sends raw bytes and returns what comes back until the connection closes or is quiet for 0.5 s."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s) as connection:
            connection.sendall(request)
            return receive_all(connection)


def receive_all(connection: socket.socket, quiet_s: float = 0.5) -> bytes:
    """All bytes until the peer closes, or after some came, is quiet."""
    received = b""
    with contextlib.suppress(ConnectionError, TimeoutError):
        while piece := connection.recv(65_536):
            received += piece
            connection.settimeout(quiet_s)
    return received


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """Waits for a condition; fails when it does not come in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come in time"
        time.sleep(0.02)


def is_ready(url: str) -> bool:
    """True once the listener at `url` takes events."""
    try:
        return httpx.get(url + "/readyz", timeout=2).status_code == 200
    except httpx.TransportError:
        return False


@contextlib.contextmanager
def running_listener(
    home: Path,
    *,
    wait: bool = True,
    quotas: Quotas | None = None,
    jobs: Iterable[Revision] = (),
    secrets: Mapping[str, Sequence[bytes]] = MappingProxyType({}),
    **variables: str,
) -> Iterator[Listener]:
    """Runs a listener on a seeded data directory; SIGTERM at the end must end it with 0 in time.

    Args:
        home: The data directory.
        wait: Whether to wait until it is ready.
        quotas: Of acme.
        jobs: More than `revision` of each tenant.
        secrets: More than HOOK of acme: live values by `tenant/name`.
        variables: Of its environment.
    """
    port = free_port()
    settings = Settings(home=str(home), http_port=port, drain_ms=2_000)
    make_sealing_key(settings.keys_dir)
    keys = load_sealing_keys(settings.keys_dir)
    opened = {"acme/HOOK": [hook.encode() for hook in HOOKS], **secrets}
    sealed = {
        name: seal_secret(keys, values, tenant=name.partition("/")[0], name=name.partition("/")[2])
        for name, values in opened.items()
    }
    seed(settings, sealed, quotas, jobs)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("JOBICO_")}
    environ |= {**settings.to_environ(), **variables}
    with open(home / "listener.log", "ab") as log:
        process = subprocess.Popen([sys.executable, "-c", MAIN], env=environ, stdout=log, stderr=log)
    listener = Listener(process, port, settings)
    try:
        if wait:
            wait_until(lambda: process.poll() is not None or is_ready(listener.url))
            assert process.poll() is None, (home / "listener.log").read_text()
        yield listener
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            assert process.wait(15) == 0, (home / "listener.log").read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
