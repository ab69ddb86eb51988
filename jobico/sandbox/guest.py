"""One instance of a core module in a store of its own: made for one attempt, gone after it.

Owns the store, the calls into the guest, and the reading of how they ended. Knows no ABI.
"""

import ctypes
import re
from ctypes import c_uint64, c_void_p
from typing import Final, NamedTuple

from jobico import limits
from jobico.event import Outcome
from jobico.sandbox.attempt import Attempt, Stop
from jobico.sandbox.bindings import (
    EXTERN_BYTES,
    EXTERN_OF,
    FunctionType,
    Instance,
    ValueKind,
    api,
    take_error,
    take_trap,
)

__all__ = [
    "TRAP_INTERRUPT",
    "TRAP_OTHER",
    "TRAP_OUT_OF_FUEL",
    "TRAP_UNREACHABLE",
    "Entry",
    "Guest",
    "Store",
    "entry_of",
    "stop_of_exit",
    "stop_of_failure",
    "stop_of_time",
]

_ARGUMENTS_MAX: Final = 8
_EXPORTS_MAX: Final = 8
_MASKS: Final = {ValueKind.I32: 0xFFFF_FFFF, ValueKind.I64: 0xFFFF_FFFF_FFFF_FFFF}
_CAUSE: Final = re.compile(r"wasm trap: (.+)")
_LINES_LOOKED_AT: Final = 16
_SIGNS_OF_NO_MEMORY: Final = ("memory allocation of", "MemoryError", "out of memory")
TRAP_UNREACHABLE, TRAP_INTERRUPT, TRAP_OUT_OF_FUEL, TRAP_OTHER = 9, 10, 11, 255


class Entry(NamedTuple):
    """How to call an exported function: its name, how many raw values, which bits of its result count."""

    name: bytes
    values: int
    mask: int


def entry_of(name: str, type_: FunctionType) -> Entry:
    """How to call an export of that type; its parameters and result are integers, `abi_*` has checked."""
    mask = _MASKS[type_.results[0]] if type_.results else 0
    return Entry(name.encode(), max(1, len(type_.params), len(type_.results)), mask)


class Store:
    """A wasmtime store, a new one for each attempt: its limits, its time, its fuel."""

    def __init__(self, engine: int) -> None:
        self.engine = engine
        self.context = 0
        self.memories = 1  # how many it may have; they share the attempt's bound evenly
        self._attempt: Attempt | None = None
        self._store = 0
        self._fuel_set = 0

    @property
    def attempt(self) -> Attempt:
        """The attempt it is open for."""
        assert self._attempt is not None
        return self._attempt

    def open(self, attempt: Attempt) -> None:
        """Makes the store, with the attempt's limits, and starts its time."""
        bounds = attempt.spec.limits
        self._store = api.store_new(self.engine, None, None)
        self.context = api.store_context(self._store)
        memory_bytes = bounds.memory_bytes // self.memories
        api.store_limiter(self._store, memory_bytes, limits.GUEST_TABLE_ELEMENTS_MAX, -1, -1, self.memories)
        self._attempt = attempt
        self._fuel_set = bounds.fuel
        if bounds.fuel:
            api.set_fuel(self.context, bounds.fuel)
        attempt.deadline.begin(self.engine, self.context, bounds.time_ms)

    def close(self) -> None:
        """Ends its time and frees all that it had."""
        self.attempt.deadline.end()
        self.attempt.memory.handle = 0
        api.store_delete(self._store)
        self._attempt, self.context, self._store = None, 0, 0

    def fuel_used(self) -> int:
        """How much fuel the guest has burnt; 0 where it isn't counted."""
        if not self._fuel_set:
            return 0
        left = c_uint64()
        api.get_fuel(self.context, ctypes.addressof(left))
        return self._fuel_set - left.value


