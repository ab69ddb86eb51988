"""The second engine, of the extra `jobico[wasmer]`: WASI commands run by Wasmer's own Python package.

Owns what differs from wasmtime: packages, processes and their end. A module comes here only once the
compiling child has accepted it, so it asks for no more than Jobico offers and did not take longer to compile
than it may.

What holds here too: a fresh instance, time, result, logs, no network, no environment of the host. Memory and
tables are bounded by rewriting the maximum that the module declares. What Wasmer cannot do is refused or
told:

- fuel is not counted: a runtime that sets `limits.fuel` is refused;
- a start function runs where nothing can stop it: a module with one is refused;
- of an exit code only the low 16 bits come through;
- random bytes are the machine's and clocks are fine;
- a guest sees an empty file system of its own, in memory; it ends with the attempt, and no limit bounds it;
- of how much memory a guest used nothing is known;
- a guest that was stopped may go on computing: `spent` tells, and the executor ends once that is settled.
"""

import asyncio
import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import wasmer_sdk
from wasmer_sdk import (
    Output,
    PackageCommandDefinition,
    PackageDefinition,
    Process,
    ReadableBytes,
    WasmerError,
)

from jobico import limits
from jobico.definition import Abi, RuntimeSpec
from jobico.errors import Internal, InvalidModule, TooLarge
from jobico.event import Outcome
from jobico.ids import digest_of
from jobico.sandbox.attempt import Attempt, Stop
from jobico.sandbox.cache import ModuleCache
from jobico.sandbox.guest import is_memory_spent, stop_of_exit, stop_of_time
from jobico.sandbox.sections import has_start, with_maximums

__all__ = ["WasmerEngine", "WasmerProgram"]

_T = TypeVar("_T")
_LOADED_MAX: Final = 64
_CLOSE_S: Final = 5.0
_END_S: Final = 1.0


class _Clock:
    """What an attempt is opened on; Wasmer has its own store, so that only the time is here."""

    def __init__(self) -> None:
        self._attempt: Attempt | None = None

    def open(self, attempt: Attempt) -> None:
        """Starts the attempt's time."""
        self._attempt = attempt
        attempt.deadline.begin(0, 0, attempt.spec.limits.time_ms)

    def close(self) -> None:
        """Ends it."""
        assert self._attempt is not None
        self._attempt.deadline.end()
        self._attempt = None

    def fuel_used(self) -> int:
        """Fuel is not counted."""
        return 0


class WasmerProgram:
    """A package of one module."""

    def __init__(self, engine: "WasmerEngine", package: Any) -> None:
        self.store = _Clock()
        self._engine = engine
        self._package = package

    def bind(self, _spec: RuntimeSpec) -> "WasmerProgram":
        """It has one ABI, and `WasmerEngine.get` has checked it."""
        return self

    def run(self, attempt: Attempt) -> bytes:
        """Runs the program; answers the result.

        Raises:
            Stop: it did not succeed.
        """
        try:
            output = self._engine.run_process(self._package, attempt)
        except WasmerError as error:
            raise _stop_of_trap(attempt, str(error)) from error
        if attempt.stop is not None:
            raise attempt.stop
        attempt.logs.flush()
        if output.exit_code:
            attempt.exit_code = output.exit_code & 0xFFFF_FFFF
            raise stop_of_exit(attempt, attempt.exit_code)
        return bytes(attempt.stdout)


