"""A real platform in a temporary home, driven as its users do: the command line, and HTTP."""

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import wasmtime

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "github-push"

ECHO = """
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 20)
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 64))
    (loop $more
      (i32.store (i32.const 4) (i32.const 1048576))
      (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16)))
      (if (i32.load (i32.const 16)) (then
        (i32.store (i32.const 4) (i32.load (i32.const 16)))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 20)))
        (br $more))))))
"""
"""A program of the command ABI whose result is its event."""


class Answer(NamedTuple):
    """What came back over HTTP."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def says(text: str) -> bytes:
    """A program of the command ABI whose result is always that text."""
    data = "".join(f"\\{byte:02x}" for byte in text.encode())
    return bytes(
        wasmtime.wat2wasm(f"""
        (module
          (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 1)
          (data (i32.const 64) "{data}")
          (func (export "_start")
            (i32.store (i32.const 0) (i32.const 64))
            (i32.store (i32.const 4) (i32.const {len(text.encode())}))
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 20)))))
        """)
    )


def wasm(text: str) -> bytes:
    """A module from its text form."""
    return bytes(wasmtime.wat2wasm(text))


def until(condition: Callable[[], Any], timeout_s: float, what: str) -> Any:
    """Waits for a true value and returns it; fails the test at the deadline."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.02)


def run_cli(
    *arguments: str, home: Path | None = None, stdin: str = "", timeout_s: float = 60, **settings: str
) -> "Ran":
    """Runs the command line as a process of its own, with `JOBICO_*` settings as given and no others."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("JOBICO_")}
    environment |= {"NO_COLOR": "1", "COLUMNS": "120", "TZ": "UTC"} | settings
    if home is not None:
        environment["JOBICO_HOME"] = str(home)
    command = [sys.executable, "-P", "-m", "cli", *arguments]
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=timeout_s, env=environment, check=False
    )
    return Ran(done.returncode, done.stdout, done.stderr)


class Ran(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Platform:
    """A running platform with a tenant `acme` that has a key."""

    def __init__(self, home: Path, *options: str, **settings: str) -> None:
        self.home = home
        self._settings = settings
        started = run_cli("up", "--detach", "--port", "0", "--json", *options, home=home, **settings)
        assert started.code == 0, started.err
        self.url: str = started.json["url"]
        self.ready_ms: int = started.json["ready_ms"]
        self.cli("tenants", "create", "acme")
        self.key: str = self.cli("keys", "create", "acme", "--json").json["key"]

    def cli(self, *arguments: str, stdin: str = "", code: int = 0) -> Ran:
        """Runs a command on this platform; fails unless it ends with that code."""
        ran = run_cli(*arguments, home=self.home, stdin=stdin, **self._settings)
        assert ran.code == code, f"{arguments} ended with {ran.code}: {ran.err}{ran.out}"
        return ran

    @contextmanager
    def connection(self) -> Iterator[http.client.HTTPConnection]:
        address = urlsplit(self.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=20)
        try:
            yield connection
        finally:
            connection.close()

    def http(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """One request with the tenant's key, unless other headers say otherwise."""
        with self.connection() as connection:
            return exchange(connection, method, path, body, self.headers(**headers))

    def headers(self, **more: str) -> dict[str, str]:
        given = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        given |= {name.replace("_", "-"): value for name, value in more.items()}
        return {name: value for name, value in given.items() if value}

    def post(self, event: str, payload: Any, tenant: str = "acme", **headers: str) -> Answer:
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        return self.http("POST", f"/events/{tenant}/{event}", body, **headers)

    def event(self, event_id: str) -> Any:
        answer = self.http("GET", f"/events/acme/{event_id}")
        assert answer.status == 200, answer
        return answer.json

    def final(self, event_id: str, timeout_s: float = 10) -> Any:
        """The event once nothing more comes of it."""
        return until(
            lambda: (found := self.event(event_id))["state"] in ("done", "dead") and found,
            timeout_s,
            f"{event_id} is final",
        )

    def status(self) -> Any:
        return run_cli("status", "--json", home=self.home, **self._settings).json

    def node_pid(self, name: str) -> int:
        """The process of a node, once it has one: a kill of process 0 would hit this test."""

        def pid() -> int:
            return next((node["pid"] for node in self.status()["nodes"] if node["name"] == name), 0)

        return int(until(pid, 10, f"{name} runs"))

    def totals(self) -> Any:
        """What the recorder has counted, for the tenant."""
        from cli.session import connect
        from protocol.messages import GetTotals

        with connect(str(self.home)) as session:
            return session.ask("recorder", GetTotals(tenant="acme"))

    def deploy(self, folder: Path, *options: str, **definition: Any) -> Any:
        """Writes a definition into a folder, and deploys it with what is there."""
        import yaml

        file = folder / "job.yaml"
        file.write_text(yaml.safe_dump(definition))
        return self.cli("deploy", str(file), "--json", *options).json

    def supervisorctl(self, *arguments: str) -> None:
        """Has supervisord start or stop a node."""
        from jobico.settings import Settings

        conf = Settings(home=str(self.home)).run_dir / "supervisord.conf"
        command = [sys.executable, "-P", "-m", "supervisor.supervisorctl", "-c", str(conf), *arguments]
        subprocess.run(command, check=True, capture_output=True, timeout=40)

    def stop(self) -> None:
        self.cli("down")


def exchange(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | None,
    headers: dict[str, str],
) -> Answer:
    """One request over a connection that stays open."""
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())


def job(folder: Path, module: bytes, schema: Any = None, **event: Any) -> dict[str, Any]:
    """A definition of one event, `order`, with its files in the folder."""
    (folder / "program.wasm").write_bytes(module)
    described: dict[str, Any] = {"id": "order", "supplierqueue": "orders", "runtime": "program", **event}
    if schema is not None:
        (folder / "order.json").write_text(json.dumps(schema))
        described["schema"] = {"id": "order", "name": "Order", "schemaref": "order.json"}
    return {
        "name": "Orders",
        "id": "orders",
        "tenant": "acme",
        "queues": [{"id": "orders", "name": "Orders"}],
        "runtimes": [{"id": "program", "name": "Program", "moduleref": "program.wasm"}],
        "jobs": [{"event": described}],
    }


def processes_of(home: Path) -> list[str]:
    """Command lines of every process that supervisord started for that home, and of supervisord."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            environment = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        ours = f"JOBICO_HOME={home}".encode() in environment
        if command and ours and ("node" in command or "supervis" in command or "gunicorn" in command):
            found.append(command)
    return found
