"""The child process that compiles: `python -m jobico.sandbox.compile_child FUNCTION FLAVOUR DIRECTORY CPU_S MEMORY_BYTES`.

Bounds itself before it reads a byte, takes the module on standard input, and leaves `report` and, if the module
compiles, `code` in the directory. Started by `compiler` alone.
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
from jobico.sandbox.inspection import is_component, refused, report_component, report_core

__all__ = ["main"]

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
    (directory / "report").write_bytes(msgspec.json.encode(_compile(content, function, flavour, directory)))
    return 0


def _compile(content: bytes, function: str, flavour: Flavour, directory: Path) -> ModuleReport:
    engine, made, code = new_engine(flavour, pooled=False), ctypes.c_void_p(), ByteVec()
    component = is_component(content)
    new, serialize = (
        (component_api.new, component_api.serialize) if component else (api.module_new, api.module_serialize)
    )
    error = new(engine, content, len(content), ctypes.addressof(made))
    if error:
        return refused(content, f"It is not a valid module: {take_error(error)}")
    error = serialize(made, ctypes.addressof(code))
    if error:
        return refused(content, f"It does not compile: {take_error(error)}")
    (directory / "code").write_bytes(take_bytes(code))
    if component:
        names = list(component_names(engine, made.value or 0))
        imports, exports = ([item.name for item in names if item.imported is side] for side in (True, False))
        return report_component(content, imports, exports)
    return report_core(content, import_types(made.value or 0), export_types(made.value or 0), function)


if __name__ == "__main__":
    _bound_self(int(sys.argv[4]), int(sys.argv[5]))
    sys.exit(main(sys.argv[1], Flavour(sys.argv[2]), Path(sys.argv[3])))
