"""The same guest in every language is built from its source and runs; kept binaries match their source.

A toolchain that is not at hand skips its test at home; with CI set it fails it. Where they come from: see
`examples/languages/README.md`. `JOBICO_TOOLCHAINS` names a folder with `venv` and `node_modules` of them.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from cli.new import LANGUAGES
from jobico.definition import Abi, GuestLimits, RuntimeSpec
from jobico.event import Outcome
from jobico.ids import digest_of
from jobico.sandbox.engine import Job, Sandbox

_ROOT = Path(__file__).resolve().parents[2]
_EXAMPLES = _ROOT / "examples"
_TOOLS = Path(os.environ.get("JOBICO_TOOLCHAINS", _ROOT / ".toolchains"))
_VENV = _TOOLS / "venv" / "bin"
_NODE = _TOOLS / "node_modules" / ".bin"


class Toolchain(NamedTuple):
    """How a language is built: the variable of its build.sh, what must be there, whether bytes repeat."""

    variable: str
    command: str
    needs: Path | str
    greeting: str
    abi: Abi
    reproducible: bool = False


_TOOLCHAINS = {
    "c": Toolchain("ZIG", f"{_VENV}/python -m ziglang", _VENV / "python-zig", "C", Abi.JOBICOLET, True),
    "zig": Toolchain("ZIG", f"{_VENV}/python -m ziglang", _VENV / "python-zig", "Zig", Abi.COMMAND, True),
    "rust": Toolchain(
        "RUSTC", "/usr/bin/rustc", "/usr/lib/rustlib/wasm32-unknown-unknown", "Rust", Abi.JOBICOLET
    ),
    "go": Toolchain("GO", f"{_VENV}/go", _VENV / "go", "Go", Abi.COMMAND),
    "assemblyscript": Toolchain(
        "ASC", f"{_NODE}/asc", _NODE / "asc", "AssemblyScript", Abi.JOBICOLET, reproducible=True
    ),
    "javascript": Toolchain(
        "COMPONENTIZE_JS",
        f"{_NODE}/componentize-js",
        _NODE / "componentize-js",
        "JavaScript",
        Abi.COMPONENT,
    ),
    "python": Toolchain(
        "COMPONENTIZE_PY",
        f"{_VENV}/componentize-py",
        _VENV / "componentize-py",
        "Python",
        Abi.COMPONENT,
    ),
    "wat": Toolchain("PYTHON", sys.executable, sys.executable, "WAT", Abi.JOBICOLET, reproducible=True),
}
_EVENT = b'{"name": "Ada", "customerId": 42}'


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    made = Sandbox(tmp_path_factory.mktemp("modules"))
    yield made
    made.close()


def _run(sandbox: Sandbox, module: Path, abi: Abi, payload: bytes):  # type: ignore[no-untyped-def]
    content = module.read_bytes()
    limits = GuestLimits(time_ms=20_000, memory_bytes=256 << 20)
    spec = RuntimeSpec(name=module.name, digest=digest_of(content), abi=abi, limits=limits)
    job = Job(
        id="018bcfe5-6800-7000-8000-000000000001", tenant="t", event="greet", attempt=1, payload=payload
    )
    return sandbox.run(spec, job, lambda digest: content)


def _check_greeting(sandbox: Sandbox, module: Path, language: str) -> None:
    toolchain = _TOOLCHAINS[language]
    result = _run(sandbox, module, toolchain.abi, _EVENT)
    assert result.outcome is Outcome.OK, result
    assert json.loads(result.result) == {
        "greeting": f"Hello from {toolchain.greeting}",
        "event": json.loads(_EVENT),
    }
    assert [line.message for line in result.logs] == ["greeting somebody"]
    failed = _run(sandbox, module, toolchain.abi, b'{"name": "Ada", "fail": true}')
    assert (failed.outcome, failed.code) == (Outcome.FAILED, 7), failed


def test_every_language_has_a_toolchain_and_a_template() -> None:
    assert set(_TOOLCHAINS) == set(LANGUAGES)
    assert {path.name for path in (_EXAMPLES / "languages").iterdir() if path.is_dir()} == set(LANGUAGES)


@pytest.mark.parametrize("language", ["assemblyscript", "c", "rust", "wat", "zig"])
def test_the_kept_binary_runs(language: str, sandbox: Sandbox) -> None:
    _check_greeting(sandbox, _EXAMPLES / "languages" / language / "greet.wasm", language)


@pytest.mark.parametrize("language", list(_TOOLCHAINS))
def test_the_source_builds_and_runs(language: str, sandbox: Sandbox, tmp_path: Path) -> None:
    toolchain = _TOOLCHAINS[language]
    if not Path(toolchain.needs).exists():
        if os.environ.get("CI"):
            pytest.fail(f"{toolchain.needs} is missing: .ci/run installs it")
        pytest.skip(f"{toolchain.needs} is not here")
    known = LANGUAGES[language]
    folder = tmp_path / language
    shutil.copytree(_EXAMPLES / "languages" / language, folder)
    (folder / "greet.wasm").unlink(missing_ok=True)
    environment = {
        **os.environ,
        "PATH": f"{_VENV}:{os.environ['PATH']}",
        toolchain.variable: toolchain.command,
        "SDK": str((_EXAMPLES / "sdk" / known.sdk).parent) if known.sdk else "",
        "WIT": str(_ROOT / "jobico" / "sandbox" / "jobicolet.wit"),
    }
    done = subprocess.run(
        ["sh", "build.sh"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    _check_greeting(sandbox, folder / "greet.wasm", language)
    if toolchain.reproducible:
        kept = (_EXAMPLES / "languages" / language / "greet.wasm").read_bytes()
        assert (folder / "greet.wasm").read_bytes() == kept, "the kept binary is not what its source builds"
