"""The attempt under way: what its guest was given, what it has used and said so far.

Owns the state that host functions work on. Exactly one guest runs in a process at a time, so host functions,
which are registered once for each engine, find their attempt in `current`.
"""

import ctypes
import hashlib
import hmac
from ctypes import c_uint64
from dataclasses import dataclass, field
from typing import Final

import msgspec

from jobico import limits
from jobico.definition import RuntimeSpec
from jobico.event import Emitted, LogLevel, LogLine, Outcome
from jobico.sandbox.bindings import EXTERN_BYTES, EXTERN_OF, ExternKind, api
from jobico.sandbox.deadline import Deadline

__all__ = [
    "Attempt",
    "BadPointer",
    "GuestMemory",
    "Job",
    "LogSink",
    "RandomStream",
    "Stop",
    "current",
    "set_current",
]

_ELLIPSIS: Final = "…"


class Job(msgspec.Struct, frozen=True):
    """The event that a guest handles. `secrets` has the values of the names that its runtime lists."""

    id: str
    tenant: str
    event: str
    attempt: int  # from 1
    payload: bytes
    secrets: dict[str, str] = {}


class Stop(Exception):  # not an error: how a host function ends a guest
    """Ends the attempt with this outcome."""

    def __init__(self, outcome: Outcome, error: str, *, code: int = 0) -> None:
        super().__init__(error)
        self.outcome = outcome
        self.error = error
        self.code = code


class BadPointer(Exception):  # becomes an errno or a `Stop`
    """A guest gave a region that is not within its memory."""


class GuestMemory:
    """A guest's memory, every access checked against its present size.

    SAFETY: base and size are asked for at each access: the guest may have grown its memory in between.
    """

    __slots__ = ("_extern", "context", "handle")

    def __init__(self) -> None:
        self._extern = ctypes.create_string_buffer(EXTERN_BYTES)
        self.context = 0
        self.handle = 0

    def attach(self, caller: int) -> None:
        """Finds the memory of the caller: a start function runs before the host knows its instance."""
        extern = ctypes.addressof(self._extern)
        if api.caller_export_get(caller, b"memory", 6, extern) and self._extern.raw[0] == ExternKind.MEMORY:
            self.context = api.caller_context(caller)
            self.handle = extern + EXTERN_OF

    @property
    def size_bytes(self) -> int:
        """Its present size; 0 where there is none."""
        return api.memory_size(self.context, self.handle) if self.handle else 0

    def holds(self, pointer: int, size: int) -> bool:
        """True if the region lies within the memory."""
        return pointer + size <= self.size_bytes

    def _address(self, pointer: int, size: int) -> int:
        if (
            not self.handle
            or pointer < 0
            or size < 0
            or pointer + size > api.memory_size(self.context, self.handle)
        ):
            raise BadPointer(
                f"{size} bytes at {pointer} are outside the guest's memory of {self.size_bytes} bytes"
            )
        return (api.memory_data(self.context, self.handle) or 0) + pointer

    def read(self, pointer: int, size: int) -> bytes:
        """A copy of a region.

        Raises:
            BadPointer: it is not within the memory.
        """
        if size == 0:
            return b""
        return ctypes.string_at(self._address(pointer, size), size)

    def write(self, pointer: int, content: bytes) -> None:
        """Copies `content` into the memory.

        Raises:
            BadPointer: the region is not within the memory.
        """
        if content:
            ctypes.memmove(self._address(pointer, len(content)), content, len(content))

    def write_u32(self, pointer: int, value: int) -> None:
        """Stores a little-endian u32; raises `BadPointer`."""
        self.write(pointer, value.to_bytes(4, "little"))

    def write_u64(self, pointer: int, value: int) -> None:
        """Stores a little-endian u64; raises `BadPointer`."""
        self.write(pointer, value.to_bytes(8, "little"))


