"""Compiling and inspecting modules in a child process with bounds on CPU time, memory, files and wall clock.

Owns the child: its start, its bounds and its end. A compiler bug or a compile bomb costs the child and
nothing else.
"""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import msgspec

from jobico import limits
from jobico.artifact import ModuleReport
from jobico.errors import Internal
from jobico.sandbox.config import Flavour
from jobico.sandbox.inspection import problem_of_bytes, refused

__all__ = ["CompileBounds", "Inspection", "compile_module", "inspect"]

Inspection = ModuleReport
"""What `inspect` answers."""


class CompileBounds(msgspec.Struct, frozen=True):
    """What one compilation may use."""

    cpu_s: int = limits.COMPILE_CPU_MS_MAX // 1_000
    wall_s: float = limits.COMPILE_WALL_MS_MAX / 1_000
    memory_bytes: int = limits.COMPILE_MEMORY_BYTES_MAX


_BOUNDS: Final = CompileBounds()
_REPORT_BYTES_MAX: Final = 1 * limits.MIB
_ERROR_CHARS_MAX: Final = 500


def inspect(content: bytes, function: str = "event") -> Inspection:
    """What a module is, and what keeps it from running here; answers for any bytes.

    Args:
        content: The file.
        function: The main function that its runtime names; it decides whether a module is a `jobicolet`.
    """
    with tempfile.TemporaryDirectory(prefix="jobico-inspect-") as scratch:
        return compile_module(content, function=function, flavour=Flavour.PLAIN, into=Path(scratch))


def compile_module(
    content: bytes, *, function: str, flavour: Flavour, into: Path, bounds: CompileBounds = _BOUNDS
) -> Inspection:
    """Compiles a module; leaves the file `code` in the directory `into` if it compiles."""
    problem = problem_of_bytes(content)
    if problem is not None:
        return refused(content, problem)
    ended = _run_child(content, function, flavour, into, bounds)
    if ended is not None:
        (into / "code").unlink(missing_ok=True)
        return refused(content, ended)
    report = into / "report"
    if report.stat().st_size > _REPORT_BYTES_MAX:
        raise Internal("The compiler's report of a module is over its bound.")
    return msgspec.json.decode(report.read_bytes(), type=ModuleReport)


def _run_child(
    content: bytes, function: str, flavour: Flavour, into: Path, bounds: CompileBounds
) -> str | None:
    """Runs the child to its end; answers why it gave nothing, None if it gave a report."""
    command = [sys.executable, "-s", "-m", "jobico.sandbox.compile_child", function, flavour, str(into)]
    command += [str(bounds.cpu_s), str(bounds.memory_bytes)]
    # The child gets no environment but the way to the code: it has no use for any secret of this process.
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONDONTWRITEBYTECODE": "1"}
    with (into / "stderr").open("w+b") as stderr:
        child = subprocess.Popen(  # noqa: S603 - the command is this interpreter with our own module
            command,
            stdin=subprocess.PIPE,
            stdout=stderr,
            stderr=stderr,
            env=environment,
            start_new_session=True,
        )
        try:
            child.communicate(content, timeout=bounds.wall_s)
        except subprocess.TimeoutExpired:
            return f"It did not compile within {bounds.wall_s:g} s."
        except BrokenPipeError:
            child.wait()
        finally:
            _end(child)
        stderr.seek(0)
        said = stderr.read(_REPORT_BYTES_MAX).decode("utf-8", "replace").strip()
    (into / "stderr").unlink()
    if child.returncode == 0:
        return None
    return _why_ended(child.returncode, said, bounds)


def _end(child: "subprocess.Popen[bytes]") -> None:
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    if child.stdin is not None:
        child.stdin.close()


def _why_ended(code: int, said: str, bounds: CompileBounds) -> str:
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        return f"It did not compile within {bounds.cpu_s} s of CPU time."
    if code == -signal.SIGABRT or "memory" in said.lower():
        return f"It did not compile within {bounds.memory_bytes // limits.MIB} MiB of memory."
    last = said.splitlines()[-1][:_ERROR_CHARS_MAX] if said else ""
    return f"The compiler failed on it (exit {code}): {last}"
