"""Every command says what it is for, with an example, and starts fast."""

import importlib
import os
import subprocess
import sys

import pytest
import typer

from cli.main import COMMANDS


def _paths() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, entry in COMMANDS.items():
        target = getattr(importlib.import_module(entry.module), entry.attribute)
        if isinstance(target, typer.Typer):
            names = [
                item.name or item.callback.__name__ for item in target.registered_commands if item.callback
            ]
            found += [(name, child) for child in names]
        else:
            found.append((name,))
    return found


PATHS = _paths()


def _run(*arguments: str, **environment: str) -> tuple[subprocess.CompletedProcess[str], float]:
    """Runs a command; also returns the seconds of CPU time it took, which a busy machine does not change."""
    before = os.times()
    done = subprocess.run(
        [sys.executable, "-P", "-m", "cli", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, "COLUMNS": "80", "NO_COLOR": "1", **environment},
    )
    after = os.times()
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    return done, cpu_s


def _fastest(*arguments: str) -> float:
    return min(_run(*arguments)[1] for _ in range(5))


def test_the_help_lists_every_command_with_what_it_is_for() -> None:
    done, _ = _run("--help")
    assert done.returncode == 0
    for name, entry in COMMANDS.items():
        assert any(name in line and entry.summary in line for line in done.stdout.splitlines()), name


def test_the_help_is_there_at_once() -> None:
    _run("--help")  # writes what Python caches
    assert _fastest("--help") < 0.25


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_a_commands_help_has_its_summary_and_an_example(path: tuple[str, ...]) -> None:
    done, _ = _run(*path, "--help")
    assert done.returncode == 0
    assert f"Usage: jobico {' '.join(path)}" in done.stdout
    assert "Example:" in done.stdout
    if len(path) == 1:
        assert COMMANDS[path[0]].summary in " ".join(done.stdout.split())


@pytest.mark.parametrize("path", [("status",), ("deploy",), ("logs",), ("run",), ("demo",)], ids=" ".join)
def test_a_command_starts_fast(path: tuple[str, ...]) -> None:
    _run(*path, "--help")
    assert _fastest(*path, "--help") < 0.4


def test_a_mistyped_command_is_answered_with_what_was_perhaps_meant() -> None:
    done, _ = _run("stauts")
    assert done.returncode == 2
    assert "Did you mean 'status'" in done.stderr
    assert done.stdout == ""


def test_without_a_command_the_help_is_shown_and_the_usage_is_wrong() -> None:
    done, _ = _run()
    assert done.returncode == 2
    assert "Usage: jobico" in done.stdout


def test_a_wrong_option_is_wrong_usage_and_json_where_asked() -> None:
    done, _ = _run("status", "--bogus", "--json")
    assert done.returncode == 2
    assert '"code": "invalid-input"' in done.stdout
    assert "No such option: --bogus" in done.stderr


def test_the_version_is_told() -> None:
    from jobico import __version__

    assert _run("--version")[0].stdout == f"jobico {__version__}\n"


def test_where_no_platform_runs_that_is_said_at_once_and_what_to_do(tmp_path: object) -> None:
    done, cpu_s = _run("tenants", "list", JOBICO_HOME=str(tmp_path))
    assert done.returncode == 1
    assert "start it with `jobico up`" in done.stderr
    assert cpu_s < 1


def test_a_setting_that_does_not_exist_is_named() -> None:
    done, _ = _run("status", JOBICO_HTTP_PROT="1")
    assert done.returncode == 1
    assert "http_prot" in done.stderr


def test_a_data_directory_that_cannot_be_is_an_error_and_no_traceback() -> None:
    done, _ = _run("up", "--home", "/dev/null/jobico")
    assert done.returncode == 1
    assert done.stderr == "Error: /dev/null/jobico: Not a directory.\n"


def test_a_reader_that_goes_away_is_no_error_to_talk_about() -> None:
    command = f"{sys.executable} -P -m cli --help | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=30)
    assert done.stderr == ""
