"""How gunicorn is set up: the port that is bound, and what it must never do."""

import socket
from pathlib import Path

from jobico.settings import Settings
from nodes.listener.gunicorn_conf import ListenerApplication, options


def bound(home: Path, http_port: int, host: str = "127.0.0.1") -> list[str]:
    application = ListenerApplication(Settings(home=str(home), http_host=host, http_port=http_port))
    found: list[str] = application.cfg.settings["bind"].get()
    return found


def note_port(home: Path, text: str) -> None:
    path = home / "data" / "listener" / "http_port"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_port_that_is_given_is_bound(tmp_path: Path) -> None:
    note_port(tmp_path, "7\n")
    assert bound(tmp_path, 8080) == ["127.0.0.1:8080"]
    assert bound(tmp_path, 8080, "::1") == ["[::1]:8080"]


def test_with_port_0_the_last_port_is_bound_again_if_it_is_free(tmp_path: Path) -> None:
    """A listener that comes back on another port would be lost to senders that know the first."""
    assert bound(tmp_path, 0) == ["127.0.0.1:0"]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        note_port(tmp_path, f"{port}\n")
        assert bound(tmp_path, 0) == ["127.0.0.1:0"]
    assert bound(tmp_path, 0) == [f"127.0.0.1:{port}"]


def test_a_noted_port_that_is_none_is_ignored(tmp_path: Path) -> None:
    for text in ("", "port", "70000", "-1"):
        note_port(tmp_path, text)
        assert bound(tmp_path, 0) == ["127.0.0.1:0"]


def test_all_that_gunicorn_writes_is_in_the_data_directory(tmp_path: Path) -> None:
    settings = Settings(home=str(tmp_path))
    chosen = options(settings, 1)
    assert chosen["control_socket_disable"]
    assert chosen["worker_tmp_dir"] == str(settings.run_dir)
    assert chosen["workers"] == 1


def test_the_master_waits_longer_than_a_drain_takes(tmp_path: Path) -> None:
    """Else it would kill a worker that still answers."""
    for drain_ms in (0, 10_000, 600_000):
        chosen = options(Settings(home=str(tmp_path), drain_ms=drain_ms), 1)
        assert chosen["graceful_timeout"] * 1_000 > 2 * drain_ms