class Guest(Store):
    """A store and an instance of a core module in it.

    PERF: buffers are made once and used for one attempt after the other; there is one guest at a time.
    """

    def __init__(self, engine: int) -> None:
        super().__init__(engine)
        self._instance = Instance()
        self._exports = ctypes.create_string_buffer(EXTERN_BYTES * _EXPORTS_MAX)
        self._values = (c_uint64 * (2 * _ARGUMENTS_MAX))()
        self._trap = c_void_p()

    def instantiate(self, instance_pre: int) -> None:
        """Makes the instance, which runs the module's start function.

        Raises:
            Stop: it did not come to be.
        """
        self._trap.value = None
        error = api.instantiate(
            instance_pre, self.context, ctypes.addressof(self._instance), ctypes.addressof(self._trap)
        )
        if error or self._trap.value:
            self._fail(error)

    def export(self, name: bytes, index: int) -> int:
        """The address of an exported function, kept in slot `index`; the export is known to be there."""
        extern = ctypes.addressof(self._exports) + EXTERN_BYTES * index
        found = api.export_get(self.context, ctypes.addressof(self._instance), name, len(name), extern)
        assert found, f"the instance lacks {name!r}"
        return extern + EXTERN_OF

    def bind_memory(self) -> None:
        """Tells the attempt where the instance's memory is."""
        memory = self.attempt.memory
        memory.context, memory.handle = self.context, self.export(b"memory", _EXPORTS_MAX - 1)

    def call(self, function: int, entry: Entry, *arguments: int) -> int:
        """Calls an exported function with integers; answers its unsigned result, 0 where it has none.

        Raises:
            Stop: it did not return.
        """
        values = self._values
        for index, argument in enumerate(arguments):
            values[2 * index] = argument
        self._trap.value = None
        error = api.call(
            self.context, function, ctypes.addressof(values), entry.values, ctypes.addressof(self._trap)
        )
        if error or self._trap.value:
            self._fail(error)
        return values[0] & entry.mask

    def _fail(self, error: int | None) -> None:
        code, message = (None, take_error(error)) if error else take_trap(self._trap.value or 0)
        raise stop_of_failure(self.attempt, code, message)


def stop_of_failure(attempt: Attempt, code: int | None, message: str) -> Stop:
    """What a trap or an error of wasmtime means for the attempt."""
    bounds = attempt.spec.limits
    if attempt.deadline.aborted:
        return stop_of_time(attempt)
    if attempt.stop is not None:
        return attempt.stop
    if code == TRAP_INTERRUPT:
        stop = stop_of_time(attempt)
    elif code == TRAP_OUT_OF_FUEL:
        stop = Stop(Outcome.OUT_OF_FUEL, f"The guest used up its fuel of {bounds.fuel} (limits.fuel).")
    elif code is None:
        exceeded = "exceeds" in message and "limit" in message
        stop = Stop(Outcome.OUT_OF_MEMORY if exceeded else Outcome.ABI_ERROR, message)
    elif code == TRAP_UNREACHABLE and is_memory_spent(attempt):
        text = f"The guest ran out of its {bounds.memory_bytes} bytes of memory (limits.memory)"
        stop = Stop(Outcome.OUT_OF_MEMORY, f"{text}: {_readable(message)}")
    else:
        stop = Stop(Outcome.TRAP, _readable(message))
    return stop


def _readable(message: str) -> str:
    """A trap's message with the cause before the backtrace."""
    backtrace, _, causes = message.partition("Caused by:")
    trap = _CAUSE.search(causes)
    cause = trap[1] if trap else causes.strip()
    return f"{cause}\n{backtrace.strip()}" if cause else message.strip()


def stop_of_time(attempt: Attempt) -> Stop:
    """How an attempt ends that was aborted, or whose time is over."""
    if attempt.deadline.aborted:
        return Stop(Outcome.CANCELLED, "The attempt was aborted.")
    bound_ms = attempt.spec.limits.time_ms
    return Stop(Outcome.TIMEOUT, f"The guest ran longer than its {bound_ms} ms (limits.time).")


def stop_of_exit(attempt: Attempt, code: int) -> Stop:
    """How an attempt ends whose guest exited where it should have returned a result."""
    attempt.logs.flush()
    if code == 0:
        return Stop(Outcome.ABI_ERROR, "The guest exited before it gave a result.")
    last = attempt.logs.lines[-1].message.strip() if attempt.logs.lines else ""
    return Stop(Outcome.FAILED, last or f"The guest exited with code {code}.", code=code)


def is_memory_spent(attempt: Attempt) -> bool:
    """True if a guest that gave up did so for want of memory, as far as can be told.

    NOTE: wasmtime's C API does not tell that a growth was refused. A guest that ran out has grown past half
    of its bound (allocators at most double), or its language said so on standard error. What a guest makes
    up here changes the name of its own failure and nothing else.
    """
    if attempt.memory.size_bytes * 2 > attempt.spec.limits.memory_bytes:
        return True
    attempt.logs.flush()
    last = attempt.logs.lines[-_LINES_LOOKED_AT:]
    return any(sign in line.message for line in last for sign in _SIGNS_OF_NO_MEMORY)
