"""Compiled modules in memory, ready to be instantiated: what a process keeps between attempts.

Owns the engines of this process, their linkers with the host functions, and the programs loaded into them. A
program holds nothing that a guest has touched: each attempt gets a fresh store and instance.
"""

import ctypes
from collections import OrderedDict
from collections.abc import Callable
from ctypes import c_void_p
from pathlib import Path
from typing import Final, Protocol

from jobico.definition import Abi, RuntimeSpec
from jobico.errors import InvalidModule
from jobico.sandbox.abi_command import CommandAbi
from jobico.sandbox.abi_component import ComponentEngine, ComponentProgram
from jobico.sandbox.abi_jobicolet import JobicoletAbi, is_jobicolet
from jobico.sandbox.attempt import Attempt
from jobico.sandbox.bindings import ExternType, api, export_types, new_function_type, take_error
from jobico.sandbox.cache import Compiled, ModuleCache
from jobico.sandbox.config import Flavour, new_engine
from jobico.sandbox.guest import Guest
from jobico.sandbox.host import HOST_FUNCTIONS, HostFunction, new_callback
from jobico.sandbox.wasi import WASI_FUNCTIONS

__all__ = ["GuestAbi", "Program", "Programs", "Runnable"]

_LOADED_MAX: Final = 64


class GuestAbi(Protocol):
    """How a loaded module of one ABI is run."""

    def run(self, guest: Guest, attempt: Attempt) -> bytes:
        """Runs the guest in its fresh instance and answers the result, or raises `Stop`."""
        ...


class AttemptStore(Protocol):
    """What an attempt is opened on."""

    def open(self, attempt: Attempt) -> None:
        """Makes what the attempt needs and starts its time."""
        ...

    def close(self) -> None:
        """Ends its time and frees all that it had."""
        ...

    def fuel_used(self) -> int:
        """How much fuel the guest has burnt; 0 where it isn't counted."""
        ...


class Runnable(Protocol):
    """A program that is ready to run as a runtime says."""

    @property
    def store(self) -> AttemptStore:
        """What the attempt is opened on."""
        ...

    def run(self, attempt: Attempt) -> bytes:
        """Runs the guest in a fresh instance and answers the result, or raises `Stop`."""
        ...


class Program(Protocol):
    """A compiled module or component in memory."""

    def bind(self, spec: RuntimeSpec) -> Runnable:
        """Makes it ready to run as `spec` says; raises `InvalidModule` where it is of another ABI."""
        ...

    def close(self) -> None:
        """Frees it."""
        ...


class _CoreRun:
    """A core module under one ABI."""

    def __init__(self, guest: Guest, instance_pre: int, abi: GuestAbi) -> None:
        self.store = guest
        self._instance_pre = instance_pre
        self._abi = abi

    def run(self, attempt: Attempt) -> bytes:
        """Runs the guest in a fresh instance."""
        attempt.is_command = isinstance(self._abi, CommandAbi)
        self.store.instantiate(self._instance_pre)
        return self._abi.run(self.store, attempt)


class CoreProgram:
    """A core module in an engine, its imports resolved."""

    def __init__(self, runner: "CoreEngine", code: Path) -> None:
        """Loads compiled code.

        Raises:
            InvalidModule: it imports what is not offered, or does not fit the engine.
        """
        self._guest = runner.guest
        self._module, self._instance_pre = c_void_p(), c_void_p()
        error = api.module_deserialize_file(runner.engine, str(code).encode(), ctypes.addressof(self._module))
        if error:
            raise InvalidModule(take_error(error))
        error = api.linker_instantiate_pre(runner.linker, self._module, ctypes.addressof(self._instance_pre))
        if error:
            message = take_error(error)
            api.module_delete(self._module)
            raise InvalidModule(message)
        self._exports: dict[str, ExternType] = {
            item.name: item.type for item in export_types(self._module.value or 0)
        }
        self._runs: dict[tuple[Abi, str], _CoreRun] = {}

    def bind(self, spec: RuntimeSpec) -> Runnable:
        """Makes it ready to run as `spec` says.

        Raises:
            InvalidModule: it is not of that ABI.
        """
        key = (spec.abi, spec.function)
        run = self._runs.get(key)
        if run is None:
            abi = self._new_abi(spec)
            run = self._runs[key] = _CoreRun(self._guest, self._instance_pre.value or 0, abi)
        return run

    def _new_abi(self, spec: RuntimeSpec) -> GuestAbi:
        if spec.abi is Abi.JOBICOLET:
            return JobicoletAbi(self._exports, spec.function)
        if spec.abi is Abi.COMMAND:
            return CommandAbi(self._exports, spec.function)
        if spec.abi is Abi.AUTO:
            abi = Abi.JOBICOLET if is_jobicolet(self._exports, spec.function) else Abi.COMMAND
            return (
                JobicoletAbi(self._exports, spec.function)
                if abi is Abi.JOBICOLET
                else CommandAbi(self._exports, "")
            )
        raise InvalidModule(f"It is a core module, and its runtime says abi: {spec.abi}.")

    def close(self) -> None:
        """Frees the module."""
        api.instance_pre_delete(self._instance_pre)
        api.module_delete(self._module)


