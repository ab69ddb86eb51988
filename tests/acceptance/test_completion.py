"""A shell completes commands, options and the names of what is there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from acceptance_kit import ECHO, Platform, job, run_cli, wasm


def _complete(words: str, home: Path | None = None) -> list[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("JOBICO_")}
    environment |= {
        "_JOBICO_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    if home is not None:
        environment["JOBICO_HOME"] = str(home)
    done = subprocess.run(
        [sys.executable, "-m", "cli"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_commands_and_their_commands_are_completed() -> None:
    assert set(_complete("jobico de")) == {"demo", "deploy", "dead-letters"}
    assert "rotate" in _complete("jobico keys ")
    assert "--dry-run" in _complete("jobico deploy --d")


def test_names_come_from_the_platform(platform: Platform, tmp_path: Path) -> None:
    platform.deploy(tmp_path, "--update", **job(tmp_path, wasm(ECHO)))
    assert "acme" in _complete("jobico send ac", platform.home)
    assert "order" in _complete("jobico send acme ", platform.home)
    assert "orders" in _complete("jobico show job acme o", platform.home)


def test_without_a_platform_there_are_no_names_and_no_error(tmp_path: Path) -> None:
    assert _complete("jobico send ac", tmp_path) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_its_script(shell: str) -> None:
    script = run_cli("completion", shell)
    assert script.code == 0
    assert f"_JOBICO_COMPLETE=complete_{shell}" in script.out
