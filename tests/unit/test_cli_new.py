"""`jobico new` makes a job that is complete: its definition is taken, its sample event is valid for its schema."""

import json
from pathlib import Path

import pytest

from cli import main as cli
from cli.new import LANGUAGES
from jobico.definition import parse_definition
from jobico.schemas import Validator


@pytest.mark.parametrize("language", list(LANGUAGES))
def test_a_new_job_is_complete(
    language: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(["new", language, "greeting", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    folder = tmp_path / "greeting"
    definition = parse_definition((folder / "job.yaml").read_bytes())
    assert definition.id == "greeting"
    assert [event.id for event in definition.events] == ["greeting"]
    Validator((folder / "event.schema.json").read_bytes()).check(
        json.loads((folder / "event.json").read_bytes())
    )
    assert (folder / LANGUAGES[language].source).is_file()
    assert report["built"] == (folder / "greet.wasm").is_file()


def test_what_is_there_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    assert cli.run(["new", "c", "mine"]) == 1
    assert list((tmp_path / "mine").iterdir()) == []
    assert "exists already" in capsys.readouterr().err


def test_an_unknown_language_is_told_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["new", "cobol", "mine"]) == 1
    assert "rust" in capsys.readouterr().err
