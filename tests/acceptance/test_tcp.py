"""The same platform over TCP: every node with its own key, every socket CURVE."""

from pathlib import Path

from acceptance_kit import EXAMPLE, Platform, processes_of, run_cli

from cli.supervision import free_port


def test_a_platform_over_tcp_does_all_that_one_over_ipc_does(home: Path) -> None:
    settings = {"JOBICO_TRANSPORT": "tcp", "JOBICO_CONTROL_PORT": str(free_port("127.0.0.1"))}
    try:
        platform = Platform(home, **settings)
        endpoints = [at for node in platform.status()["nodes"] for at in node["endpoints"].values()]
        assert endpoints
        assert all(at.startswith(("tcp://", "http://")) for at in endpoints)
        platform.cli("deploy", str(EXAMPLE / "job.yaml"))
        sent = platform.cli("send", "demo", "push", str(EXAMPLE / "push.json"), "--wait", "--json").json
        assert sent["outcome"] == "ok"
        assert sent["id"] in platform.cli("logs", "demo", "-n", "10", "--json").out
        for key in (home / "keys").glob("*.key"):
            assert key.stat().st_mode & 0o777 == 0o600
    finally:
        assert run_cli("down", home=home, **settings).code == 0
    assert not processes_of(home)
