"""The one door to wasmtime: its C API through ctypes, and nothing of what Jobico means by it.

Owns the shared library, the prototypes of the functions used, the layouts of the structures that cross, and
the taking apart of errors, traps and types. Never decides what a guest may do (`config`), never runs one
(`engine`).

PERF: wasmtime-py's typed calls cost 30-50 µs each, since they look up and convert types on every call. These
prototypes take plain addresses and raw values: 1 µs a call. What the typed layer checks on each call,
`program` checks once for each module. `PyDLL` functions keep the interpreter lock: they are short and never
run a guest.

SAFETY: all addresses here come from wasmtime or from buffers that the caller keeps alive across the call. A
callback must never raise: `host` wraps each one.
"""

import ctypes
from collections.abc import Callable, Iterator, Sequence
from ctypes import c_bool, c_char_p, c_int64, c_size_t, c_uint8, c_uint32, c_uint64, c_void_p
from importlib.metadata import version
from typing import Any, NamedTuple

from wasmtime import _ffi as _shipped

from jobico.errors import InvalidModule

__all__ = [
    "EXTERN_BYTES",
    "EXTERN_OF",
    "VALUE_BYTES",
    "VERSION",
    "ByteVec",
    "ExternKind",
    "ExternType",
    "FunctionType",
    "Instance",
    "NamedType",
    "RawCallback",
    "ValueKind",
    "api",
    "brief",
    "config_setter",
    "export_types",
    "import_types",
    "new_function_type",
    "new_trap",
    "pool_setter",
    "slow",
    "take_bytes",
    "take_error",
    "take_trap",
    "wat2wasm",
]

VERSION: str = version("wasmtime")
"""The version of wasmtime that is loaded; compiled code is bound to it."""

_SLOW = ctypes.CDLL(str(_shipped.filename))
_BRIEF = ctypes.PyDLL(str(_shipped.filename))


class ByteVec(ctypes.Structure):
    """`wasm_byte_vec_t`: bytes that wasmtime owns until they are deleted."""

    _fields_ = (("size", c_size_t), ("data", c_void_p))


class _PointerVec(ctypes.Structure):
    _fields_ = (("size", c_size_t), ("data", ctypes.POINTER(c_void_p)))


class Instance(ctypes.Structure):
    """`wasmtime_instance_t`: a handle into a store."""

    _fields_ = (("store_id", c_uint64), ("private", c_size_t))


EXTERN_BYTES = 32
"""`sizeof(wasmtime_extern_t)`; a test compares it with the declarations that wasmtime ships."""
EXTERN_OF = 8
"""Where the handle begins within a `wasmtime_extern_t`."""
VALUE_BYTES = 16
"""`sizeof(wasmtime_val_raw_t)`."""

RawCallback = ctypes.CFUNCTYPE(c_void_p, c_void_p, c_void_p, c_void_p, c_size_t)
"""`wasmtime_func_unchecked_callback_t`: environment, caller, arguments, count; answers a trap."""


