"""The `jobicolet` ABI, the original's: `init`, `malloc`, `free` and `event(result_ptr, data_ptr, data_size)`.

The host writes the event into a block of the guest's, calls the main function, and reads at `result_ptr` two
little-endian u64: the code (0 is success), and `pointer << 32 | size` of the result. No pointer is trusted.
"""

import struct
from typing import Final

from jobico import limits
from jobico.errors import InvalidModule
from jobico.event import LogLevel, Outcome
from jobico.sandbox.attempt import Attempt, BadPointer, Stop, result_too_large
from jobico.sandbox.bindings import ExternKind, ExternType, FunctionType, ValueKind
from jobico.sandbox.guest import Entry, Guest, entry_of, stop_of_exit

__all__ = ["JobicoletAbi", "is_jobicolet"]

_RESULT_BYTES: Final = 16
_INTEGERS: Final = frozenset((ValueKind.I32, ValueKind.I64))
_RESULT: Final = struct.Struct("<QQ")


def is_jobicolet(exports: dict[str, ExternType], function: str) -> bool:
    """True if a module with these exports means to be of this ABI."""
    return all(name in exports for name in ("init", "malloc", function))


class JobicoletAbi:
    """How to run a module of this ABI."""

    def __init__(self, exports: dict[str, ExternType], function: str) -> None:
        """Checks what the module exports.

        Args:
            exports: Its exports by name.
            function: The main function.

        Raises:
            InvalidModule: it is not of this ABI.
        """
        problems = self.problems(exports, function)
        if problems:
            raise InvalidModule(" ".join(problems))
        self._start = next(
            (_entry(exports, name) for name in ("_start", "_initialize") if name in exports), None
        )
        self._init = _entry(exports, "init")
        self._malloc = _entry(exports, "malloc")
        self._free = _entry(exports, "free") if "free" in exports else None
        self._free_params = len(_function(exports, "free").params) if "free" in exports else 0
        self._main = _entry(exports, function)

    @staticmethod
    def problems(exports: dict[str, ExternType], function: str) -> list[str]:
        """What keeps a module with these exports from being of this ABI."""
        found = []
        memory = exports.get("memory")
        if memory is None or memory.kind != ExternKind.MEMORY:
            found.append("It exports no memory under that name.")
        for name, params, results in (
            ("init", (0,), (0, 1)),
            ("malloc", (1,), (1,)),
            (function, (3,), (0, 1)),
            ("free", (1, 2), (0, 1)),
            ("ver", (0,), (1,)),
            ("_start", (0,), (0,)),
            ("_initialize", (0,), (0,)),
        ):
            problem = _problem(exports, name, params, results)
            if problem:
                found.append(problem)
        return found

    def run(self, guest: Guest, attempt: Attempt) -> bytes:
        """Runs the main function in a fresh instance; answers the result.

        Raises:
            Stop: it did not succeed.
        """
        guest.bind_memory()
        self._set_up(guest, attempt)
        payload = attempt.job.payload
        malloc = guest.export(self._malloc.name, 1)
        data = self._allocate(guest, attempt, malloc, len(payload))
        attempt.memory.write(data, payload)
        result = self._allocate(guest, attempt, malloc, _RESULT_BYTES)
        if result < data + len(payload) and data < result + _RESULT_BYTES:
            raise Stop(
                Outcome.ABI_ERROR,
                f"malloc gave {data} for the event and {result}, within it, for the result.",
            )
        try:
            guest.call(guest.export(self._main.name, 2), self._main, result, data, len(payload))
        except Stop as stop:
            _refuse_exit(attempt, stop)
            raise
        code, output = _read_result(attempt, result)
        self._release(guest, attempt, (data, len(payload)), (result, _RESULT_BYTES))
        if code:
            text = output.decode("utf-8", "replace")[: limits.GUEST_ERROR_CHARS_MAX]
            attempt.stdout[:] = output
            raise Stop(Outcome.FAILED, text or f"The guest returned code {code}.", code=code)
        return output

    def _set_up(self, guest: Guest, attempt: Attempt) -> None:
        """Calls `_start` or `_initialize`, and `init`: they set up what languages need to begin with."""
        if self._start is not None:
            try:
                guest.call(guest.export(self._start.name, 0), self._start)
            except Stop as stop:
                _refuse_exit(attempt, stop, allow_success=True)
        guest.call(guest.export(self._init.name, 0), self._init)

    def _allocate(self, guest: Guest, attempt: Attempt, malloc: int, size: int) -> int:
        """A block of the guest's memory, at least `size` bytes from the address that is the answer."""
        pointer = guest.call(malloc, self._malloc, max(1, size))
        if pointer == 0:
            raise Stop(
                Outcome.OUT_OF_MEMORY, f"The guest's malloc({size}) returned 0: it has no memory left."
            )
        if not attempt.memory.holds(pointer, size):
            raise Stop(
                Outcome.ABI_ERROR, f"The guest's malloc({size}) returned {pointer}, outside its memory."
            )
        return pointer

    def _release(self, guest: Guest, attempt: Attempt, *blocks: tuple[int, int]) -> None:
        """Gives the blocks back; the result is known by now, so a `free` that traps is only logged.

        NOTE: `ver() == 1` announces a `free` that takes the size too; its type says the same, and can't be
        wrong.
        """
        if self._free is None:
            return
        free = guest.export(self._free.name, 3)
        try:
            for block in blocks:
                guest.call(free, self._free, *block[: self._free_params])
        except Stop as stop:
            if stop.outcome is not Outcome.TRAP:
                raise
            attempt.logs.add(LogLevel.WARNING, f"free trapped: {stop.error}".encode())


