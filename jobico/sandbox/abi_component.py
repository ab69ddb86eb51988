"""The `component` ABI: the world of `jobicolet.wit`, and WASI preview 2 without capabilities.

Owns the life of a component's instance, the call of `handle` and the reading of its answer. WASI here is
wasmtime's, with arguments, environment and standard streams that are logged: no directory is opened, the
network is not inherited, and `component_host` takes away what else should not be there.

NOTE: a component that sleeps sits in a host call of wasmtime's that no epoch reaches; the executor's
watchdog ends it.
"""

import ctypes
import re
from ctypes import c_char_p, c_void_p
from pathlib import Path
from typing import Any, Final, NoReturn

from jobico import limits
from jobico.errors import InvalidModule
from jobico.event import Outcome
from jobico.sandbox import component_api as values
from jobico.sandbox.attempt import Attempt, Stop, result_too_large
from jobico.sandbox.bindings import api, take_error
from jobico.sandbox.component_api import (
    ComponentFunction,
    ComponentInstance,
    Value,
    component_api,
    component_names,
)
from jobico.sandbox.component_host import (
    COMPONENT_FUNCTIONS,
    ComponentHostFunction,
    new_component_callback,
    new_output,
    unoffered,
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

__all__ = ["HANDLE", "ComponentEngine", "ComponentProgram"]

HANDLE: Final = "handle"
_EVENT_FIELDS: Final = (b"id", b"name", b"tenant", b"attempt", b"payload")


class ComponentEngine:
    """An engine, its linker for components, and the one guest that runs in it at a time."""

    def __init__(self, flavour: Flavour) -> None:
        self.engine = new_engine(flavour, pooled=True)
        self.linker = component_api.linker_new(self.engine)
        self._kept: list[Any] = []
        component_api.linker_allow_shadowing(self.linker, True)
        _check(component_api.linker_add_wasi(self.linker))
        for instance, functions in COMPONENT_FUNCTIONS.items():
            self._define(instance, functions)
        self.stdout, self.stderr = new_output(1), new_output(2)

    def _define(self, instance: bytes, functions: dict[bytes, ComponentHostFunction]) -> None:
        root, names = component_api.linker_root(self.linker), c_void_p()
        _check(component_api.names_add_instance(root, instance, len(instance), ctypes.addressof(names)))
        for name, function in functions.items():
            callback = new_component_callback(name, function)
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
        raise _wrong_type()
    ok, held = values.read_result(answer)
    if held is None or held.kind != (values.LIST if ok else values.RECORD):
        raise _wrong_type()
    if ok:
        if values.read_size(held) > attempt.spec.limits.result_bytes:
            raise result_too_large(attempt.spec)
        content = values.read_bytes(held)
        if content is None:
            raise _wrong_type()
        return content
    fields = values.read_fields(held)
    if [field.kind for field in fields] != [values.U32, values.STRING]:
        raise _wrong_type()
    code = fields[0].a & 0xFFFF_FFFF
    text = values.read_text(fields[1], limits.GUEST_ERROR_CHARS_MAX).decode("utf-8", "replace")
    raise Stop(Outcome.FAILED, text or f"The guest failed with code {code}.", code=code or 1)


def _wrong_type() -> Stop:
    return Stop(Outcome.ABI_ERROR, f"{HANDLE} is not of the type that jobicolet.wit gives it.")
