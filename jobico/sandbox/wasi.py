"""WASI preview 1, as much as language runtimes need: arguments, environment, streams, clocks, random.

There are no files and no sockets: of descriptors only 0, 1 and 2 exist, there is no preopened directory, and
every other function answers the errno that a program expects where there is nothing. Standard input is the
event for a `command` and empty else; standard output is the result for a `command` and log lines else;
standard error is log lines.

PERF: wasmtime's own stdio takes over a millisecond an event; these functions take microseconds.
"""

import time
from collections.abc import Callable
from enum import IntEnum
from typing import Final

from jobico.event import Outcome
from jobico.sandbox.attempt import Attempt, BadPointer, Stop
from jobico.sandbox.host.function import HostFunction, function_type

__all__ = ["WASI_FUNCTIONS", "WASI_MODULE", "Errno"]

WASI_MODULE: Final = "wasi_snapshot_preview1"
_VECTORS_MAX: Final = 1_024
_SUBSCRIPTIONS_MAX: Final = 1_024
# Of text that is dropped, how much of a piece is looked through to count its lines.
_COUNTED_BYTES_MAX: Final = 4_096
_RANDOM_BLOCK_BYTES: Final = 65_536
# SECURITY: a fine clock is what timing attacks on a neighbour are made of.
_CLOCK_RESOLUTION_NS: Final = 1_000_000
_STDIN, _STDOUT, _STDERR = 0, 1, 2
_RIGHT_READ, _RIGHT_WRITE, _RIGHT_POLL = 1 << 1, 1 << 6, 1 << 27
_REALTIME, _MONOTONIC = 0, 1


class Errno(IntEnum):
    """The error numbers used."""

    SUCCESS = 0
    BADF = 8
    FAULT = 21
    INVAL = 28
    NOSYS = 52
    NOTSUP = 58
    SPIPE = 70


def _args_get(attempt: Attempt, pointers: int, buffer: int) -> int:
    return _write_strings(attempt, [_argument(attempt)], pointers, buffer)


def _args_sizes_get(attempt: Attempt, count: int, size: int) -> int:
    attempt.memory.write_u32(count, 1)
    attempt.memory.write_u32(size, len(_argument(attempt)))
    return Errno.SUCCESS


def _argument(attempt: Attempt) -> bytes:
    return attempt.spec.name.replace("\0", "").encode("utf-8", "replace") + b"\0"


def _environ_get(attempt: Attempt, pointers: int, buffer: int) -> int:
    return _write_strings(attempt, attempt.environ, pointers, buffer)


def _environ_sizes_get(attempt: Attempt, count: int, size: int) -> int:
    attempt.memory.write_u32(count, len(attempt.environ))
    attempt.memory.write_u32(size, sum(map(len, attempt.environ)))
    return Errno.SUCCESS


def _write_strings(attempt: Attempt, strings: list[bytes], pointers: int, buffer: int) -> int:
    offsets, at = [], buffer
    for text in strings:
        offsets.append(at.to_bytes(8, "little")[:4])
        at += len(text)
    attempt.memory.write(pointers, b"".join(offsets))
    attempt.memory.write(buffer, b"".join(strings))
    return Errno.SUCCESS


def _clock_res_get(attempt: Attempt, clock: int, resolution: int) -> int:
    if clock not in (_REALTIME, _MONOTONIC):
        return Errno.INVAL
    attempt.memory.write_u64(resolution, _CLOCK_RESOLUTION_NS)
    return Errno.SUCCESS


def _now_ns(clock: int) -> int:
    now_ns = time.time_ns() if clock == _REALTIME else time.monotonic_ns()
    return now_ns - now_ns % _CLOCK_RESOLUTION_NS


def _clock_time_get(attempt: Attempt, clock: int, _precision: int, result: int) -> int:
    if clock not in (_REALTIME, _MONOTONIC):
        return Errno.INVAL
    attempt.memory.write_u64(result, _now_ns(clock))
    return Errno.SUCCESS


def _fd_close(_attempt: Attempt, fd: int) -> int:
    return Errno.SUCCESS if fd <= _STDERR else Errno.BADF


def _fd_fdstat_get(attempt: Attempt, fd: int, stat: int) -> int:
    if fd > _STDERR:
        return Errno.BADF
    rights = _RIGHT_POLL | (_RIGHT_READ if fd == _STDIN else _RIGHT_WRITE)
    # File type 0 is unknown: runtimes take it for a pipe and buffer in blocks, where a terminal means line
    # by line.
    attempt.memory.write(stat, bytes(8) + rights.to_bytes(8, "little") + bytes(8))
    return Errno.SUCCESS


