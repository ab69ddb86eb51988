"""What WebAssembly may do here: the features that are on, the ones that are off, the engines made from that.

Two flavours of engine: with and without fuel. Fuel costs guests about a tenth of their speed, so only a job
that asks for it is compiled with it.
"""

from enum import StrEnum
from typing import Final

from jobico import limits
from jobico.sandbox.bindings import api, config_setter, pool_setter

__all__ = ["FEATURES_OFF", "FEATURES_ON", "POOL", "Flavour", "config_tag", "new_engine"]


class Flavour(StrEnum):
    """What an engine counts besides time."""

    PLAIN = "plain"
    FUEL = "fuel"


# SECURITY: each proposal that is on is code in the compiler and the runtime that a hostile module can reach.
# On is what the toolchains of `docs/guests.md` emit; the rest is off, asserted by a test that such modules
# are refused.
FEATURES_ON: Final = (
    "wasm_bulk_memory",
    "wasm_component_model",
    "wasm_multi_value",
    "wasm_reference_types",
    "wasm_simd",
)
FEATURES_OFF: Final = (
    "wasm_component_model_async",
    "wasm_component_model_async_stackful",
    "wasm_component_model_more_async_builtins",
    "wasm_custom_page_sizes",
    "wasm_exceptions",
    "wasm_function_references",
    "wasm_gc",
    "wasm_memory64",
    "wasm_multi_memory",
    "wasm_relaxed_simd",
    "wasm_stack_switching",
    "wasm_tail_call",
    "wasm_threads",
    "wasm_wide_arithmetic",
    "gc_support",
    "shared_memory",
)
_CRANELIFT: Final = 1
_OPTIMISE_SPEED: Final = 1
_KEEP_RESIDENT_BYTES: Final = 128 * limits.KIB

# One guest at a time; a component is several core instances with their memories and tables.
POOL: Final = {
    "total_component_instances": 4,
    "total_core_instances": 64,
    "total_memories": 8,
    "total_tables": 64,
    "max_core_instances_per_component": 48,
    "max_memories_per_component": 6,
    "max_tables_per_component": 48,
    "max_memories_per_module": 1,
    "max_tables_per_module": 16,
    "max_core_instance_size": 1 * limits.MIB,
    "max_component_instance_size": 1 * limits.MIB,
    "table_elements": limits.GUEST_TABLE_ELEMENTS_MAX,
    "max_memory_size": limits.GUEST_MEMORY_BYTES_MAX,
    # PERF: zeroing what a small guest touched is faster than giving its pages back: 13 µs an event against
    # 35.
    "linear_memory_keep_resident": _KEEP_RESIDENT_BYTES,
    "table_keep_resident": 16 * limits.KIB,
    "max_unused_warm_slots": 8,
}


def _new_config(flavour: Flavour) -> int:
    config: int = api.config_new()
    for name in FEATURES_ON:
        config_setter(name)(config, True)
    for name in FEATURES_OFF:
        config_setter(name)(config, False)
    api.config_strategy_set(config, _CRANELIFT)
    api.config_opt_level_set(config, _OPTIMISE_SPEED)
    config_setter("epoch_interruption")(config, True)
    config_setter("consume_fuel")(config, flavour is Flavour.FUEL)
    config_setter("max_wasm_stack")(config, limits.GUEST_STACK_BYTES)
    config_setter("memory_init_cow")(config, True)
    config_setter("native_unwind_info")(config, False)
    return config


def new_engine(flavour: Flavour, *, pooled: bool) -> int:
    """An engine, to be freed with `api.engine_delete`.

    Args:
        flavour: Whether guests count fuel.
        pooled: Whether it can run guests at speed, from slots set up in advance; these reserve terabytes of
            address space, so a process that only compiles, with a bound on that, goes without.
    """
    config = _new_config(flavour)
    if pooled:
        pool = api.pool_new()
        for name, value in POOL.items():
            pool_setter(name)(pool, value)
        api.pool_use(config, pool)
        api.pool_delete(pool)
    engine: int = api.engine_new(config)
    assert engine, "wasmtime refused the engine's configuration"
    return engine


def config_tag() -> str:
    """What compiled code depends on besides the module and wasmtime: part of the names in the cache."""
    return f"v1-{len(FEATURES_ON)}-{limits.GUEST_STACK_BYTES}"
