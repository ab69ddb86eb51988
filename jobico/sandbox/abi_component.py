"""The `component` ABI: the world of `jobicolet.wit`, and WASI preview 2 without capabilities.

Owns what a component is given (`log`, `emit`, WASI with arguments, environment and standard streams that are
logged), the call of `handle` and the reading of its answer. WASI here is wasmtime's: no directory is opened
and the network is not inherited; sockets can't even be made, and random bytes are those of the attempt.

NOTE: a component that sleeps sits in a host call of wasmtime's that no epoch reaches; the executor's
watchdog ends it.
"""

import ctypes
import re
from collections.abc import Callable
from ctypes import c_char_p, c_void_p
from pathlib import Path
from typing import Any, Final, NoReturn

from jobico import limits
from jobico.errors import InvalidModule
from jobico.event import LogLevel, Outcome
from jobico.sandbox import component_api as values
from jobico.sandbox.attempt import Attempt, Stop, current, result_too_large
from jobico.sandbox.bindings import api, take_error
from jobico.sandbox.component_api import (
    CALLBACK,
    OUTPUT_CALLBACK,
    ComponentFunction,
    ComponentInstance,
    Value,
    component_api,
    component_names,
)
from jobico.sandbox.config import POOL, Flavour, new_engine
from jobico.sandbox.guest import (
    TRAP_INTERRUPT,
    TRAP_OTHER,
    TRAP_OUT_OF_FUEL,
    TRAP_UNREACHABLE,
    Store,
    stop_of_exit,
    stop_of_failure,
)
from jobico.sandbox.host.emit import EmitStatus, emit

__all__ = ["HANDLE", "OFFERED_PREFIXES", "ComponentEngine", "ComponentProgram", "unoffered"]

HANDLE: Final = "handle"
OFFERED_PREFIXES: Final = ("jobico:jobicolet/host@0.1.", "jobico:jobicolet/types@0.1.", "wasi:")
_HOST: Final = b"jobico:jobicolet/host@0.1.0"
_TYPES: Final = b"jobico:jobicolet/types@0.1.0"
# The version of WASI that the pinned wasmtime offers; a test fails when that moves.
_WASI_VERSION: Final = b"@0.2.12"
_EVENT_FIELDS: Final = (b"id", b"name", b"tenant", b"attempt", b"payload")
_RANDOM_BLOCK_BYTES: Final = 65_536
_EMIT_ERRORS: Final = {
    EmitStatus.DENIED: b"denied",
    EmitStatus.TOO_MANY: b"too-many",
    EmitStatus.NOT_JSON: b"not-json",
}

_HostCall = Callable[[Attempt, list[Value], list[Value]], None]


def unoffered(imports: list[str]) -> list[str]:
    """Those of a component's imports that the host does not have."""
    wasi_http = "wasi:http/"
    return [name for name in imports if not name.startswith(OFFERED_PREFIXES) or name.startswith(wasi_http)]


def _log(attempt: Attempt, arguments: list[Value], _results: list[Value]) -> None:
    level, message = arguments
    kept = values.read_text(message, attempt.logs.bytes_left)
    attempt.logs.add(
        LogLevel(values.read_text(level).decode()), kept, cut=len(kept) < values.read_size(message)
    )


def _emit(attempt: Attempt, arguments: list[Value], results: list[Value]) -> None:
    event, payload = arguments
    if values.read_size(payload) > limits.GUEST_EMITS_BYTES_MAX:
        status = EmitStatus.TOO_MANY
    else:
        status = emit(attempt, values.read_text(event, 256), values.read_bytes(payload))
    values.owned_result(results[0], _EMIT_ERRORS.get(status))


def _random_bytes(attempt: Attempt, arguments: list[Value], results: list[Value]) -> None:
    size = arguments[0].a
    if size > limits.MIB:
        raise Stop(
            Outcome.ABI_ERROR, f"get-random-bytes was asked for {size} bytes; at most {limits.MIB} are given."
        )
    blocks = (min(_RANDOM_BLOCK_BYTES, size - at) for at in range(0, size, _RANDOM_BLOCK_BYTES))
    values.owned_bytes(results[0], b"".join(attempt.random.take(block) for block in blocks))


def _random_u64(attempt: Attempt, _arguments: list[Value], results: list[Value]) -> None:
    results[0].kind, results[0].a = values.U64, int.from_bytes(attempt.random.take(8), "little")


def _no_socket(_attempt: Attempt, _arguments: list[Value], results: list[Value]) -> None:
    values.owned_result(results[0], b"access-denied")