def _function(exports: dict[str, ExternType], name: str) -> FunctionType:
    function = exports[name].function
    assert function is not None
    return function


def _entry(exports: dict[str, ExternType], name: str) -> Entry:
    return entry_of(name, _function(exports, name))


def _problem(
    exports: dict[str, ExternType], name: str, params: tuple[int, ...], results: tuple[int, ...]
) -> str | None:
    """What is wrong with an export, given how many integer parameters and results it may have."""
    type_ = exports.get(name)
    if type_ is None:
        optional = name in ("free", "ver", "_start", "_initialize")
        return None if optional else f"It exports no function {name}."
    if type_.function is None:
        return f"Its export {name} is a {type_}, not a function."
    fits = len(type_.function.params) in params and len(type_.function.results) in results
    if not fits or not _INTEGERS.issuperset(type_.function.params + type_.function.results):
        wanted = (
            f"{' or '.join(map(str, params))} integer parameters and {' or '.join(map(str, results))} results"
        )
        return f"Its function {name} is {type_.function}; it must have {wanted}."
    return None


def _refuse_exit(attempt: Attempt, stop: Stop, *, allow_success: bool = False) -> None:
    """Turns the exit of a guest that should have returned into its outcome; passes by what is no exit."""
    if attempt.exit_code is None or stop.outcome is not Outcome.FAILED:
        raise stop
    code, attempt.exit_code, attempt.stop = attempt.exit_code, None, None
    if code or not allow_success:
        raise stop_of_exit(attempt, code)


def _read_result(attempt: Attempt, address: int) -> tuple[int, bytes]:
    """The code and a copy of the result."""
    try:
        code, packed = _RESULT.unpack(attempt.memory.read(address, _RESULT_BYTES))
        pointer, size = packed >> 32, packed & 0xFFFF_FFFF
        if size > attempt.spec.limits.result_bytes:
            if attempt.memory.holds(pointer, size):
                raise result_too_large(attempt.spec)
            raise BadPointer(f"{size} bytes at {pointer} are outside the guest's memory")
        return code, attempt.memory.read(pointer, size)
    except BadPointer as error:
        raise Stop(Outcome.ABI_ERROR, f"The result is out of range: {error}.") from error