def _fd_filestat_get(attempt: Attempt, fd: int, stat: int) -> int:
    if fd > _STDERR:
        return Errno.BADF
    attempt.memory.write(stat, bytes(24) + (1).to_bytes(8, "little") + bytes(32))
    return Errno.SUCCESS


def _vectors(attempt: Attempt, vectors: int, count: int) -> list[tuple[int, int]]:
    raw = attempt.memory.read(vectors, 8 * count)
    return [
        (int.from_bytes(raw[at : at + 4], "little"), int.from_bytes(raw[at + 4 : at + 8], "little"))
        for at in range(0, len(raw), 8)
    ]


def _fd_read(attempt: Attempt, fd: int, vectors: int, count: int, read: int) -> int:
    if fd != _STDIN:
        return Errno.BADF
    if count > _VECTORS_MAX:
        return Errno.INVAL
    begun = attempt.stdin_read
    source = attempt.job.payload if attempt.is_command else b""
    for pointer, size in _vectors(attempt, vectors, count):
        piece = source[attempt.stdin_read : attempt.stdin_read + size]
        if not piece:
            break
        attempt.memory.write(pointer, piece)
        attempt.stdin_read += len(piece)
    attempt.memory.write_u32(read, attempt.stdin_read - begun)
    return Errno.SUCCESS


def _fd_write(attempt: Attempt, fd: int, vectors: int, count: int, written: int) -> int:
    if fd not in (_STDOUT, _STDERR):
        return Errno.BADF
    if count > _VECTORS_MAX:
        return Errno.INVAL
    total = 0
    is_result = fd == _STDOUT and attempt.is_command
    for pointer, size in _vectors(attempt, vectors, count):
        if is_result:
            _write_result(attempt, pointer, size)
        else:
            _write_log(attempt, fd, pointer, size)
        total += size
    attempt.memory.write_u32(written, total & 0xFFFF_FFFF)
    return Errno.SUCCESS


def _write_result(attempt: Attempt, pointer: int, size: int) -> None:
    # One byte over the bound is enough to know; what a guest claims beyond it is never copied.
    attempt.add_output(attempt.memory.read(pointer, min(size, attempt.spec.limits.result_bytes + 1)))


def _write_log(attempt: Attempt, fd: int, pointer: int, size: int) -> None:
    if not attempt.memory.holds(pointer, size):
        raise BadPointer
    kept = min(size, max(attempt.logs.bytes_left + 1, _COUNTED_BYTES_MAX))
    attempt.logs.write(fd, attempt.memory.read(pointer, kept))


def _fd_prestat_get(_attempt: Attempt, _fd: int, _stat: int) -> int:
    return Errno.BADF


def _fd_seek(_attempt: Attempt, fd: int, *_rest: int) -> int:
    return Errno.SPIPE if fd <= _STDERR else Errno.BADF


def _fd_sync(_attempt: Attempt, fd: int, *_rest: int) -> int:
    return Errno.INVAL if fd <= _STDERR else Errno.BADF


def _fdstat_set(_attempt: Attempt, fd: int, *_rest: int) -> int:
    return Errno.SUCCESS if fd <= _STDERR else Errno.BADF


def _poll_oneoff(attempt: Attempt, subscriptions: int, events: int, count: int, result: int) -> int:
    if not 0 < count <= _SUBSCRIPTIONS_MAX:
        return Errno.INVAL
    raw = attempt.memory.read(subscriptions, 48 * count)
    attempt.memory.read(events, 32 * count)
    entries = [raw[at : at + 48] for at in range(0, len(raw), 48)]
    ready = [_event(entry, _stream_errno(entry)) for entry in entries if entry[8] != 0]
    if not ready:
        waits_ns = [_clock_wait_ns(entry) for entry in entries]
        soonest_ns = min(waits_ns)
        attempt.deadline.sleep(soonest_ns)
        if attempt.deadline.passed:
            raise Stop(Outcome.TIMEOUT, "The guest slept past its time.")
        ready = [
            _event(entry, Errno.SUCCESS)
            for entry, wait_ns in zip(entries, waits_ns, strict=True)
            if wait_ns <= soonest_ns
        ]
    attempt.memory.write(events, b"".join(ready))
    attempt.memory.write_u32(result, len(ready))
    return Errno.SUCCESS


def _clock_wait_ns(entry: bytes) -> int:
    clock, timeout_ns = int.from_bytes(entry[16:20], "little"), int.from_bytes(entry[24:32], "little")
    if int.from_bytes(entry[40:42], "little") & 1:  # an absolute time
        now_ns = time.time_ns() if clock == _REALTIME else time.monotonic_ns()
        return max(0, timeout_ns - now_ns)
    return timeout_ns