class CoreEngine:
    """An engine, its linker with every host function, and the one guest that runs in it at a time."""

    def __init__(self, flavour: Flavour) -> None:
        self.engine = new_engine(flavour, pooled=True)
        self.linker = api.linker_new(self.engine)
        self.guest = Guest(self.engine)
        self._callbacks = [self._define(function) for function in (*HOST_FUNCTIONS, *WASI_FUNCTIONS)]

    def _define(self, function: HostFunction) -> object:
        callback, type_ = new_callback(function), new_function_type(function.type)
        module, name = function.module.encode(), function.name.encode()
        error = api.linker_define(
            self.linker, module, len(module), name, len(name), type_, callback, None, None
        )
        api.functype_delete(type_)
        assert not error, f"{function.module}.{function.name} is defined twice"
        return callback

    def close(self) -> None:
        """Frees the engine; its programs are closed."""
        api.linker_delete(self.linker)
        api.engine_delete(self.engine)


class _BoundComponent:
    """A component, which has one ABI."""

    def __init__(self, program: ComponentProgram) -> None:
        self._program = program

    def bind(self, spec: RuntimeSpec) -> Runnable:
        """Checks that `spec` says so."""
        if spec.abi not in (Abi.COMPONENT, Abi.AUTO):
            raise InvalidModule(f"It is a component, and its runtime says abi: {spec.abi}.")
        return self._program

    def close(self) -> None:
        """Frees it."""
        self._program.close()


class Programs:
    """The programs of a process, least recently used first out."""

    def __init__(self, cache: ModuleCache) -> None:
        self._cache = cache
        self._core: dict[Flavour, CoreEngine] = {}
        self._component: dict[Flavour, ComponentEngine] = {}
        self._loaded: OrderedDict[tuple[str, Flavour], Program] = OrderedDict()

    def get(self, spec: RuntimeSpec, fetch: Callable[[str], bytes]) -> Program:
        """The program that `spec` names, loaded, compiled if need be.

        Raises:
            InvalidModule: it can't run here.
        """
        flavour = Flavour.FUEL if spec.limits.fuel else Flavour.PLAIN
        key = (spec.digest, flavour)
        program = self._loaded.get(key)
        if program is not None:
            self._loaded.move_to_end(key)
            return program
        program = self._loaded[key] = self._load(self._cache.load(spec.digest, fetch, flavour), flavour)
        while len(self._loaded) > _LOADED_MAX:
            self._loaded.popitem(last=False)[1].close()
        return program

    def _load(self, code: Compiled, flavour: Flavour) -> Program:
        if code.is_component:
            if flavour not in self._component:
                self._component[flavour] = ComponentEngine(flavour)
            return _BoundComponent(ComponentProgram(self._component[flavour], code.path))
        if flavour not in self._core:
            self._core[flavour] = CoreEngine(flavour)
        return CoreProgram(self._core[flavour], code.path)

    def close(self) -> None:
        """Frees everything."""
        for program in self._loaded.values():
            program.close()
        for core in self._core.values():
            core.close()
        for component in self._component.values():
            component.close()
        self._loaded.clear()
        self._core.clear()
        self._component.clear()
