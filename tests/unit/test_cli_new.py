"""`jobico new` makes a complete job: its definition is taken, its sample event is valid for its schema."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli.new import LANGUAGES
from jobico.definition import parse_definition
from jobico.schemas import Validator


def _jobico(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "cli", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("language", list(LANGUAGES))
def test_a_new_job_is_complete(language: str, tmp_path: Path) -> None:
    done = _jobico(tmp_path, "new", language, "greeting", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    folder = tmp_path / "greeting"
    definition = parse_definition((folder / "job.yaml").read_bytes())
    assert definition.id == "greeting"
    assert [event.id for event in definition.events] == ["greeting"]
    Validator((folder / "event.schema.json").read_bytes()).check(
        json.loads((folder / "event.json").read_bytes())
    )
    assert (folder / LANGUAGES[language].source).is_file()
    assert report["built"] == (folder / "greet.wasm").is_file()


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    done = _jobico(tmp_path, "new", "c", "mine")
    assert done.returncode == 1
    assert list((tmp_path / "mine").iterdir()) == []
    assert "exists already" in done.stderr


def test_an_unknown_language_is_told_the_known_ones(tmp_path: Path) -> None:
    done = _jobico(tmp_path, "new", "cobol", "mine")
    assert done.returncode == 1
    assert "rust" in done.stderr
