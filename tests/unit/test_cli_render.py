"""What is printed: tamed in text, ASCII in JSON, whole in both."""

import json
from collections.abc import Iterator

import msgspec
import pytest

from cli import render
from cli.timeline import bars
from jobico.artifact import ModuleReport
from jobico.errors import InvalidDefinition, NotFound, SchemaViolation
from jobico.event import Outcome

RUDE = "\x1b]0;owned\x07\u202eevil"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(render, "_consoles", {})
    monkeypatch.setenv("NO_COLOR", "1")
    yield
    render.use_json(False)


def test_a_table_tames_its_cells_and_reads_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    render.show(render.table(("NAME", "#COUNT"), [(f"[red]{RUDE}", "7")], empty="nothing"))
    out = capsys.readouterr().out
    assert "[red]\\x1b]0;owned\\x07\\u202eevil" in out
    assert not {"\x1b", "\x07", "\u202e"} & set(out)


def test_a_table_without_rows_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    render.show(render.table(("NAME",), [], empty="There is none."))
    assert capsys.readouterr().out == "There is none.\n"


def test_json_is_one_line_of_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    render.use_json(True)
    render.report({"text": RUDE, "name": "Ødegård"}, lambda: None)
    out = capsys.readouterr().out
    assert out.isascii()
    assert out.count("\n") == 1
    assert json.loads(out) == {"text": RUDE, "name": "Ødegård"}


def test_json_of_a_struct_has_every_field_also_those_with_defaults(
    capsys: pytest.CaptureFixture[str],
) -> None:
    render.use_json(True)
    render.report(ModuleReport(True, "command", (), (), 1, "00"), lambda: None)
    assert set(json.loads(capsys.readouterr().out)) == set(ModuleReport.__struct_fields__)


def test_json_shows_enums_and_bytes_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    class Thing(msgspec.Struct):
        outcome: Outcome
        result: bytes

    render.use_json(True)
    render.report(Thing(Outcome.OK, b"caf\xc3\xa9 \xff"), lambda: None)
    assert json.loads(capsys.readouterr().out) == {"outcome": "ok", "result": "café \ufffd"}


def test_in_json_mode_lines_for_people_are_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    render.use_json(True)
    render.line("hello")
    render.show("hello")
    assert capsys.readouterr().out == ""


def test_an_error_names_each_problem_with_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    problems = [
        {"line": 12, "path": "jobs[0].event.runtime", "message": "there is no runtime 'greeet'"},
        {"line": 0, "path": "runtimes[0].moduleref", "message": "it is no module"},
    ]
    render.fail(InvalidDefinition("The definition is wrong.", detail={"problems": problems}), hint="See it.")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "Error: The definition is wrong.",
        "  line 12: jobs[0].event.runtime: there is no runtime 'greeet'",
        "  runtimes[0].moduleref: it is no module",
        "See it.",
    ]


@pytest.mark.parametrize(
    ("message", "line", "shown"),
    [
        ("line 3: runtime: there is none", 3, []),
        ("runtime: there is none", 3, ["  line 3"]),
        ("runtime: there is none", 0, []),
        ("The definition is wrong.", 3, ["  line 3: runtime: there is none"]),
    ],
)
def test_a_single_problem_is_not_said_twice(
    capsys: pytest.CaptureFixture[str], message: str, line: int, shown: list[str]
) -> None:
    problem = {"line": line, "path": "runtime", "message": "there is none"}
    render.fail(InvalidDefinition(message, detail={"problems": [problem]}))
    assert capsys.readouterr().err.splitlines() == [f"Error: {message}", *shown]


def test_an_error_names_each_violation_with_its_pointer(capsys: pytest.CaptureFixture[str]) -> None:
    violations = [{"pointer": "/id", "keyword": "type", "message": f"{RUDE} is no integer"}]
    render.fail(SchemaViolation("It breaks the schema.", detail={"violations": violations}))
    assert "  /id: \\x1b]0;owned" in capsys.readouterr().err


def test_an_error_is_json_too_where_asked(capsys: pytest.CaptureFixture[str]) -> None:
    render.use_json(True)
    render.fail(NotFound("There is no job.", detail={"job": "x"}))
    captured = capsys.readouterr()
    assert captured.err == "Error: There is no job.\n"
    assert json.loads(captured.out) == {
        "error": {"code": "not-found", "message": "There is no job.", "detail": {"job": "x"}}
    }


@pytest.mark.parametrize(
    ("passed_ms", "text"), [(0, "now"), (999, "now"), (1_000, "1.0 s ago"), (7_200_000, "2.0 h ago")]
)
def test_an_age_is_what_people_say(passed_ms: int, text: str) -> None:
    assert render.age(1_000_000, 1_000_000 + passed_ms) == text


@pytest.mark.parametrize(
    ("begin_ms", "end_ms", "drawn"),
    [
        (0, 100, "█" * 24),
        (50, 100, "·" * 12 + "█" * 12),
        (0, 0, "█" + " " * 23),
        (100, 100, "·" * 23 + "█"),
        (25, 75, "·" * 6 + "█" * 12 + " " * 6),
    ],
)
def test_a_chart_shows_waiting_and_running_to_scale(begin_ms: int, end_ms: int, drawn: str) -> None:
    assert bars(0, 100, begin_ms, end_ms) == drawn
