"""What a component may call: the twins of the host functions, and the parts of WASI that are Jobico's own.

The rest of WASI preview 2 is wasmtime's. Owns the callbacks of components, which never raise and which look
at the kind of every value before they read it.

SECURITY: wasmtime hands a callback whatever the component says it imports. A component may import `log` as a
function of two numbers; read as strings these would be addresses of its choice.
"""

import ctypes
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from jobico import limits
from jobico.event import LogLevel, Outcome
from jobico.sandbox import component_api as values
from jobico.sandbox.attempt import Attempt, Stop, current
from jobico.sandbox.bindings import api
from jobico.sandbox.component_api import CALLBACK, OUTPUT_CALLBACK, Value
from jobico.sandbox.host.emit import EmitStatus, emit

__all__ = [
    "COMPONENT_FUNCTIONS",
    "WASI_VERSION",
    "ComponentHostFunction",
    "new_component_callback",
    "new_output",
    "unoffered",
]

# The version of WASI that the pinned wasmtime offers; a test fails when that moves.
WASI_VERSION: Final = b"@0.2.12"
_HOST: Final = b"jobico:jobicolet/host@0.1.0"
_TYPES: Final = b"jobico:jobicolet/types@0.1.0"
_OFFERED: Final = re.compile(
    r"jobico:jobicolet/(host|types)@0\.1\.\d+|wasi:(cli|clocks|filesystem|io|random|sockets)/[a-z-]+@0\.2\.\d+"
)
_RANDOM_BLOCK_BYTES: Final = 65_536
_EVENT_NAME_BYTES_MAX: Final = 256
_LEVELS: Final = {level.value.encode(): level for level in LogLevel}
_EMIT_ERRORS: Final = {
    EmitStatus.DENIED: b"denied",
    EmitStatus.TOO_MANY: b"too-many",
    EmitStatus.NOT_JSON: b"not-json",
}


class ComponentHostFunction(NamedTuple):
    """A function for components: the kinds of its parameters, whether it has a result, and what it does."""

    params: tuple[int, ...]
    has_result: bool
    call: Callable[[Attempt, list[Value], Value], None]


def unoffered(imports: list[str]) -> list[str]:
    """Those of a component's imports that the host does not have."""
    return [name for name in imports if not _OFFERED.fullmatch(name)]


def _log(attempt: Attempt, arguments: list[Value], _result: Value) -> None:
    level, message = arguments
    kept = values.read_text(message, attempt.logs.bytes_left)
    cut = len(kept) < values.read_size(message)
    attempt.logs.add(_LEVELS.get(values.read_text(level), LogLevel.NONE), kept, cut=cut)


def _emit(attempt: Attempt, arguments: list[Value], result: Value) -> None:
    event, payload = arguments
    if values.read_size(payload) > limits.GUEST_EMITS_BYTES_MAX:
        status = EmitStatus.TOO_MANY
    else:
        content = values.read_bytes(payload)
        if content is None:
            raise _wrong_type("emit")
        status = emit(attempt, values.read_text(event, _EVENT_NAME_BYTES_MAX), content)
    values.owned_result(result, _EMIT_ERRORS.get(status))


def _random_bytes(attempt: Attempt, arguments: list[Value], result: Value) -> None:
    size = arguments[0].a
    if size > limits.MIB:
        raise Stop(Outcome.ABI_ERROR, f"{size} random bytes were asked for; at most {limits.MIB} are given.")
    blocks = (min(_RANDOM_BLOCK_BYTES, size - at) for at in range(0, size, _RANDOM_BLOCK_BYTES))
    values.owned_bytes(result, b"".join(attempt.random.take(block) for block in blocks))


def _random_u64(attempt: Attempt, _arguments: list[Value], result: Value) -> None:
    result.kind, result.a = values.U64, int.from_bytes(attempt.random.take(8), "little")


def _no_socket(_attempt: Attempt, _arguments: list[Value], result: Value) -> None:
    values.owned_result(result, b"access-denied")


_RANDOM_BYTES: Final = ComponentHostFunction((values.U64,), True, _random_bytes)
_RANDOM_U64: Final = ComponentHostFunction((), True, _random_u64)
_NO_SOCKET: Final = ComponentHostFunction((values.ENUM,), True, _no_socket)

COMPONENT_FUNCTIONS: Final[dict[bytes, dict[bytes, ComponentHostFunction]]] = {
    _HOST: {
        b"emit": ComponentHostFunction((values.STRING, values.LIST), True, _emit),
        b"log": ComponentHostFunction((values.ENUM, values.STRING), False, _log),
    },
    _TYPES: {},
    b"wasi:random/random" + WASI_VERSION: {
        b"get-random-bytes": _RANDOM_BYTES,
        b"get-random-u64": _RANDOM_U64,
    },
    b"wasi:random/insecure" + WASI_VERSION: {
        b"get-insecure-random-bytes": _RANDOM_BYTES,
        b"get-insecure-random-u64": _RANDOM_U64,
    },
    # SECURITY: wasmtime would make the socket and refuse each address; here there is none to begin with.
    b"wasi:sockets/tcp-create-socket" + WASI_VERSION: {b"create-tcp-socket": _NO_SOCKET},
    b"wasi:sockets/udp-create-socket" + WASI_VERSION: {b"create-udp-socket": _NO_SOCKET},
}
"""What is defined for components, by instance and name."""


def _wrong_type(name: str) -> Stop:
    return Stop(Outcome.ABI_ERROR, f"The component imports {name} with another type than it has.")


def new_component_callback(name: bytes, function: ComponentHostFunction) -> Any:
    """A callback for wasmtime that calls `function`; the caller keeps it alive as long as the engine."""
    params, result_count = function.params, int(function.has_result)

    def callback(*raw: int) -> int:
        _environment, _context, _type, arguments, count, results, results_asked = raw
        attempt = current()
        try:
            given = list((Value * count).from_address(arguments)) if count else []
            if tuple(value.kind for value in given) != params or results_asked != result_count:
                raise _wrong_type(name.decode())
            function.call(attempt, given, Value.from_address(results) if result_count else Value())
        except Stop as stop:
            attempt.stop = attempt.stop or stop
        except BaseException as error:  # SAFETY: it must not cross wasmtime; `engine` raises it again
            attempt.host_error = attempt.host_error or error
        else:
            return 0
        return api.error_new(b"ended by the host")  # type: ignore[no-any-return]

    return CALLBACK(callback)


def new_output(stream: int) -> Any:
    """Where WASI sends a standard stream: the attempt's log lines. It may call from a thread of its own."""

    def callback(_environment: int, piece: int, size: int) -> int:
        try:
            logs = current().logs
            logs.write(stream, ctypes.string_at(piece, min(size, logs.bytes_left + 1)))
        except BaseException:  # SAFETY: it must not cross wasmtime; the line is lost, the guest goes on
            return size
        return size

    return OUTPUT_CALLBACK(callback)
