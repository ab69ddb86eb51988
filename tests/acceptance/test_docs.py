"""Every example of the documents runs as it is written.

A block marked `sh` is executed; the blocks of one document run in order, in one shell, in an empty home. A
block that only shows something is marked `console` or `text`. Only the HTTP port is another one, so that no
test is in the way of another.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml
from acceptance_kit import ROOT, processes_of

from jobico.definition import parse_definition

_DOCUMENTS = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)


def _blocks(document: str, language: str) -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return [body for found, body in _BLOCK.findall(text) if found == language]


def _with_blocks(language: str) -> list[str]:
    return [document for document in _DOCUMENTS if _blocks(document, language)]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.slow
@pytest.mark.parametrize("document", _with_blocks("sh"))
def test_commands_run_as_written(document: str) -> None:
    home = Path(tempfile.mkdtemp(prefix="jb"))
    port = _free_port()
    work = home / "work"
    work.mkdir()
    (work / "examples").symlink_to(ROOT / "examples")
    (work / "supervisord.conf").symlink_to(ROOT / "supervisord.conf")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("JOBICO_")}
    environment |= {
        "HOME": str(home),
        "JOBICO_HTTP_PORT": str(port),
        "PATH": f"{Path(sys.executable).parent}:{environment['PATH']}",
        "NO_COLOR": "1",
    }
    script = "set -euo pipefail\n" + "\n".join(_blocks(document, "sh")).replace("7450", str(port))
    try:
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=work,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    finally:
        down = [sys.executable, "-m", "cli", "down"]
        subprocess.run(down, env=environment, capture_output=True, timeout=60, check=False)
        left = processes_of(home / ".jobico")
        shutil.rmtree(home, ignore_errors=True)
    assert not left


@pytest.mark.parametrize("document", _with_blocks("yaml"))
def test_definitions_are_taken(document: str) -> None:
    for block in _blocks(document, "yaml"):
        if "jobs" in yaml.safe_load(block):
            parse_definition(block)


def test_the_guide_to_definitions_names_every_key() -> None:
    from jobico.definition import parser, policies, runtimes

    text = (ROOT / "docs" / "job-definitions.md").read_text()
    keys = {
        key
        for module in (parser, policies, runtimes)
        for name in vars(module)
        if name.endswith("_KEYS")
        for key in vars(module)[name]
    } - {"platform"}  # the original's, taken and without meaning
    assert not [
        key for key in sorted(keys) if f"`{key}`" not in text and f"{{{key}" not in text and key not in text
    ]


def test_the_reference_of_the_command_line_is_that_of_the_code() -> None:
    from cli.reference import reference

    written = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert written == reference(), "run `python -m cli.reference > docs/cli.md`"


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "getting-started" / "index.html").is_file()


def test_every_relative_link_leads_somewhere() -> None:
    broken = []
    for document in [*_DOCUMENTS, *(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*/*.md"))]:
        text = re.sub(r"```.*?```", "", (ROOT / document).read_text(encoding="utf-8"), flags=re.S)
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            if "://" in target or target.startswith("mailto:"):
                continue
            if not ((ROOT / document).parent / target).exists():
                broken.append(f"{document}: {target}")
    assert not broken