class WasmerEngine:
    """Wasmer in this process, on an event loop of its own, since its package is asynchronous."""

    def __init__(self, cache: ModuleCache) -> None:
        self._cache = cache
        self._loop = asyncio.new_event_loop()
        self.spent = False
        self._thread = threading.Thread(target=self._loop.run_forever, name="jobico-wasmer", daemon=True)
        self._thread.start()
        self._client = wasmer_sdk.Wasmer(cache_root=str(cache.directory / "wasmer"))
        self._loaded: OrderedDict[tuple[str, int], WasmerProgram] = OrderedDict()

    def get(self, spec: RuntimeSpec, fetch: Callable[[str], bytes]) -> WasmerProgram:
        """The program that `spec` names, loaded.

        Raises:
            InvalidModule: it can't run here.
            Stop: it begins with more memory than it may have.
        """
        if spec.limits.fuel:
            raise InvalidModule(
                "The engine wasmer does not count fuel: leave out limits.fuel, or use wasmtime."
            )
        if spec.abi not in (Abi.COMMAND, Abi.AUTO):
            raise InvalidModule(
                f"The engine wasmer runs the ABI command, and the runtime says abi: {spec.abi}."
            )
        key = (spec.digest, spec.limits.memory_bytes)
        program = self._loaded.get(key)
        if program is None:
            program = self._loaded[key] = self._load(spec, fetch)
            while len(self._loaded) > _LOADED_MAX:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(key)
        return program

    def _load(self, spec: RuntimeSpec, fetch: Callable[[str], bytes]) -> WasmerProgram:
        content = fetch(spec.digest)
        if digest_of(content) != spec.digest:
            raise Internal(f"What was fetched as {spec.digest} has another digest.")
        report = self._cache.prepare(content)
        if not report.valid or report.abi != Abi.COMMAND:
            raise InvalidModule(
                " ".join(report.problems) or f"It is a {report.abi}, and wasmer runs the ABI command."
            )
        if has_start(content):
            raise InvalidModule("It has a start function, which the engine wasmer can't stop: use wasmtime.")
        try:
            bounded = with_maximums(
                content, memory_bytes=spec.limits.memory_bytes, table_elements=limits.GUEST_TABLE_ELEMENTS_MAX
            )
            return WasmerProgram(
                self, self._wait(self._client.packages.create(_definition(spec.name, bounded)))
            )
        except TooLarge as error:
            raise Stop(Outcome.OUT_OF_MEMORY, error.message) from error
        except WasmerError as error:
            raise InvalidModule(f"Wasmer refuses it: {error}") from error

    def run_process(self, package: Any, attempt: Attempt) -> Output:
        """Runs the package's command to its end; what ended it before that is `attempt.stop`."""
        return self._wait(self._run(package, attempt))

    async def _run(self, package: Any, attempt: Attempt) -> Output:
        environment = dict(
            entry.rstrip(b"\0").decode("utf-8", "replace").split("=", 1) for entry in attempt.environ
        )
        async with await self._client.sandboxes.create(packages=[package]) as sandbox:
            process = await sandbox.command(package, env=environment).spawn(stdin="pipe")
            streams = [
                asyncio.ensure_future(work)
                for work in (
                    _feed(process, attempt.job.payload),
                    _collect(process.stdout, attempt.add_output, attempt),
                    _collect(process.stderr, lambda piece: attempt.logs.write(2, piece), attempt),
                )
            ]
            ended = asyncio.ensure_future(process.wait())
            while not ended.done() and attempt.stop is None:
                await asyncio.wait((ended,), timeout=limits.EPOCH_TICK_MS / 1_000)
                attempt.stop = attempt.stop or _stop_of_time(attempt)
            if attempt.stop is None:
                await asyncio.wait(streams, timeout=_END_S)
            else:
                # SAFETY: its process table forgets the guest, but a thread that computes goes on (seen with
                # 0.5: one core for ever); only the end of this process ends that.
                self.spent = True
                await process.kill()
            for stream in streams:
                stream.cancel()
            return await ended

    def _wait(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        """Ends the client and its loop; no guest may run."""
        self._loaded.clear()
        self._wait(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSE_S)
        self._loop.close()


def _definition(name: str, content: bytes) -> PackageDefinition:
    return PackageDefinition(
        modules={"guest": content}, commands={name: PackageCommandDefinition(module="guest")}
    )


async def _feed(process: Process, payload: bytes) -> None:
    # A guest that does not read its event closes the pipe: that is its right.
    assert process.stdin is not None
    with contextlib.suppress(WasmerError):
        await process.stdin.write(payload)
        await process.stdin.close()


async def _collect(stream: ReadableBytes | None, take: Callable[[bytes], None], attempt: Attempt) -> None:
    assert stream is not None
    with contextlib.suppress(WasmerError):
        async for piece in stream:
            try:
                take(piece)
            except Stop as stop:
                attempt.stop = attempt.stop or stop
                return


def _stop_of_time(attempt: Attempt) -> Stop | None:
    return stop_of_time(attempt) if attempt.deadline.aborted or attempt.deadline.passed else None


def _stop_of_trap(attempt: Attempt, message: str) -> Stop:
    if attempt.stop is not None:
        return attempt.stop
    outcome = Outcome.OUT_OF_MEMORY if is_memory_spent(attempt) else Outcome.TRAP
    return Stop(outcome, message.removeprefix("command execution failed: RuntimeError: "))
