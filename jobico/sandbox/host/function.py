"""The shape of a host function, and its way into wasmtime: a callback that never raises."""

import ctypes
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from jobico.sandbox.attempt import Stop, current
from jobico.sandbox.bindings import VALUE_BYTES, FunctionType, RawCallback, ValueKind, new_trap

__all__ = ["HostFunction", "function_type", "new_callback"]

_KINDS = {"i": ValueKind.I32, "I": ValueKind.I64}
_FORMATS = {ValueKind.I32: "I12x", ValueKind.I64: "Q8x"}


class HostFunction(NamedTuple):
    """A function that core modules may import; `call` gets the attempt and unsigned integers."""

    module: str
    name: str
    type: FunctionType
    call: Callable[..., int | None]


def function_type(signature: str) -> FunctionType:
    """A type written as its parameters, a colon and its results; `i` is i32, `I` is i64."""
    params, _, results = signature.partition(":")
    return FunctionType(tuple(_KINDS[kind] for kind in params), tuple(_KINDS[kind] for kind in results))


def new_callback(function: HostFunction) -> Any:
    """A callback for wasmtime that calls `function`; the caller keeps it alive as long as the engine."""
    call, has_result = function.call, bool(function.type.results)
    unpack = struct.Struct("<" + "".join(_FORMATS[kind] for kind in function.type.params)).unpack_from
    view = ctypes.c_char * (VALUE_BYTES * max(1, len(function.type.params)))

    def callback(_environment: int, caller: int, arguments: int, _count: int) -> int | None:
        attempt = current()
        try:
            if not attempt.memory.handle:
                attempt.memory.attach(caller)
            result = call(attempt, *unpack(view.from_address(arguments)))
            if has_result:
                ctypes.c_uint64.from_address(arguments).value = result or 0
        except Stop as stop:
            attempt.stop = attempt.stop or stop
        except (
            BaseException
        ) as error:  # SAFETY: an exception must not cross wasmtime; `engine` raises it again
            attempt.host_error = attempt.host_error or error
        else:
            return None
        return new_trap(b"ended by the host")

    return RawCallback(callback)
