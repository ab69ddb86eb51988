"""supervisord's configuration and process, as far as no platform is needed to see it."""

import os
from configparser import RawConfigParser
from pathlib import Path

import pytest

from cli.ports import free_port
from cli.supervision import Supervision, expected_nodes, last_lines
from jobico.settings import Settings

ROOT = Path(__file__).parents[2]


def _shipped() -> RawConfigParser:
    parser = RawConfigParser(interpolation=None)
    parser.read(ROOT / "supervisord.conf")
    return parser


def _configuration(settings: Settings) -> RawConfigParser:
    parser = RawConfigParser(interpolation=None)
    parser.read_string(Supervision(settings)._configuration())
    return parser


def test_the_shipped_file_runs_every_node_and_always_again() -> None:
    parser = _shipped()
    programs = {name.removeprefix("program:") for name in parser.sections() if name.startswith("program:")}
    assert programs == set(expected_nodes(Settings()).values())
    for name in programs:
        program = parser[f"program:{name}"]
        assert program["command"] == f"jobico node {name}"
        assert program["autorestart"] == "true"
        assert int(program["startretries"]) >= 1_000_000


def test_the_shipped_file_needs_no_variable_of_the_environment() -> None:
    assert "%(ENV_" not in (ROOT / "supervisord.conf").read_text()


def test_a_platform_has_its_own_places_and_its_number_of_executors(home: Path) -> None:
    settings = Settings(home=str(home), executors=5)
    parser = _configuration(settings)
    assert parser["program:executor"]["numprocs"] == "5"
    for section, key in (
        ("unix_http_server", "file"),
        ("supervisord", "pidfile"),
        ("supervisord", "logfile"),
        ("supervisorctl", "serverurl"),
    ):
        assert parser[section][key].removeprefix("unix://").startswith(str(home)), key
    assert parser["unix_http_server"]["chmod"] == "0700"


def test_a_percent_sign_in_the_path_is_no_variable(tmp_path: Path) -> None:
    parser = _configuration(Settings(home=str(tmp_path / "100%")))
    assert parser["supervisord"]["logfile"] == str(tmp_path / "100%%" / "logs" / "supervisord.log")


def test_nodes_have_longer_to_stop_than_to_drain(home: Path) -> None:
    parser = _configuration(Settings(home=str(home), drain_ms=60_000))
    assert int(parser["program:listener"]["stopwaitsecs"]) > 60


def test_a_pid_file_of_another_process_is_no_platform(home: Path) -> None:
    settings = Settings(home=str(home))
    settings.run_dir.mkdir()
    (settings.run_dir / "supervisord.pid").write_text(str(os.getpid()))
    assert Supervision(settings).pid() is None
    (settings.run_dir / "supervisord.pid").write_text("no number")
    assert Supervision(settings).pid() is None


def test_where_nothing_runs_there_is_nothing_to_stop(home: Path) -> None:
    supervision = Supervision(Settings(home=str(home)))
    assert supervision.stop() is False
    assert supervision.processes() == []


def test_a_free_port_is_none_that_outgoing_connections_get() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert 1_024 < free_port("127.0.0.1") < max(lowest, 32_000)


def test_the_url_is_known_before_and_after_a_start(home: Path) -> None:
    assert Supervision(Settings(home=str(home), http_host="::1", http_port=81)).url() == "http://[::1]:81"


@pytest.mark.parametrize(("text", "lines"), [("", []), ("a\nb\nc\n", ["b", "c"]), ("a", ["a"])])
def test_the_last_lines_of_a_log(tmp_path: Path, text: str, lines: list[str]) -> None:
    (tmp_path / "x.log").write_text(text)
    assert last_lines(tmp_path / "x.log", 2) == lines
    assert last_lines(tmp_path / "missing.log", 2) == []
