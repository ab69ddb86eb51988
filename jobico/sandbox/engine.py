"""The sandbox: runs one attempt of an event and answers what came of it.

Owns the life of an attempt inside this process: load, fresh instance, limits, outcome. Knows no socket and
no store, and keeps nothing of an attempt once it has answered.
"""

import hashlib
import hmac
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from jobico import limits
from jobico.definition import Engine, RuntimeSpec
from jobico.errors import InvalidModule
from jobico.event import Emitted, LogLine, Outcome
from jobico.sandbox.attempt import Attempt, GuestMemory, Job, LogSink, Stop, set_current
from jobico.sandbox.cache import ModuleCache
from jobico.sandbox.config import Flavour
from jobico.sandbox.deadline import Deadline
from jobico.sandbox.guest import stop_of_time
from jobico.sandbox.program import Programs, Runnable

if TYPE_CHECKING:
    from jobico.sandbox.wasmer_engine import WasmerEngine

__all__ = ["Result", "Sandbox"]

# SAFETY: host functions find their attempt in a global of the process, and wasmtime's stacks are per thread:
# one guest at a time, whatever the threads of the process do.
_one_guest = threading.Lock()


class Result(msgspec.Struct, frozen=True):
    """What came of an attempt."""

    outcome: Outcome
    code: int = 0  # the guest's; 0 is success
    result: bytes = b""
    error: str = ""  # for people: why it did not succeed
    logs: tuple[LogLine, ...] = ()
    logs_dropped: int = 0  # lines past the bound, or cut by it
    run_us: int = 0  # time in the sandbox, without loading or compiling
    fuel: int = 0  # used; 0 where it was not counted
    memory_bytes: int = 0  # peak; a guest's memory never shrinks
    emitted: tuple[Emitted, ...] = ()  # empty unless the outcome is ok


class Sandbox:
    """Runs guests, one at a time, each in a fresh instance.

    Use from any thread; `run` waits its turn. `abort` and `overdue_ms` are for other threads while it runs.
    """

    def __init__(self, cache: Path | ModuleCache) -> None:
        """Opens the cache of compiled modules.

        Args:
            cache: The cache, or the directory where it is or will be; this user's alone.
        """
        self.cache = cache if isinstance(cache, ModuleCache) else ModuleCache(cache)
        self._programs = Programs(self.cache)
        self._wasmer: WasmerEngine | None = None
        self._deadline = Deadline()
        self._seed_key = hmac.digest(self.cache.key, b"random_get", hashlib.sha256)
        self._memory = GuestMemory()

    def run(self, spec: RuntimeSpec, job: Job, fetch: Callable[[str], bytes]) -> Result:
        """Runs one attempt.

        Args:
            spec: The program and its limits.
            job: The event.
            fetch: Gives the bytes of a module by its digest, where it isn't compiled yet; what it raises
                passes through.

        Returns:
            What came of it, whatever the guest did.
        """
        with _one_guest:
            try:
                program = self._engine_of(spec).get(spec, fetch).bind(spec)
            except InvalidModule as error:
                return Result(Outcome.ABI_ERROR, error=error.message[: limits.GUEST_ERROR_CHARS_MAX])
            except Stop as stop:
                return Result(stop.outcome, error=stop.error[: limits.GUEST_ERROR_CHARS_MAX])
            attempt = self._new_attempt(spec, job)
            started_ns = time.perf_counter_ns()
            set_current(attempt)
            program.store.open(attempt)
            try:
                result = _run_guest(program, attempt)
                fuel, memory_bytes = program.store.fuel_used(), attempt.memory.size_bytes
            finally:
                program.store.close()
                set_current(None)
            if attempt.host_error is not None:
                # A fault of ours is not hidden as the guest's: it is raised here, now that the guest is gone.
                raise attempt.host_error
            run_us = (time.perf_counter_ns() - started_ns) // 1_000
            return _finish(result, attempt, run_us, fuel, memory_bytes)

    def prepare(self, spec: RuntimeSpec, fetch: Callable[[str], bytes]) -> None:
        """Compiles a module if need be, so that `run` finds it; from any thread, also while a guest runs.

        Args:
            spec: The program.
            fetch: Gives the bytes of a module by its digest; what it raises passes through.

        Raises:
            InvalidModule: it does not compile.
        """
        if spec.engine is Engine.WASMER:
            self.cache.prepare(fetch(spec.digest), spec.function)
        else:
            self.cache.load(spec.digest, fetch, Flavour.FUEL if spec.limits.fuel else Flavour.PLAIN)

    def abort(self) -> bool:
        """Ends the running guest, from another thread; its outcome is `cancelled`. False if none runs."""
        return self._deadline.abort()

    def overdue_ms(self) -> int:
        """How long the running guest is past its deadline; 0 if it isn't.

        Past a grace it sits in a host call, such as a component's sleep, which only the end of the process
        ends.
        """
        return self._deadline.overdue_ms()

    @property
    def spent(self) -> bool:
        """True once a guest was stopped that may go on computing (engine wasmer): this process should end."""
        return self._wasmer is not None and self._wasmer.spent

    def close(self) -> None:
        """Frees all programs and engines; no guest may run."""
        with _one_guest:
            self._deadline.close()
            self._programs.close()
            if self._wasmer is not None:
                self._wasmer.close()

    def _engine_of(self, spec: RuntimeSpec) -> "Programs | WasmerEngine":
        if spec.engine is Engine.WASMTIME:
            return self._programs
        if self._wasmer is None:
            self._wasmer = _new_wasmer_engine(self.cache)
        return self._wasmer

    def _new_attempt(self, spec: RuntimeSpec, job: Job) -> Attempt:
        return Attempt(
            spec=spec,
            job=job,
            deadline=self._deadline,
            seed_key=self._seed_key,
            logs=LogSink(spec.limits.logs_bytes, spec.limits.log_lines),
            memory=self._memory,
        )


def _new_wasmer_engine(cache: ModuleCache) -> "WasmerEngine":
    try:
        from jobico.sandbox.wasmer_engine import WasmerEngine  # noqa: PLC0415 - an extra that may be absent
    except ImportError as error:
        hint = "pip install 'jobico[wasmer]', or use the engine wasmtime"
        raise InvalidModule(f"The engine wasmer is not installed where this ran: {hint}.") from error
    return WasmerEngine(cache)


def _run_guest(program: Runnable, attempt: Attempt) -> Result:
    try:
        result = program.run(attempt)
        if attempt.deadline.fired:
            raise stop_of_time(attempt)
        return Result(Outcome.OK, result=result)
    except Stop as stop:
        return _stopped(attempt, stop)


def _stopped(attempt: Attempt, stop: Stop) -> Result:
    attempt.logs.flush()
    result = bytes(attempt.stdout) if stop.outcome is Outcome.FAILED else b""
    return Result(
        stop.outcome, code=stop.code, result=result, error=stop.error[: limits.GUEST_ERROR_CHARS_MAX]
    )


def _finish(result: Result, attempt: Attempt, run_us: int, fuel: int, memory_bytes: int) -> Result:
    attempt.logs.flush()
    return Result(
        outcome=result.outcome,
        code=result.code,
        result=result.result,
        error=result.error,
        logs=tuple(attempt.logs.lines),
        logs_dropped=attempt.logs.dropped,
        run_us=run_us,
        fuel=fuel,
        memory_bytes=memory_bytes,
        emitted=tuple(attempt.emitted) if result.outcome is Outcome.OK else (),
    )
