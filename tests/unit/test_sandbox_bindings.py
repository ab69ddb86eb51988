"""The door to wasmtime: layouts, options, versions."""

import ctypes
from importlib.metadata import requires, version

import pytest
import wasmtime
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version
from wasmtime import _ffi as shipped

from jobico import limits
from jobico.sandbox import bindings, component_api
from jobico.sandbox.bindings import FunctionType, ValueKind, api, config_setter, pool_setter, wat2wasm
from jobico.sandbox.component_host import WASI_VERSION
from jobico.sandbox.config import FEATURES_OFF, FEATURES_ON, POOL, Flavour, new_engine

# Published faults of wasmtime by which a guest could reach or harm its host, and the first version of our
# line that has none of it. A new one is added here first; where that fails, the pin moves.
ADVISORIES = {
    "CVE-2026-34971: heap accesses of a guest go astray on aarch64": "43.0.1",
    "RUSTSEC-2026-0088: the pooling allocator leaks data between instances": "43.0.1",
    "RUSTSEC-2026-0114: a huge table panics the host": "44.0.1",
    "RUSTSEC-2026-0222: stores mix up types between engines": "47.0.3",
    "GHSA-vqjp-4c8c-hfgg: paths escape the file system sandbox (2026-08-20)": "49.0.0",
}


def test_layouts_are_those_that_wasmtime_ships() -> None:
    assert ctypes.sizeof(shipped.wasmtime_extern_t) == bindings.EXTERN_BYTES
    assert shipped.wasmtime_extern_t.of.offset == bindings.EXTERN_OF
    assert ctypes.sizeof(shipped.wasmtime_val_raw_t) == bindings.VALUE_BYTES
    assert ctypes.sizeof(shipped.wasmtime_instance_t) == ctypes.sizeof(bindings.Instance)
    assert ctypes.sizeof(shipped.wasm_byte_vec_t) == ctypes.sizeof(bindings.ByteVec)
    assert ctypes.sizeof(shipped.wasmtime_component_val_t) == ctypes.sizeof(component_api.Value) == 32
    assert shipped.wasmtime_component_val_t.of.offset == component_api.Value.a.offset
    assert ctypes.sizeof(shipped.wasmtime_component_valrecord_entry_t) == ctypes.sizeof(component_api._Entry)
    assert ctypes.sizeof(shipped.wasmtime_component_func_t) == ctypes.sizeof(component_api.ComponentFunction)
    assert ctypes.sizeof(shipped.wasmtime_component_instance_t) == ctypes.sizeof(
        component_api.ComponentInstance
    )


@pytest.mark.parametrize("kind", ["U8", "U32", "U64", "STRING", "LIST", "RECORD", "ENUM", "RESULT"])
def test_kinds_of_component_values_are_those_that_wasmtime_ships(kind: str) -> None:
    assert getattr(component_api, kind) == getattr(shipped, f"WASMTIME_COMPONENT_{kind}").value


def test_a_misspelt_option_is_an_error() -> None:
    with pytest.raises(AttributeError):
        config_setter("wasm_thread")
    with pytest.raises(AttributeError):
        pool_setter("total_memory")


def test_every_feature_is_said_to_be_on_or_off() -> None:
    """A feature that a new wasmtime brings fails this test until somebody decides on it."""
    prefix, suffix = "wasmtime_config_", "_set"
    offered = {
        name.removeprefix(prefix).removesuffix(suffix)
        for name in dir(shipped)
        if name.startswith(prefix + "wasm_") and name.endswith(suffix)
    }
    harmless = {
        "wasm_relaxed_simd_deterministic",  # how relaxed SIMD works, which is off
        "wasm_branch_hinting",  # a custom section that only compilers read
        "wasm_compact_imports",
        "wasm_component_model_map",
        "wasm_component_model_implements",
        "wasm_component_model_canonical_names",
        "wasm_component_model_accessors",
    }
    assert offered - harmless == {name for name in (*FEATURES_ON, *FEATURES_OFF) if name.startswith("wasm_")}


def test_the_pool_is_as_large_as_the_limits_say() -> None:
    assert POOL["max_memory_size"] == limits.GUEST_MEMORY_BYTES_MAX
    assert POOL["table_elements"] == limits.GUEST_TABLE_ELEMENTS_MAX
    assert POOL["max_memories_per_module"] == 1


@pytest.mark.parametrize("flavour", Flavour)
@pytest.mark.parametrize("pooled", [False, True])
def test_engines_are_made_and_freed(flavour: Flavour, pooled: bool) -> None:
    for _ in range(3):
        api.engine_delete(new_engine(flavour, pooled=pooled))


def _pin() -> SpecifierSet:
    requirements = map(Requirement, requires("jobico") or [])
    return next(item.specifier for item in requirements if item.name == "wasmtime" and item.marker is None)


@pytest.mark.parametrize("advisory", ADVISORIES)
def test_wasmtime_is_pinned_past_the_known_advisories(advisory: str) -> None:
    fixed = Version(ADVISORIES[advisory])
    assert Version(version("wasmtime")) >= fixed
    assert not any(
        _pin().contains(f"{major}.{minor}.0") for major in range(fixed.major) for minor in range(3)
    )


def test_wasmtime_is_pinned_to_one_major_version() -> None:
    """The layouts and names of its C API may change with each."""
    installed = Version(version("wasmtime"))
    assert _pin().contains(installed)
    assert not _pin().contains(f"{installed.major + 1}.0.0")


def test_the_wasi_that_is_narrowed_is_the_wasi_that_wasmtime_offers() -> None:
    """`abi_component` replaces parts of WASI by name and version: one that is not there replaces nothing."""
    with open(str(shipped.filename), "rb") as library:
        content = library.read()
    for name in (b"wasi:random/random", b"wasi:sockets/tcp-create-socket"):
        assert name + WASI_VERSION in content


def test_text_that_is_no_module_is_an_error() -> None:
    with pytest.raises(Exception, match="expected"):
        wat2wasm("(module")


def test_function_types_read_like_webassembly() -> None:
    i32, i64 = ValueKind.I32, ValueKind.I64
    assert str(FunctionType((i32, i64), (i32,))) == "func(i32, i64) -> i32"
    assert str(FunctionType((), ())) == "func()"


def test_wasmtime_is_reached_through_one_door() -> None:
    assert version("wasmtime") == bindings.VERSION
    assert wasmtime.Engine is not None