def _stream_errno(entry: bytes) -> Errno:
    return Errno.SUCCESS if int.from_bytes(entry[16:20], "little") <= _STDERR else Errno.BADF


def _event(entry: bytes, errno: Errno) -> bytes:
    return entry[0:8] + errno.to_bytes(2, "little") + entry[8:9] + bytes(21)


def _proc_exit(attempt: Attempt, code: int) -> None:
    attempt.exit_code = code
    # What this says is never shown: the ABI looks at `exit_code` first.
    raise Stop(Outcome.FAILED, "The guest exited.")


def _random_get(attempt: Attempt, buffer: int, size: int) -> int:
    if not attempt.memory.holds(buffer, size):
        return Errno.FAULT
    for at in range(0, size, _RANDOM_BLOCK_BYTES):
        if attempt.deadline.passed:
            raise Stop(Outcome.TIMEOUT, "The guest ran out of time while it drew random bytes.")
        attempt.memory.write(buffer + at, attempt.random.take(min(_RANDOM_BLOCK_BYTES, size - at)))
    return Errno.SUCCESS


def _sched_yield(_attempt: Attempt) -> int:
    return Errno.SUCCESS


def _no_such_descriptor(_attempt: Attempt, *_arguments: int) -> int:
    return Errno.BADF


def _not_supported(_attempt: Attempt, *_arguments: int) -> int:
    return Errno.NOTSUP


# SECURITY: everything that would reach a file or a socket is here, and answers that there is none.
_ABSENT: Final = {
    "fd_advise": "iIIi:i",
    "fd_allocate": "iII:i",
    "fd_filestat_set_size": "iI:i",
    "fd_filestat_set_times": "iIIi:i",
    "fd_pread": "iiiIi:i",
    "fd_prestat_dir_name": "iii:i",
    "fd_pwrite": "iiiIi:i",
    "fd_readdir": "iiiIi:i",
    "fd_renumber": "ii:i",
    "path_create_directory": "iii:i",
    "path_filestat_get": "iiiii:i",
    "path_filestat_set_times": "iiiiIIi:i",
    "path_link": "iiiiiii:i",
    "path_open": "iiiiiIIii:i",
    "path_readlink": "iiiiii:i",
    "path_remove_directory": "iii:i",
    "path_rename": "iiiiii:i",
    "path_symlink": "iiiii:i",
    "path_unlink_file": "iii:i",
    "sock_accept": "iii:i",
    "sock_recv": "iiiiii:i",
    "sock_send": "iiiii:i",
    "sock_shutdown": "ii:i",
}

_OFFERED: Final[dict[str, tuple[str, Callable[..., int | None]]]] = {
    "args_get": ("ii:i", _args_get),
    "args_sizes_get": ("ii:i", _args_sizes_get),
    "clock_res_get": ("ii:i", _clock_res_get),
    "clock_time_get": ("iIi:i", _clock_time_get),
    "environ_get": ("ii:i", _environ_get),
    "environ_sizes_get": ("ii:i", _environ_sizes_get),
    "fd_close": ("i:i", _fd_close),
    "fd_datasync": ("i:i", _fd_sync),
    "fd_fdstat_get": ("ii:i", _fd_fdstat_get),
    "fd_fdstat_set_flags": ("ii:i", _fdstat_set),
    "fd_fdstat_set_rights": ("iII:i", _fdstat_set),
    "fd_filestat_get": ("ii:i", _fd_filestat_get),
    "fd_prestat_get": ("ii:i", _fd_prestat_get),
    "fd_read": ("iiii:i", _fd_read),
    "fd_seek": ("iIii:i", _fd_seek),
    "fd_sync": ("i:i", _fd_sync),
    "fd_tell": ("ii:i", _fd_seek),
    "fd_write": ("iiii:i", _fd_write),
    "poll_oneoff": ("iiii:i", _poll_oneoff),
    "proc_exit": ("i:", _proc_exit),
    "proc_raise": ("i:i", _not_supported),
    "random_get": ("ii:i", _random_get),
    "sched_yield": (":i", _sched_yield),
}


def _guarded(call: Callable[..., int | None]) -> Callable[..., int | None]:
    def guarded(attempt: Attempt, *arguments: int) -> int | None:
        try:
            return call(attempt, *arguments)
        except BadPointer:
            return Errno.FAULT

    return guarded


WASI_FUNCTIONS: tuple[HostFunction, ...] = (
    *(
        HostFunction(WASI_MODULE, name, function_type(signature), _guarded(call))
        for name, (signature, call) in _OFFERED.items()
    ),
    *(
        HostFunction(WASI_MODULE, name, function_type(signature), _no_such_descriptor)
        for name, signature in _ABSENT.items()
    ),
)
"""All of WASI preview 1."""
