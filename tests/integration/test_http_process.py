"""The listener as a process: how it starts, stops, and comes back."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from http_listener import GOOD, MAIN, bearer, free_port, is_ready, running_listener, wait_until

from jobico.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1].startswith("Z")
    except FileNotFoundError:
        return True


def test_sigterm_answers_what_is_under_way_then_ends_with_0(home: Path) -> None:
    with running_listener(home) as listener:
        answers: list[httpx.Response] = []
        waiting = threading.Thread(
            target=lambda: answers.append(listener.post(path="/events/acme/customer?wait=20s", timeout=20))
        )
        waiting.start()
        wait_until(lambda: "jobico_events_accepted_total 1.0" in httpx.get(listener.url + "/metrics").text)
        begun_s = time.monotonic()
        listener.process.send_signal(signal.SIGTERM)
        waiting.join(10)
        assert [answer.status_code for answer in answers] == [202]
        assert listener.process.wait(10) == 0
        assert time.monotonic() - begun_s < 5


def test_idle_connections_do_not_hold_up_a_stop(home: Path) -> None:
    with running_listener(home) as listener, httpx.Client() as client:
        client.get(listener.url + "/healthz")
        with socket.create_connection(("127.0.0.1", listener.port)):
            begun_s = time.monotonic()
            listener.process.send_signal(signal.SIGTERM)
            assert listener.process.wait(10) == 0
            assert time.monotonic() - begun_s < 4


def test_sigint_stops_as_gracefully(home: Path) -> None:
    with running_listener(home) as listener:
        listener.post()
        listener.process.send_signal(signal.SIGINT)
        assert listener.process.wait(10) == 0


def test_a_killed_worker_is_replaced_and_no_event_is_lost(home: Path) -> None:
    with running_listener(home) as listener:
        ids = [listener.post().json()["id"] for _ in range(20)]
        first = listener.worker
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: is_ready(listener.url) and listener.worker != first)
        for event_id in ids:
            assert httpx.get(f"{listener.url}/events/acme/{event_id}", headers=bearer()).status_code == 200


def test_a_killed_master_takes_its_worker_along(home: Path) -> None:
    """An orphan would keep the port and the queue from the next listener."""
    with running_listener(home) as listener:
        worker = listener.worker
        listener.process.kill()
        listener.process.wait()
        wait_until(lambda: is_gone(worker), timeout_s=2)


def test_signals_never_make_a_second_worker(home: Path) -> None:
    with running_listener(home) as listener:
        worker = listener.worker
        for number in (signal.SIGTTIN, signal.SIGUSR2, signal.SIGTTOU):
            listener.process.send_signal(number)
        time.sleep(1.5)  # the master's loop turns once a second
        assert listener.worker == worker
        assert is_ready(listener.url)


def test_a_port_that_is_taken_ends_the_node_with_an_error(home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with running_listener(home, wait=False, JOBICO_HTTP_PORT=port) as listener:
            assert listener.process.wait(30) != 0


def test_port_0_picks_a_free_port_and_notes_it(home: Path) -> None:
    noted = home / "data" / "listener" / "http_port"
    with running_listener(home, wait=False, JOBICO_HTTP_PORT="0"):
        wait_until(noted.exists)
        wait_until(lambda: is_ready(f"http://127.0.0.1:{noted.read_text().strip()}"))


def test_nothing_is_written_outside_the_data_directory(home: Path, tmp_path: Path) -> None:
    """Gunicorn's own habits are a control socket in the user's home and files in the temporary directory."""
    places = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    with running_listener(home, **places) as listener:
        listener.post()
    assert list(tmp_path.iterdir()) == []


def test_files_of_the_node_are_its_owners_alone(home: Path) -> None:
    with running_listener(home) as listener:
        listener.post()
        data_dir = home / "data" / "listener"
        made_by_the_test = {"control.snapshot", "schemas"}
        for path in data_dir.rglob("*"):
            if not made_by_the_test & {path.name, path.parent.name}:
                assert path.stat().st_mode & 0o077 == 0, path


def test_without_any_snapshot_senders_are_told_to_come_back(home: Path) -> None:
    """A listener that knows no tenant neither lets in nor turns away."""
    settings = Settings(home=str(home), http_port=free_port())
    environ = {**os.environ, **settings.to_environ()}
    url = f"http://127.0.0.1:{settings.http_port}"
    with open(home / "log", "wb") as log:
        process = subprocess.Popen([sys.executable, "-c", MAIN], env=environ, stdout=log, stderr=log)
    try:
        wait_until(lambda: answers(lambda: httpx.get(url + "/healthz").status_code == 200))
        assert httpx.get(url + "/readyz").status_code == 503
        response = httpx.post(url + "/events/acme/customer", json=GOOD, headers=bearer())
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) >= 1
    finally:
        process.terminate()
        assert process.wait(15) == 0


def answers(check: Callable[[], bool]) -> bool:
    try:
        return check()
    except httpx.TransportError:
        return False
