"""The `command` ABI: a WASI preview 1 program; standard input is the event, standard output the result."""

from jobico.errors import InvalidModule
from jobico.event import Outcome
from jobico.sandbox.attempt import Attempt, Stop
from jobico.sandbox.bindings import ExternKind, ExternType, FunctionType
from jobico.sandbox.guest import Entry, Guest, entry_of, stop_of_exit

__all__ = ["CommandAbi"]


class CommandAbi:
    """How to run a module of this ABI."""

    def __init__(self, exports: dict[str, ExternType], function: str) -> None:
        """Checks what the module exports.

        Args:
            exports: Its exports by name.
            function: Not used: a command has one entry.

        Raises:
            InvalidModule: it is not a command.
        """
        del function
        problems = self.problems(exports)
        if problems:
            raise InvalidModule(problems[0])
        self._start: Entry = entry_of("_start", FunctionType((), ()))
        self._has_memory = "memory" in exports

    @staticmethod
    def problems(exports: dict[str, ExternType]) -> list[str]:
        """What keeps a module with these exports from being a command."""
        start = exports.get("_start")
        if start is None:
            return ["It exports no _start, which a command needs: build it as a WASI preview 1 program."]
        if start.function != FunctionType((), ()):
            return [f"_start is {start}, a command's takes and returns nothing."]
        memory = exports.get("memory")
        if memory is not None and memory.kind != ExternKind.MEMORY:
            return [f"Its export memory is a {memory}, not a memory."]
        return []

    def run(self, guest: Guest, attempt: Attempt) -> bytes:
        """Runs the program in a fresh instance; answers the result.

        Raises:
            Stop: it did not succeed.
        """
        try:
            if self._has_memory:
                guest.bind_memory()
            guest.call(guest.export(self._start.name, 0), self._start)
        except Stop as stop:
            if attempt.exit_code is None or stop.outcome is not Outcome.FAILED:
                raise
        attempt.logs.flush()
        if attempt.exit_code:
            raise stop_of_exit(attempt, attempt.exit_code)
        return bytes(attempt.stdout)