def slow(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    """A function that may run a guest or take long: the interpreter lock is released around it."""
    function = getattr(_SLOW, name)
    function.restype, function.argtypes = result, arguments
    return function  # type: ignore[no-any-return]


def brief(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    """A function that takes well under a microsecond and never runs a guest."""
    function = getattr(_BRIEF, name)
    function.restype, function.argtypes = result, arguments
    return function  # type: ignore[no-any-return]


class _Api:
    """The functions used, by their C names less the prefix `wasmtime_`."""

    # Engine
    config_new = brief("wasm_config_new", c_void_p)
    config_strategy_set = brief("wasmtime_config_strategy_set", None, c_void_p, c_uint8)
    config_opt_level_set = brief("wasmtime_config_cranelift_opt_level_set", None, c_void_p, c_uint8)
    engine_new = slow("wasm_engine_new_with_config", c_void_p, c_void_p)
    engine_delete = slow("wasm_engine_delete", None, c_void_p)
    increment_epoch = brief("wasmtime_engine_increment_epoch", None, c_void_p)
    pool_new = brief("wasmtime_pooling_allocation_config_new", c_void_p)
    pool_delete = brief("wasmtime_pooling_allocation_config_delete", None, c_void_p)
    pool_use = brief("wasmtime_pooling_allocation_strategy_set", None, c_void_p, c_void_p)

    # Modules
    module_new = slow("wasmtime_module_new", c_void_p, c_void_p, c_char_p, c_size_t, c_void_p)
    module_delete = slow("wasmtime_module_delete", None, c_void_p)
    module_imports = slow("wasmtime_module_imports", None, c_void_p, c_void_p)
    module_exports = slow("wasmtime_module_exports", None, c_void_p, c_void_p)
    module_serialize = slow("wasmtime_module_serialize", c_void_p, c_void_p, c_void_p)
    module_deserialize_file = slow("wasmtime_module_deserialize_file", c_void_p, c_void_p, c_char_p, c_void_p)
    wat2wasm = slow("wasmtime_wat2wasm", c_void_p, c_char_p, c_size_t, c_void_p)

    # Linker
    linker_new = brief("wasmtime_linker_new", c_void_p, c_void_p)
    linker_delete = slow("wasmtime_linker_delete", None, c_void_p)
    linker_define = slow(
        "wasmtime_linker_define_func_unchecked", c_void_p, c_void_p, c_char_p, c_size_t, c_char_p, c_size_t,
        c_void_p, RawCallback, c_void_p, c_void_p,
    )  # fmt: skip
    linker_instantiate_pre = slow("wasmtime_linker_instantiate_pre", c_void_p, c_void_p, c_void_p, c_void_p)
    instance_pre_delete = slow("wasmtime_instance_pre_delete", None, c_void_p)
    instantiate = slow("wasmtime_instance_pre_instantiate", c_void_p, c_void_p, c_void_p, c_void_p, c_void_p)

    # Store
    store_new = brief("wasmtime_store_new", c_void_p, c_void_p, c_void_p, c_void_p)
    store_context = brief("wasmtime_store_context", c_void_p, c_void_p)
    store_limiter = brief(
        "wasmtime_store_limiter", None, c_void_p, c_int64, c_int64, c_int64, c_int64, c_int64
    )
    store_delete = slow("wasmtime_store_delete", None, c_void_p)
    set_epoch_deadline = brief("wasmtime_context_set_epoch_deadline", None, c_void_p, c_uint64)
    set_fuel = brief("wasmtime_context_set_fuel", c_void_p, c_void_p, c_uint64)
    get_fuel = brief("wasmtime_context_get_fuel", c_void_p, c_void_p, c_void_p)

    # Instance
    export_get = brief(
        "wasmtime_instance_export_get", c_bool, c_void_p, c_void_p, c_char_p, c_size_t, c_void_p
    )
    caller_export_get = brief("wasmtime_caller_export_get", c_bool, c_void_p, c_char_p, c_size_t, c_void_p)
    caller_context = brief("wasmtime_caller_context", c_void_p, c_void_p)
    call = slow("wasmtime_func_call_unchecked", c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p)
    memory_data = brief("wasmtime_memory_data", c_void_p, c_void_p, c_void_p)
    memory_size = brief("wasmtime_memory_data_size", c_size_t, c_void_p, c_void_p)

    # Errors and traps
    error_message = slow("wasmtime_error_message", None, c_void_p, c_void_p)
    error_delete = slow("wasmtime_error_delete", None, c_void_p)
    error_new = slow("wasmtime_error_new", c_void_p, c_char_p)
    trap_new = slow("wasmtime_trap_new", c_void_p, c_char_p, c_size_t)
    trap_code = slow("wasmtime_trap_code", c_bool, c_void_p, c_void_p)
    trap_message = slow("wasm_trap_message", None, c_void_p, c_void_p)
    trap_delete = slow("wasm_trap_delete", None, c_void_p)

    # Types
    bytes_delete = brief("wasm_byte_vec_delete", None, c_void_p)
    importtypes_delete = slow("wasm_importtype_vec_delete", None, c_void_p)
    exporttypes_delete = slow("wasm_exporttype_vec_delete", None, c_void_p)
    importtype_module = brief("wasm_importtype_module", c_void_p, c_void_p)
    importtype_name = brief("wasm_importtype_name", c_void_p, c_void_p)
    importtype_type = brief("wasm_importtype_type", c_void_p, c_void_p)
    exporttype_name = brief("wasm_exporttype_name", c_void_p, c_void_p)
    exporttype_type = brief("wasm_exporttype_type", c_void_p, c_void_p)
    externtype_kind = brief("wasm_externtype_kind", c_uint8, c_void_p)
    as_functype = brief("wasm_externtype_as_functype", c_void_p, c_void_p)
    as_tabletype = brief("wasm_externtype_as_tabletype", c_void_p, c_void_p)
    as_memorytype = brief("wasm_externtype_as_memorytype", c_void_p, c_void_p)
    functype_params = brief("wasm_functype_params", c_void_p, c_void_p)
    functype_results = brief("wasm_functype_results", c_void_p, c_void_p)
    functype_new = brief("wasm_functype_new", c_void_p, c_void_p, c_void_p)
    functype_delete = brief("wasm_functype_delete", None, c_void_p)
    valtype_kind = brief("wasm_valtype_kind", c_uint8, c_void_p)
    valtype_new = brief("wasm_valtype_new", c_void_p, c_uint8)
    valtypes_new = brief("wasm_valtype_vec_new", None, c_void_p, c_size_t, c_void_p)
    tabletype_limits = brief("wasm_tabletype_limits", ctypes.POINTER(c_uint32), c_void_p)
    memorytype_minimum = brief("wasmtime_memorytype_minimum", c_uint64, c_void_p)


api = _Api()


def config_setter(name: str) -> Callable[[int, int], None]:
    """`wasmtime_config_<name>_set`, taking a config and a bool or a size.

    Raises:
        AttributeError: wasmtime has no such option. (wasmtime-py's `Config` takes any misspelt name in
            silence.)
    """
    return brief(f"wasmtime_config_{name}_set", None, c_void_p, c_uint64)


def pool_setter(name: str) -> Callable[[int, int], None]:
    """`wasmtime_pooling_allocation_config_<name>_set`, taking a pooling config and a size.

    Raises:
        AttributeError: wasmtime has no such option.
    """
    return brief(f"wasmtime_pooling_allocation_config_{name}_set", None, c_void_p, c_uint64)


def _text_at(vec_address: int) -> str:
    vec = ByteVec.from_address(vec_address)
    return ctypes.string_at(vec.data, vec.size).decode("utf-8", "replace") if vec.size else ""


def take_bytes(vec: ByteVec) -> bytes:
    """The content of `vec`, which is freed."""
    content = ctypes.string_at(vec.data, vec.size) if vec.size else b""
    api.bytes_delete(ctypes.addressof(vec))
    return content


def take_error(error: int) -> str:
    """The message of a `wasmtime_error_t`, which is freed."""
    vec = ByteVec()
    api.error_message(error, ctypes.addressof(vec))
    api.error_delete(error)
    return take_bytes(vec).decode("utf-8", "replace")


def take_trap(trap: int) -> tuple[int | None, str]:
    """The code (None for a trap that the host made) and message of a `wasm_trap_t`, which is freed."""
    code, vec = c_uint8(), ByteVec()
    known = api.trap_code(trap, ctypes.addressof(code))
    api.trap_message(trap, ctypes.addressof(vec))
    api.trap_delete(trap)
    return (code.value if known else None), take_bytes(vec).rstrip(b"\0").decode("utf-8", "replace")


def new_trap(message: bytes) -> int:
    """A trap for a callback to answer with; wasmtime frees it."""
    return api.trap_new(message, len(message))  # type: ignore[no-any-return]


def wat2wasm(text: str) -> bytes:
    """The binary of a module or component in text form.

    Raises:
        InvalidModule: the text does not parse.
    """
    source, vec = text.encode(), ByteVec()
    error = api.wat2wasm(source, len(source), ctypes.addressof(vec))
    if error:
        raise InvalidModule(take_error(error))
    return take_bytes(vec)


class ValueKind:
    """`wasm_valkind_t`, and how each is written."""

    I32, I64, F32, F64, V128, EXTERNREF, FUNCREF = 0, 1, 2, 3, 4, 128, 129
    NAMES = {0: "i32", 1: "i64", 2: "f32", 3: "f64", 4: "v128", 128: "externref", 129: "funcref"}  # noqa: RUF012


class ExternKind:
    """`wasm_externkind_t`."""

    FUNCTION, GLOBAL, TABLE, MEMORY, TAG = 0, 1, 2, 3, 4


class FunctionType(NamedTuple):
    """The kinds of a function's parameters and results."""

    params: tuple[int, ...]
    results: tuple[int, ...]

    def __str__(self) -> str:
        params = ", ".join(ValueKind.NAMES.get(kind, "ref") for kind in self.params)
        results = ", ".join(ValueKind.NAMES.get(kind, "ref") for kind in self.results)
        return f"func({params})" + (f" -> {results}" if results else "")


class ExternType(NamedTuple):
    """The type of an import or export: of a function, or the size of a table (elements) or memory (pages)."""

    kind: int
    function: FunctionType | None = None
    minimum: int = 0

    def __str__(self) -> str:
        if self.function is not None:
            return str(self.function)
        name = {1: "global", 2: "table", 3: "memory"}.get(self.kind, "tag")
        return f"{name}({self.minimum})" if self.kind in (2, 3) else name


class NamedType(NamedTuple):
    """An import (with the name of its module) or an export (without)."""

    module: str
    name: str
    type: ExternType


def _addresses(vec_address: int) -> Iterator[int]:
    vec = _PointerVec.from_address(vec_address)
    for index in range(vec.size):
        yield vec.data[index] or 0


def _kinds(valtypes: int) -> tuple[int, ...]:
    return tuple(api.valtype_kind(address) for address in _addresses(valtypes))


def _extern_type(address: int) -> ExternType:
    kind = api.externtype_kind(address)
    if kind == ExternKind.FUNCTION:
        function = api.as_functype(address)
        return ExternType(
            kind, FunctionType(_kinds(api.functype_params(function)), _kinds(api.functype_results(function)))
        )
    if kind == ExternKind.TABLE:
        return ExternType(kind, minimum=api.tabletype_limits(api.as_tabletype(address))[0])
    if kind == ExternKind.MEMORY:
        return ExternType(kind, minimum=api.memorytype_minimum(api.as_memorytype(address)))
    return ExternType(kind)


def import_types(module: int) -> tuple[NamedType, ...]:
    """What a module imports, in its order."""
    vec = _PointerVec()
    api.module_imports(module, ctypes.addressof(vec))
    found = tuple(
        NamedType(
            _text_at(api.importtype_module(address)),
            _text_at(api.importtype_name(address)),
            _extern_type(api.importtype_type(address)),
        )
        for address in _addresses(ctypes.addressof(vec))
    )
    api.importtypes_delete(ctypes.addressof(vec))
    return found


def export_types(module: int) -> tuple[NamedType, ...]:
    """What a module exports, in its order."""
    vec = _PointerVec()
    api.module_exports(module, ctypes.addressof(vec))
    found = tuple(
        NamedType("", _text_at(api.exporttype_name(address)), _extern_type(api.exporttype_type(address)))
        for address in _addresses(ctypes.addressof(vec))
    )
    api.exporttypes_delete(ctypes.addressof(vec))
    return found


def _valtype_vec(kinds: Sequence[int]) -> _PointerVec:
    vec = _PointerVec()
    owned = (c_void_p * len(kinds))(*(api.valtype_new(kind) for kind in kinds))
    api.valtypes_new(ctypes.addressof(vec), len(kinds), ctypes.addressof(owned))
    return vec


def new_function_type(type_: FunctionType) -> int:
    """A `wasm_functype_t`, to be freed with `api.functype_delete`."""
    params, results = _valtype_vec(type_.params), _valtype_vec(type_.results)
    return api.functype_new(ctypes.addressof(params), ctypes.addressof(results))  # type: ignore[no-any-return]
