"""The component half of wasmtime's C API: what `bindings` is for core modules.

Owns the prototypes and the layouts of component values, their making and their reading. Values that go in
are laid out in buffers of our own, which wasmtime reads and does not keep; values that come out are
wasmtime's until deleted.

PERF: a `list<u8>` is an array of 32-byte values in this API, one a byte. It is filled and read with one
strided copy, which takes 5 ms for 1 MiB; wasmtime-py converts value by value, in half a second.
"""

import ctypes
from collections.abc import Iterator
from ctypes import c_bool, c_char_p, c_size_t, c_ssize_t, c_uint8, c_uint32, c_uint64, c_void_p
from typing import Any, Final, NamedTuple

from jobico.sandbox.bindings import ByteVec, brief, slow

__all__ = [
    "CALLBACK",
    "OUTPUT_CALLBACK",
    "ComponentFunction",
    "ComponentInstance",
    "Handle",
    "Value",
    "component_api",
    "component_names",
    "fill_bytes",
    "fill_record",
    "fill_text",
    "fill_u32",
    "owned_bytes",
    "owned_result",
    "owned_text",
    "read_bytes",
    "read_fields",
    "read_result",
    "read_size",
    "read_text",
]

U8, U32, U64, STRING, LIST, RECORD, ENUM, RESULT = 2, 6, 8, 12, 13, 14, 17, 19
_VALUE_BYTES: Final = 32
_OF: Final = 8


class Value(ctypes.Structure):
    """`wasmtime_component_val_t`: a kind, and up to three words by that kind."""

    _fields_ = (("kind", c_uint8), ("a", c_uint64), ("b", c_uint64), ("c", c_uint64))


class _Entry(ctypes.Structure):
    """`wasmtime_component_valrecord_entry_t`."""

    _fields_ = (("name", ByteVec), ("value", Value))


class ComponentInstance(ctypes.Structure):
    """`wasmtime_component_instance_t`."""

    _fields_ = (("store_id", c_uint64), ("private", c_uint32))


class ComponentFunction(ctypes.Structure):
    """`wasmtime_component_func_t`."""

    _fields_ = (("store_id", c_uint64), ("private", c_uint64 * 3))


CALLBACK = ctypes.CFUNCTYPE(c_size_t, c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_size_t)
"""`wasmtime_component_func_callback_t`: environment, context, type, arguments, count, results, count."""

OUTPUT_CALLBACK = ctypes.CFUNCTYPE(c_ssize_t, c_void_p, c_void_p, c_size_t)
"""What WASI calls with a piece of standard output or error; answers how much it took."""


class _ComponentApi:
    """The functions used, by their C names less the prefix `wasmtime_component_`."""

    new = slow("wasmtime_component_new", c_void_p, c_void_p, c_char_p, c_size_t, c_void_p)
    delete = slow("wasmtime_component_delete", None, c_void_p)
    serialize = slow("wasmtime_component_serialize", c_void_p, c_void_p, c_void_p)
    deserialize_file = slow("wasmtime_component_deserialize_file", c_void_p, c_void_p, c_char_p, c_void_p)
    type_of = slow("wasmtime_component_type", c_void_p, c_void_p)
    type_delete = slow("wasmtime_component_type_delete", None, c_void_p)
    import_count = slow("wasmtime_component_type_import_count", c_size_t, c_void_p, c_void_p)
    import_nth = slow(
        "wasmtime_component_type_import_nth",
        c_bool,
        c_void_p,
        c_void_p,
        c_size_t,
        c_void_p,
        c_void_p,
        c_void_p,
    )
    export_count = slow("wasmtime_component_type_export_count", c_size_t, c_void_p, c_void_p)
    export_nth = slow(
        "wasmtime_component_type_export_nth",
        c_bool,
        c_void_p,
        c_void_p,
        c_size_t,
        c_void_p,
        c_void_p,
        c_void_p,
    )
    extern_delete = slow("wasmtime_component_extern_delete", None, c_void_p)
    export_index = slow(
        "wasmtime_component_get_export_index", c_void_p, c_void_p, c_void_p, c_char_p, c_size_t
    )
    export_index_delete = slow("wasmtime_component_export_index_delete", None, c_void_p)
    linker_new = slow("wasmtime_component_linker_new", c_void_p, c_void_p)
    linker_delete = slow("wasmtime_component_linker_delete", None, c_void_p)
    linker_allow_shadowing = slow("wasmtime_component_linker_allow_shadowing", None, c_void_p, c_bool)
    linker_root = slow("wasmtime_component_linker_root", c_void_p, c_void_p)
    linker_add_wasi = slow("wasmtime_component_linker_add_wasip2", c_void_p, c_void_p)
    linker_instantiate = slow(
        "wasmtime_component_linker_instantiate", c_void_p, c_void_p, c_void_p, c_void_p, c_void_p
    )
    names_add_instance = slow(
        "wasmtime_component_linker_instance_add_instance", c_void_p, c_void_p, c_char_p, c_size_t, c_void_p
    )
    names_add_function = slow(
        "wasmtime_component_linker_instance_add_func",
        c_void_p, c_void_p, c_char_p, c_size_t, CALLBACK, c_void_p, c_void_p,
    )  # fmt: skip
    names_delete = slow("wasmtime_component_linker_instance_delete", None, c_void_p)
    get_function = slow(
        "wasmtime_component_instance_get_func", c_bool, c_void_p, c_void_p, c_void_p, c_void_p
    )
    call = slow(
        "wasmtime_component_func_call", c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_size_t
    )
    value_new = slow("wasmtime_component_val_new", c_void_p, c_void_p)
    value_delete = slow("wasmtime_component_val_delete", None, c_void_p)
    list_new = slow("wasmtime_component_vallist_new", None, c_void_p, c_size_t, c_void_p)
    bytes_new = slow("wasm_byte_vec_new", None, c_void_p, c_size_t, c_char_p)
    wasi_config_new = slow("wasi_config_new", c_void_p)
    wasi_set_argv = slow("wasi_config_set_argv", c_bool, c_void_p, c_size_t, c_void_p)
    wasi_set_env = slow("wasi_config_set_env", c_bool, c_void_p, c_size_t, c_void_p, c_void_p)
    wasi_set_stdout = slow(
        "wasi_config_set_stdout_custom", None, c_void_p, OUTPUT_CALLBACK, c_void_p, c_void_p
    )
    wasi_set_stderr = slow(
        "wasi_config_set_stderr_custom", None, c_void_p, OUTPUT_CALLBACK, c_void_p, c_void_p
    )
    set_wasi = brief("wasmtime_context_set_wasi", c_void_p, c_void_p, c_void_p)


