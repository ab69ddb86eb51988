"""Two listeners behind nginx: a tenant stays with one of them, also while that one is away."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from acceptance_kit import ECHO, ROOT, Answer, Platform, exchange, job, until, wasm

_TENANTS = [f"tenant-{number}" for number in range(6)]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _second_listener(platform: Platform, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("JOBICO_")}
    environment |= {
        "JOBICO_HOME": str(platform.home),
        "JOBICO_NODE_NAME": "listener-b",
        "JOBICO_HTTP_PORT": str(port),
    }
    command = [sys.executable, "-P", "-m", "cli", "node", "listener"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        until(lambda: _ready(port), 15, "the second listener is ready")
        yield process
    finally:
        process.terminate()
        process.wait(20)


def _ready(port: int) -> bool:
    try:
        return _get(port, "/readyz").status == 200
    except OSError:
        return False


def _get(port: int, path: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        return exchange(connection, "GET", path, None, {})
    finally:
        connection.close()


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Callable[[int, int], int]]:
    """Starts nginx with the shipped configuration and other addresses: `nginx(first, second)` is its port."""
    binary = shutil.which("nginx") or "/usr/sbin/nginx"
    if not Path(binary).exists():
        if os.environ.get("CI"):
            pytest.fail("nginx is missing: .ci/run installs it")
        pytest.skip("nginx is not here")
    started: list[subprocess.Popen[bytes]] = []

    def start(first: int, second: int) -> int:
        port = _free_port()
        text = (ROOT / "deploy" / "nginx.conf").read_text()
        text = text.replace("127.0.0.1:7450", f"127.0.0.1:{first}").replace(
            "127.0.0.1:7451", f"127.0.0.1:{second}"
        )
        text = text.replace("listen 127.0.0.1:8080", f"listen 127.0.0.1:{port}")
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        paths = "".join(f" {kind}_temp_path {tmp_path}/{kind};" for kind in kinds)
        text = text.replace("http {", f"http {{{paths}", 1)
        (tmp_path / "nginx.conf").write_text("daemon off;\n" + text)
        command = [binary, "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
        started.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        until(lambda: _answers(port), 10, "nginx answers")
        return port

    yield start
    for process in started:
        process.terminate()
        process.wait(10)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False


def _post(port: int, tenant: str, key: str, number: int) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {
        "Authorization": f"Bearer {key}",
        "Content-Type": "application/json",
        "Idempotency-Key": f"{tenant}-{number}",
    }
    try:
        body = json.dumps({"n": number}).encode()
        return exchange(connection, "POST", f"/events/{tenant}/order", body, headers)
    finally:
        connection.close()


@pytest.mark.slow
def test_a_tenant_stays_with_its_listener_across_a_kill(
    own_platform: Platform, nginx: Callable[[int, int], int], tmp_path: Path
) -> None:
    """A repeated key gives the first id before, during (or 503, never another id) and after the kill."""
    platform = own_platform
    first = int(platform.url.rsplit(":", 1)[1])
    second = _free_port()
    keys = {}
    for tenant in _TENANTS:
        folder = tmp_path / tenant
        folder.mkdir()
        platform.deploy(folder, **{**job(folder, wasm(ECHO)), "tenant": tenant})
        keys[tenant] = platform.cli("keys", "create", tenant, "--json").json["key"]
    with _second_listener(platform, second):
        port = nginx(first, second)
        ids = {}
        for tenant in _TENANTS:
            answer = until(
                lambda tenant=tenant: (got := _post(port, tenant, keys[tenant], 0)).status == 202 and got,
                10,
                "both listeners know the tenant",
            )
            ids[tenant] = answer.json["id"]
        assert len(set(ids.values())) == len(_TENANTS)
        os.kill(platform.node_pid("listener"), signal.SIGKILL)
        answers = {tenant: _post(port, tenant, keys[tenant], 0) for tenant in _TENANTS}
        for tenant, answer in answers.items():
            assert answer.status in (202, 503), answer
            if answer.status == 202:
                assert answer.json["id"] == ids[tenant]
            else:
                assert answer.headers["retry-after"] == "1"
        assert {answer.status for answer in answers.values()} >= {202}, (
            "the other listener's tenants feel nothing"
        )
        for tenant in _TENANTS:
            again = until(
                lambda tenant=tenant: (got := _post(port, tenant, keys[tenant], 0)).status == 202 and got,
                15,
                "the killed listener is back",
            )
            assert again.json["id"] == ids[tenant]
