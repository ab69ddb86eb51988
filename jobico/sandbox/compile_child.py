"""The child process that compiles: `python -m jobico.sandbox.compile_child`, started by `compiler` alone.

Its arguments are FUNCTION FLAVOUR DIRECTORY CPU_S MEMORY_BYTES. Bounds itself before it reads a byte, takes
the module on standard input, and leaves `report` and, if the module compiles, `code` in the directory.
"""

import ctypes
import os
import resource
import sys
from pathlib import Path
from typing import Final

import msgspec

from jobico import limits
from jobico.artifact import ModuleReport
from jobico.sandbox.bindings import ByteVec, api, export_types, import_types, take_bytes, take_error
from jobico.sandbox.component_api import component_api, component_names
from jobico.sandbox.config import Flavour, new_engine
from jobico.sandbox.inspection import is_component, problem_of_bytes, refused, report_component, report_core

__all__ = ["compile_here", "main"]

_FILE_BYTES_MAX: Final = 1 * limits.GIB
_OPEN_FILES_MAX: Final = 64
_NICE: Final = 5


def _bound_self(cpu_s: int, memory_bytes: int) -> None:
    # NOTE: the engine of this process has no pool, which would reserve more address space than this bound.
    for bound, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, _FILE_BYTES_MAX),
        (resource.RLIMIT_NOFILE, _OPEN_FILES_MAX),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(bound, (value, value))
    os.nice(_NICE)


def main(function: str, flavour: Flavour, directory: Path) -> int:
    """Compiles standard input; answers the exit code."""
    content = sys.stdin.buffer.read(limits.COMPONENT_BYTES_MAX + 1)
    report = compile_here(content, function=function, flavour=flavour, into=directory)
    (directory / "report").write_bytes(msgspec.json.encode(report))
    return 0


def compile_here(content: bytes, *, function: str, flavour: Flavour, into: Path) -> ModuleReport:
    """Compiles in this process, without bounds; leaves the file `code` in `into` if it compiles."""
    problem = problem_of_bytes(content)
    if problem is not None:
        return refused(content, problem)
    engine = new_engine(flavour, pooled=False)
    try:
        return _compile(engine, content, function, into)
    finally:
        api.engine_delete(engine)


def _compile(engine: int, content: bytes, function: str, into: Path) -> ModuleReport:
    made, code, component = ctypes.c_void_p(), ByteVec(), is_component(content)
    new, serialize, delete = (
        (component_api.new, component_api.serialize, component_api.delete)
        if component
        else (api.module_new, api.module_serialize, api.module_delete)
    )
    error = new(engine, content, len(content), ctypes.addressof(made))
    if error:
        return refused(content, f"It is not a valid module: {take_error(error)}")
    error = serialize(made, ctypes.addressof(code))
    assert not error, take_error(error)
    (into / "code").write_bytes(take_bytes(code))
    if component:
        names = list(component_names(engine, made.value or 0))
        imports, exports = ([item.name for item in names if item.imported is side] for side in (True, False))
        report = report_component(content, imports, exports)
    else:
        report = report_core(content, import_types(made.value or 0), export_types(made.value or 0), function)
    delete(made)
    return report


if __name__ == "__main__":
    _bound_self(int(sys.argv[4]), int(sys.argv[5]))
    sys.exit(main(sys.argv[1], Flavour(sys.argv[2]), Path(sys.argv[3])))