_FUNCTIONS: Final[dict[bytes, dict[bytes, _HostCall]]] = {
    _HOST: {b"log": _log, b"emit": _emit},
    _TYPES: {},
    b"wasi:random/random" + _WASI_VERSION: {
        b"get-random-bytes": _random_bytes,
        b"get-random-u64": _random_u64,
    },
    b"wasi:random/insecure" + _WASI_VERSION: {
        b"get-insecure-random-bytes": _random_bytes,
        b"get-insecure-random-u64": _random_u64,
    },
    # SECURITY: wasmtime would make the socket and refuse each address; here there is none to begin with.
    b"wasi:sockets/tcp-create-socket" + _WASI_VERSION: {b"create-tcp-socket": _no_socket},
    b"wasi:sockets/udp-create-socket" + _WASI_VERSION: {b"create-udp-socket": _no_socket},
}


def _new_callback(call: _HostCall) -> Any:
    """A callback that never raises, as `host.function.new_callback` for core modules."""

    def callback(
        _environment: int,
        _context: int,
        _type: int,
        arguments: int,
        count: int,
        results: int,
        result_count: int,
    ) -> int:
        attempt = current()
        try:
            call(attempt, list((Value * count).from_address(arguments or 0)) if count else [],
                 list((Value * result_count).from_address(results)) if result_count else [])  # fmt: skip
        except Stop as stop:
            attempt.stop = attempt.stop or stop
        except (
            BaseException
        ) as error:  # SAFETY: an exception must not cross wasmtime; `engine` raises it again
            attempt.host_error = attempt.host_error or error
        else:
            return 0
        return api.error_new(b"ended by the host")  # type: ignore[no-any-return]

    return CALLBACK(callback)


def _new_output(stream: int) -> Any:
    """Where WASI sends a standard stream: the attempt's log lines. It may call from a thread of its own."""

    def callback(_environment: int, piece: int, size: int) -> int:
        try:
            logs = current().logs
            logs.write(stream, ctypes.string_at(piece, min(size, logs.bytes_left + 1)))
        except BaseException:
            return size
        return size

    return OUTPUT_CALLBACK(callback)


class ComponentEngine:
    """An engine, its linker for components, and the one guest that runs in it at a time."""

    def __init__(self, flavour: Flavour) -> None:
        self.engine = new_engine(flavour, pooled=True)
        self.linker = component_api.linker_new(self.engine)
        self._kept: list[Any] = []
        component_api.linker_allow_shadowing(self.linker, True)
        _check(component_api.linker_add_wasi(self.linker))
        for instance, functions in _FUNCTIONS.items():
            self._define(instance, functions)
        self.stdout, self.stderr = _new_output(1), _new_output(2)

    def _define(self, instance: bytes, functions: dict[bytes, _HostCall]) -> None:
        root, names = component_api.linker_root(self.linker), c_void_p()
        _check(component_api.names_add_instance(root, instance, len(instance), ctypes.addressof(names)))
        for name, call in functions.items():
            callback = _new_callback(call)
            self._kept.append(callback)
            _check(component_api.names_add_function(names, name, len(name), callback, None, None))
        component_api.names_delete(names)
        component_api.names_delete(root)

    def close(self) -> None:
        """Frees the engine; its programs are closed."""
        component_api.linker_delete(self.linker)
        api.engine_delete(self.engine)


def _check(error: int | None) -> None:
    assert not error, take_error(error)


