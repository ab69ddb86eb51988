"""`jobico demo`, and an installation from nothing."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from acceptance_kit import ROOT, processes_of, run_cli


def test_the_demo_shows_every_step_and_leaves_nothing() -> None:
    begun = time.monotonic()
    ran = run_cli("demo")
    assert ran.code == 0, ran.err
    assert time.monotonic() - begun < 60
    for text in ("control is ready", "202", "summarise", "tidewater-labs/harbour", "What to type next"):
        assert text in ran.out
    home = next(word for word in ran.out.split() if "jobico-demo-" in word)
    assert not Path(home).exists()
    assert not processes_of(Path(home))


def test_the_demo_keeps_its_platform_where_asked() -> None:
    ran = run_cli("demo", "--keep", "--json")
    assert ran.code == 0, ran.err
    home = Path(ran.json["home"])
    try:
        assert ran.json["event"]["outcome"] == "ok"
        assert [item["event"] for item in ran.json["follow_ups"]] == ["push-summarised"]
        assert run_cli("status", "--json", home=home).json["ready"] is True
    finally:
        assert run_cli("down", home=home).code == 0
    assert not processes_of(home)
    subprocess.run(["rm", "-r", str(home)], check=True)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_wheel_is_all_that_is_needed(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", str(ROOT)], check=True)
    begun = time.monotonic()
    done = subprocess.run(
        [str(tmp_path / "venv" / "bin" / "jobico"), "demo"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - begun < 60
    assert "tidewater-labs/harbour" in done.stdout
