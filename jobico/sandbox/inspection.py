"""What a module is and what is wrong with it for Jobico: the work behind `jobico check`.

Owns the telling apart of ABIs and the list of problems. Never runs a guest.
"""

import hashlib
from collections.abc import Iterable
from typing import Final

from jobico import limits
from jobico.artifact import ModuleReport
from jobico.definition import Abi
from jobico.sandbox.abi_command import CommandAbi
from jobico.sandbox.abi_component import HANDLE
from jobico.sandbox.abi_jobicolet import JobicoletAbi, is_jobicolet
from jobico.sandbox.bindings import ExternKind, ExternType, NamedType
from jobico.sandbox.component_host import unoffered
from jobico.sandbox.host import HOST_FUNCTIONS
from jobico.sandbox.wasi import WASI_FUNCTIONS, WASI_MODULE

__all__ = [
    "UNKNOWN_ABI",
    "describe",
    "is_component",
    "problem_of_bytes",
    "refused",
    "report_component",
    "report_core",
]

UNKNOWN_ABI: Final = "unknown"
_LISTED_MAX: Final = 1_000
_PROBLEMS_MAX: Final = 50
_TEXT_CHARS_MAX: Final = 200
_PAGE_BYTES: Final = 65_536
_MAGIC: Final = b"\0asm"
_CORE: Final = b"\x01\0\0\0"
_COMPONENT: Final = b"\x0d\0\x01\0"
_OFFERED: Final = {(item.module, item.name): item.type for item in (*HOST_FUNCTIONS, *WASI_FUNCTIONS)}


def is_component(content: bytes) -> bool:
    """True if the bytes say that they are a component."""
    return content[:8] == _MAGIC + _COMPONENT


def problem_of_bytes(content: bytes) -> str | None:
    """What is wrong with a file before any of it is parsed.

    SECURITY: only the binary format goes to the compiler. Code that somebody else compiled is never loaded:
    whoever writes it writes machine code into this process.
    """
    if content[:4] == b"\x7fELF":
        return "It is compiled machine code. Upload the WebAssembly module (.wasm) that it was made from."
    if content[:4] != _MAGIC:
        return "It is not a WebAssembly module: a binary module begins with the bytes 00 61 73 6d."
    if content[4:8] not in (_CORE, _COMPONENT):
        return "It has a version of WebAssembly that does not exist: the bytes after 00 61 73 6d are wrong."
    bound = limits.COMPONENT_BYTES_MAX if is_component(content) else limits.MODULE_BYTES_MAX
    if len(content) > bound:
        return f"It has {len(content)} bytes; at most {bound} are taken."
    return None


def refused(content: bytes, problem: str) -> ModuleReport:
    """The report of a file that does not compile."""
    abi = Abi.COMPONENT if is_component(content) else UNKNOWN_ABI
    return ModuleReport(False, abi, (), (), len(content), hashlib.sha256(content).hexdigest(), (problem,))


def report_core(
    content: bytes, imports: tuple[NamedType, ...], exports: tuple[NamedType, ...], function: str
) -> ModuleReport:
    """The report of a core module that compiles."""
    by_name = {item.name: item.type for item in exports}
    if is_jobicolet(by_name, function):
        abi: str = Abi.JOBICOLET
        problems = JobicoletAbi.problems(by_name, function)
    elif "_start" in by_name:
        abi, problems = Abi.COMMAND, CommandAbi.problems(by_name)
    else:
        abi, problems = UNKNOWN_ABI, [_why_unknown(by_name, function)]
    problems += _import_problems(imports)
    problems += _size_problems((*imports, *exports))
    return ModuleReport(
        valid=not problems,
        abi=abi,
        imports=describe(imports),
        exports=describe(exports),
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        problems=tuple(problems[:_PROBLEMS_MAX]),
    )


def report_component(content: bytes, imports: list[str], exports: list[str]) -> ModuleReport:
    """The report of a component that compiles."""
    problems = [
        f"It imports {name[:_TEXT_CHARS_MAX]}, which Jobico does not offer." for name in unoffered(imports)
    ]
    if HANDLE not in exports:
        problems.append(f"It exports no {HANDLE}: build it for the world jobico:jobicolet.")
    return ModuleReport(
        valid=not problems,
        abi=Abi.COMPONENT,
        imports=tuple(name[:_TEXT_CHARS_MAX] for name in imports[:_LISTED_MAX]),
        exports=tuple(name[:_TEXT_CHARS_MAX] for name in exports[:_LISTED_MAX]),
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        problems=tuple(problems[:_PROBLEMS_MAX]),
    )


def describe(items: Iterable[NamedType]) -> tuple[str, ...]:
    """Imports or exports as lines of text, bounded: a module may have a million of them."""
    lines = [
        f"{f'{item.module}.' if item.module else ''}{item.name}: {item.type}"[:_TEXT_CHARS_MAX]
        for item in items
    ]
    more = len(lines) - _LISTED_MAX
    return (*lines[:_LISTED_MAX], f"… and {more} more") if more > 0 else tuple(lines)


def _why_unknown(exports: dict[str, ExternType], function: str) -> str:
    missing = [name for name in ("init", "malloc", function) if name not in exports]
    lacks = f"it exports no _start (command), and lacks {', '.join(missing)} (jobicolet)"
    return f"It is of no ABI that Jobico runs: {lacks}."


def _import_problems(imports: tuple[NamedType, ...]) -> list[str]:
    problems = []
    for item in imports:
        name = f"{item.module}.{item.name}"[:_TEXT_CHARS_MAX]
        offered = _OFFERED.get((item.module, item.name))
        if offered is None:
            hint = " (WASI preview 1 has no such function)" if item.module == WASI_MODULE else ""
            problems.append(f"It imports {name}, which Jobico does not offer{hint}.")
        elif item.type.function != offered:
            problems.append(f"It imports {name} as {item.type}, which is {offered} here.")
    return problems


def _size_problems(items: tuple[NamedType, ...]) -> list[str]:
    problems = []
    memory_max, table_max = limits.GUEST_MEMORY_BYTES_MAX, limits.GUEST_TABLE_ELEMENTS_MAX
    for item in items:
        size_bytes = item.type.minimum * _PAGE_BYTES
        if item.type.kind == ExternKind.MEMORY and size_bytes > memory_max:
            problems.append(f"Its memory starts at {size_bytes} bytes; at most {memory_max} can be given.")
        if item.type.kind == ExternKind.TABLE and item.type.minimum > table_max:
            problems.append(f"Its table starts at {item.type.minimum} elements; at most {table_max} fit.")
    return problems