component_api = _ComponentApi()


class Handle(NamedTuple):
    """A name in a component, and whether it is imported."""

    name: str
    imported: bool


def component_names(engine: int, component: int) -> Iterator[Handle]:
    """What a component imports, then what it exports, by name."""
    api = component_api
    type_ = api.type_of(component)
    for count, nth, imported in (
        (api.import_count, api.import_nth, True),
        (api.export_count, api.export_nth, False),
    ):
        for index in range(count(type_, engine)):
            name, size, item = c_void_p(), c_size_t(), c_void_p()
            nth(type_, engine, index, ctypes.addressof(name), ctypes.addressof(size), ctypes.addressof(item))
            yield Handle(ctypes.string_at(name.value or 0, size.value).decode("utf-8", "replace"), imported)
            api.extern_delete(item)
    api.type_delete(type_)


# Values that go in: laid out in buffers that the caller keeps until the call is over.


def fill_u32(value: Value, number: int) -> None:
    """Makes `value` a u32."""
    value.kind, value.a = U32, number


def fill_text(value: Value, text: bytes, kept: list[Any]) -> None:
    """Makes `value` a string, whose bytes are kept in `kept`."""
    kept.append(text)
    value.kind, value.a, value.b = STRING, len(text), _address_of(text)


def _address_of(content: bytes) -> int:
    return ctypes.cast(c_char_p(content), c_void_p).value or 0


def _strided(content: bytes) -> Any:
    raw = bytearray(_VALUE_BYTES * len(content))
    raw[0::_VALUE_BYTES] = bytes((U8,)) * len(content)
    raw[_OF::_VALUE_BYTES] = content
    return (ctypes.c_char * len(raw)).from_buffer(raw)


def fill_bytes(value: Value, content: bytes, kept: list[Any]) -> None:
    """Makes `value` a `list<u8>`, which is kept in `kept`."""
    array = _strided(content)
    kept.append(array)
    value.kind, value.a, value.b = LIST, len(content), ctypes.addressof(array)


def fill_record(value: Value, names: tuple[bytes, ...], kept: list[Any]) -> list[Value]:
    """Makes `value` a record of those fields; answers the values of its fields, to be filled."""
    entries = (_Entry * len(names))()
    kept.append(entries)
    for entry, name in zip(entries, names, strict=True):
        entry.name.size, entry.name.data = len(name), _address_of(name)
    value.kind, value.a, value.b = RECORD, len(names), ctypes.addressof(entries)
    return [entry.value for entry in entries]


# Values that a callback answers: wasmtime takes them over, so it must have allocated them.


def owned_text(value: Value, text: bytes, kind: int = STRING) -> None:
    """Makes `value` a string or an enum's case that wasmtime owns."""
    vec = ByteVec()
    component_api.bytes_new(ctypes.addressof(vec), len(text), text)
    value.kind, value.a, value.b = kind, vec.size, vec.data or 0


def owned_bytes(value: Value, content: bytes) -> None:
    """Makes `value` a `list<u8>` that wasmtime owns."""
    array, vec = _strided(content), ByteVec()
    component_api.list_new(ctypes.addressof(vec), len(content), ctypes.addressof(array))
    value.kind, value.a, value.b = LIST, vec.size, vec.data or 0


def owned_result(value: Value, error_case: bytes | None) -> None:
    """Makes `value` a `result<_, enum>` that wasmtime owns: ok for None."""
    value.kind, value.a, value.b = RESULT, int(error_case is None), 0
    if error_case is not None:
        inner = Value()
        owned_text(inner, error_case, ENUM)
        value.b = component_api.value_new(ctypes.addressof(inner))


# Values that come out. SECURITY: their kinds are what the component declared, which need not be what it
# should have: a caller looks at `kind` before it reads, or it would take a number for an address.


def read_size(value: Value) -> int:
    """How many bytes a string, or elements a list, has."""
    return int(value.a)


def read_text(value: Value, size_max: int = 1 << 31) -> bytes:
    """The first `size_max` bytes of a string or of the name of an enum's case."""
    return ctypes.string_at(value.b, min(value.a, size_max)) if value.a else b""


def read_bytes(value: Value) -> bytes | None:
    """The bytes of a list; None if it is not a `list<u8>`."""
    if not value.a:
        return b""
    raw = ctypes.string_at(value.b, _VALUE_BYTES * value.a)
    return raw[_OF::_VALUE_BYTES] if not raw[0::_VALUE_BYTES].strip(bytes((U8,))) else None


def read_fields(value: Value) -> list[Value]:
    """The fields of a record, in order."""
    return [entry.value for entry in (_Entry * value.a).from_address(value.b)] if value.a else []


def read_result(value: Value) -> tuple[bool, Value | None]:
    """Whether a result is ok, and what it holds, if anything."""
    return bool(value.a & 0xFF), Value.from_address(value.b) if value.b else None