class ComponentProgram:
    """A component in an engine. It is its own store: there is one guest at a time."""

    def __init__(self, runner: ComponentEngine, code: Path) -> None:
        """Loads compiled code.

        Raises:
            InvalidModule: it does not fit the engine, imports what is not offered, or has no `handle`.
        """
        self._runner = runner
        self._component = c_void_p()
        self.store = Store(runner.engine)
        error = component_api.deserialize_file(
            runner.engine, str(code).encode(), ctypes.addressof(self._component)
        )
        if error:
            raise InvalidModule(take_error(error))
        names = list(component_names(runner.engine, self._component.value or 0))
        imports = [item.name for item in names if item.imported]
        self._wants_wasi = any(name.startswith("wasi:") for name in imports)
        handle = HANDLE.encode()
        self._handle = component_api.export_index(self._component, None, handle, len(handle))
        missing = unoffered(imports)
        if missing or not self._handle:
            self.close()
            problem = f"imports {missing[0]}, which is not offered" if missing else f"exports no {HANDLE}"
            raise InvalidModule(f"The component {problem}.")

    def run(self, attempt: Attempt) -> bytes:
        """Runs `handle` in a fresh instance; answers the result.

        Raises:
            Stop: it did not succeed.
        """
        instance, function, kept = self._instantiate(attempt), ComponentFunction(), list[Any]()
        context = self.store.context
        found = component_api.get_function(
            ctypes.addressof(instance), context, self._handle, ctypes.addressof(function)
        )
        if not found:
            raise Stop(Outcome.ABI_ERROR, f"The component's export {HANDLE} is not a function.")
        event, answer = Value(), Value()
        _fill_event(event, attempt, kept)
        error = component_api.call(
            ctypes.addressof(function), context, ctypes.addressof(event), 1, ctypes.addressof(answer), 1
        )
        if error:
            self._fail(take_error(error))
        try:
            return _read_answer(answer, attempt)
        finally:
            component_api.value_delete(ctypes.addressof(answer))

    def _instantiate(self, attempt: Attempt) -> ComponentInstance:
        """Makes the instance.

        NOTE: wasmtime bounds each memory, and how many there are. A component with several is found out at
        its first attempt, which begins again; from then on its memories share the bound.
        """
        while True:
            instance = ComponentInstance()
            if self._wants_wasi:
                self._give_wasi(attempt)
            error = component_api.linker_instantiate(
                self._runner.linker, self.store.context, self._component, ctypes.addressof(instance)
            )
            if not error:
                return instance
            message = take_error(error)
            if _TOO_MANY_MEMORIES not in message or self.store.memories >= POOL["max_memories_per_component"]:
                self._fail(message)
            self.store.close()
            self.store.memories += 1
            self.store.open(attempt)

    def _fail(self, message: str) -> NoReturn:
        attempt = self.store.attempt
        exited = _EXITED.search(message)
        if exited and not attempt.deadline.passed:
            raise stop_of_exit(attempt, int(exited[1]))
        raise stop_of_failure(attempt, _trap_code(message), message)

    def _give_wasi(self, attempt: Attempt) -> None:
        config = component_api.wasi_config_new()
        argv = (c_char_p * 1)(attempt.spec.name.replace("\0", "").encode())
        component_api.wasi_set_argv(config, 1, ctypes.addressof(argv))
        pairs = [entry.rstrip(b"\0").split(b"=", 1) for entry in attempt.environ]
        names = (c_char_p * len(pairs))(*(name for name, _ in pairs))
        texts = (c_char_p * len(pairs))(*(text for _, text in pairs))
        component_api.wasi_set_env(config, len(pairs), ctypes.addressof(names), ctypes.addressof(texts))
        component_api.wasi_set_stdout(config, self._runner.stdout, None, None)
        component_api.wasi_set_stderr(config, self._runner.stderr, None, None)
        _check(component_api.set_wasi(self.store.context, config))

    def close(self) -> None:
        """Frees the component."""
        if self._handle:
            component_api.export_index_delete(self._handle)
        component_api.delete(self._component)


_TOO_MANY_MEMORIES: Final = "memory count too high"
_EXITED: Final = re.compile(r"Exited with i32 exit status (-?\d{1,10})")
_TRAPS: Final = {
    "wasm trap: interrupt": TRAP_INTERRUPT,
    "wasm trap: all fuel consumed by WebAssembly": TRAP_OUT_OF_FUEL,
    "wasm trap: wasm `unreachable` instruction executed": TRAP_UNREACHABLE,
}


def _trap_code(message: str) -> int | None:
    """The code of the trap that an error tells of; the component API has errors alone."""
    for text, code in _TRAPS.items():
        if text in message:
            return code
    return TRAP_OTHER if "wasm trap:" in message or "wasm backtrace" in message else None


def _fill_event(event: Value, attempt: Attempt, kept: list[Any]) -> None:
    job = attempt.job
    id_, name, tenant, number, payload = values.fill_record(event, _EVENT_FIELDS, kept)
    values.fill_text(id_, job.id.encode(), kept)
    values.fill_text(name, job.event.encode(), kept)
    values.fill_text(tenant, job.tenant.encode(), kept)
    values.fill_u32(number, job.attempt)
    values.fill_bytes(payload, job.payload, kept)


def _read_answer(answer: Value, attempt: Attempt) -> bytes:
    if answer.kind != values.RESULT:
        raise Stop(Outcome.ABI_ERROR, f"{HANDLE} is not of the type that jobicolet.wit gives it.")
    ok, held = values.read_result(answer)
    if ok:
        if values.read_size(held) > attempt.spec.limits.result_bytes:
            raise result_too_large(attempt.spec)
        return values.read_bytes(held)
    code, message = values.read_field(held, 0).a & 0xFFFF_FFFF, values.read_field(held, 1)
    text = values.read_text(message, limits.GUEST_ERROR_CHARS_MAX).decode("utf-8", "replace")
    raise Stop(Outcome.FAILED, text or f"The guest failed with code {code}.", code=code or 1)