class LogSink:
    """What a guest logs, within bounds: past them lines are dropped and counted."""

    __slots__ = ("_bytes_left", "_lines_max", "_partial", "dropped", "lines")

    def __init__(self, bytes_max: int, lines_max: int) -> None:
        self.lines: list[LogLine] = []
        self.dropped = 0
        self._bytes_left = bytes_max
        self._lines_max = lines_max
        self._partial: dict[int, bytearray] = {}

    @property
    def bytes_left(self) -> int:
        """How much more text it takes; reading more than that from a guest is wasted time."""
        return self._bytes_left

    def add(self, level: LogLevel, text: bytes, *, cut: bool = False) -> None:
        """Keeps one line, invalid UTF-8 as U+FFFD; one that does not fit is cut and counted as dropped.

        Args:
            level: Of the line.
            text: What the guest wrote, or the first `bytes_left` bytes of it.
            cut: The guest wrote more than `text`.
        """
        if len(self.lines) >= self._lines_max or self._bytes_left <= 0:
            self.dropped += 1
            return
        message = text[: self._bytes_left].decode("utf-8", "replace")
        cut = cut or len(text) > self._bytes_left
        # NOTE: a byte that is not UTF-8 takes three as U+FFFD; the bound is on what is kept.
        size = len(text) if message.isascii() else len(message.encode())
        if size > self._bytes_left:
            message, cut = message.encode()[: self._bytes_left].decode("utf-8", "ignore"), True
        self._bytes_left -= max(1, min(size, self._bytes_left))
        if cut:
            self.dropped += 1
        self.lines.append(LogLine(level, message + _ELLIPSIS if cut else message))

    def write(self, stream: int, chunk: bytes) -> None:
        """Takes a piece of a stream that is logged line by line."""
        partial = self._partial.setdefault(stream, bytearray())
        partial += chunk
        if self._bytes_left <= 0:
            self.dropped += partial.count(b"\n")
            self._partial[stream] = partial[partial.rfind(b"\n") + 1 :][:1]
            return
        if b"\n" in chunk:
            *whole, rest = partial.split(b"\n")
            for line in whole:
                self.add(LogLevel.INFO, bytes(line.removesuffix(b"\r")))
            self._partial[stream] = bytearray(rest)
        else:
            # What is past the bound is never shown: one byte of it is enough to know that the line is cut.
            del partial[self._bytes_left + 1 :]

    def flush(self) -> None:
        """Logs what is left of the streams without an end of line."""
        for partial in self._partial.values():
            if partial:
                self.add(LogLevel.INFO, bytes(partial))
        self._partial.clear()


class RandomStream:
    """The bytes of `random_get`: SHAKE-256 of a seed, so that the same seed gives the same bytes.

    SECURITY: the seed is made from a key of this machine and the event's id (`Sandbox`), so whoever sends an
    event and learns its id can't foretell what its guest draws, and no two events share a stream. All
    attempts of an event draw the same bytes: an identifier that a guest makes up stays the same when it is
    retried.
    """

    __slots__ = ("_counter", "_seed")

    _BLOCK_BYTES: Final = 65_536

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._counter = 0

    def take(self, size: int) -> bytes:
        """The next `size` bytes, at most 64 KiB; each call takes a block of its own."""
        assert size <= self._BLOCK_BYTES
        self._counter += 1
        return hashlib.shake_256(self._seed + self._counter.to_bytes(8, "little")).digest(size)


@dataclass(slots=True)
class Attempt:
    """Everything about the attempt under way."""

    spec: RuntimeSpec
    job: Job
    deadline: Deadline
    seed_key: bytes
    logs: LogSink
    memory: GuestMemory
    is_command: bool = False  # standard input is the event, standard output the result
    stdin_read: int = 0
    stdout: bytearray = field(default_factory=bytearray)
    exit_code: int | None = None
    emitted: list[Emitted] = field(default_factory=list)
    emitted_bytes: int = 0
    stop: Stop | None = None
    host_error: BaseException | None = None
    _random: RandomStream | None = None
    _environ: list[bytes] | None = None

    @property
    def random(self) -> RandomStream:
        """Where `random_get` draws from."""
        if self._random is None:
            seed = hmac.digest(self.seed_key, self.job.id.encode(), hashlib.sha256)
            self._random = RandomStream(seed)
        return self._random

    @property
    def environ(self) -> list[bytes]:
        """The guest's environment, `NAME=value` and a zero byte each: the job's, secrets, Jobico's own."""
        if self._environ is None:
            variables = {
                **self.spec.env,
                **{name: self.job.secrets[name] for name in self.spec.secrets if name in self.job.secrets},
                "JOBICO_EVENT_ID": self.job.id,
                "JOBICO_EVENT": self.job.event,
                "JOBICO_TENANT": self.job.tenant,
                "JOBICO_ATTEMPT": str(self.job.attempt),
            }
            self._environ = [
                f"{name}={value}".replace("\0", "").encode("utf-8", "replace") + b"\0"
                for name, value in variables.items()
            ]
        return self._environ

    def add_output(self, chunk: bytes) -> None:
        """Takes a piece of standard output, which is the result.

        Raises:
            Stop: it is over its bound.
        """
        if len(self.stdout) + len(chunk) > self.spec.limits.result_bytes:
            raise result_too_large(self.spec)
        self.stdout += chunk


def result_too_large(spec: RuntimeSpec) -> Stop:
    """How an attempt ends whose result is over its bound."""
    bound = spec.limits.result_bytes
    return Stop(
        Outcome.ABI_ERROR, f"The result is over its bound of {bound} bytes (limits.result of the runtime)."
    )


_current: list[Attempt | None] = [None]


def current() -> Attempt:
    """The attempt under way; only host functions may ask."""
    attempt = _current[0]
    assert attempt is not None, "a host function was called while no guest runs"
    return attempt


def set_current(attempt: Attempt | None) -> None:
    """Names the attempt under way."""
    _current[0] = attempt


assert limits.GUEST_LOGS_BYTES_MAX >= limits.GUEST_LOGS_BYTES
assert ctypes.sizeof(c_uint64) == 8
