"""The stores on their worst day: full map, full disk, I/O errors, no right to write, killed writers."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from storage_kit import LEASE, WaitedQueue, accept, bury, make_entry, settle

from jobico.change import Acknowledge, Change, Entry, Replay, Reschedule, StoreLease
from jobico.errors import StorageUnavailable
from jobico.limits import KIB, MIB

KIT = Path(__file__).parent.parent
ROUNDS = 20


def wait_until(true: Callable[[], bool], deadline_s: float = 10) -> None:
    """Waits for a condition, polling: the writer thread has no hook for it."""
    end_s = time.monotonic() + deadline_s
    while not true():
        assert time.monotonic() < end_s, "not in time"
        time.sleep(0.01)


def fill(queue: WaitedQueue, payload_bytes: int, first: int = 1) -> list[Entry]:
    """Accepts events, some 100 KiB of them at a time, until the queue refuses; answers those it took."""
    taken: list[Entry] = []
    batch = max(1, 100 * KIB // (payload_bytes + 200))
    while len(taken) < 100_000:
        start = first + len(taken)
        entries = [make_entry(seq, payload=b"x" * payload_bytes) for seq in range(start, start + batch)]
        applied = queue.attempt(accept(*entries))
        if applied.error is not None:
            assert isinstance(applied.error, StorageUnavailable)
            return taken
        taken += entries
    raise AssertionError("it never filled")


def settle_all(queue: WaitedQueue, entries: list[Entry], batch: int) -> None:
    """Settles events in applies of `batch`, the recorder taking the records at once."""
    for at in range(0, len(entries), batch):
        some = entries[at : at + batch]
        assert queue.apply(*[settle(entry) for entry in some]) == (True,) * len(some)
        queue.apply(Acknowledge(queue.store.outbox_newest))


# --- Map full -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload_bytes", [10, 3_000, 20_000, 200_000])
def test_a_full_map_refuses_new_events_settles_all_and_takes_new_ones_again(
    tmp_path: Path, payload_bytes: int
) -> None:
    with WaitedQueue(tmp_path, map_bytes=4 * MIB) as queue:
        seq = 1
        for _ in range(3):
            taken = fill(queue, payload_bytes, seq)
            seq += 100_001
            assert len(taken) >= 4
            assert not queue.store.available
            settle_all(queue, taken, batch=max(1, 20_000 // payload_bytes))
            wait_until(lambda: queue.store.available)
        assert queue.entries() == []
        assert queue.store.outbox_rows == 0


def test_nothing_of_what_was_refused_is_there(tmp_path: Path) -> None:
    with WaitedQueue(tmp_path, map_bytes=4 * MIB) as queue:
        taken = fill(queue, 10_000)
        for _ in range(10):
            assert queue.attempt(accept(make_entry(200_000, payload=b"x" * 500_000))).error is not None
    with WaitedQueue(tmp_path, map_bytes=4 * MIB) as queue:
        assert [entry.seq for entry in queue.entries()] == [entry.seq for entry in taken]


def test_every_change_that_frees_or_keeps_goes_through_while_full(tmp_path: Path) -> None:
    with WaitedQueue(tmp_path, map_bytes=4 * MIB) as queue:
        taken = fill(queue, 1_000)
        one, two, three, *_ = taken
        assert queue.apply(StoreLease(one.seq, LEASE)) == (True,)
        assert queue.apply(Reschedule(one.seq, 1, 0, 5, None)) == (True,)
        assert queue.apply(bury(two)) == (True,)
        assert queue.apply(settle(three, make_entry(200_000))) == (True,)
        assert queue.apply(Acknowledge(2)) == (2,)
        refused = queue.attempt(Replay(two.event.id, make_entry(200_001)))
        assert isinstance(refused.error, StorageUnavailable)


def test_with_the_recorder_away_a_full_queue_settles_into_its_outbox(tmp_path: Path) -> None:
    with WaitedQueue(tmp_path, map_bytes=8 * MIB) as queue:
        taken = fill(queue, 5_000)
        changes: list[Change] = [settle(entry) for entry in taken]
        assert queue.apply(*changes) == (True,) * len(taken)
        assert queue.outbox() == list(range(1, len(taken) + 1))


# --- Disk full ----------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    mounted = (
        mount is not None
        and os.getuid() == 0
        and (
            subprocess.run(
                [mount, "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)], capture_output=True, check=False
            ).returncode
            == 0
        )
    )
    if not mounted:
        pytest.skip("needs the right to mount a small tmpfs")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def exhaust(path: Path) -> None:
    """Writes until the disk is full."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4 * KIB)


def test_a_full_disk_refuses_new_events_settles_all_and_recovers_by_itself(small_disk: Path) -> None:
    with WaitedQueue(small_disk / "queue", map_bytes=16 * MIB) as queue:
        entries = [make_entry(seq, payload=b"x" * 2_000) for seq in range(1, 301)]
        for entry in entries:
            queue.apply(accept(entry))
        exhaust(small_disk / "other")
        more = fill(queue, 2_000, first=1_000)
        assert not queue.store.available
        for entry in (*entries, *more):
            assert queue.apply(settle(entry)) == (True,)
        assert not queue.store.available, "the disk is still full"
        (small_disk / "other").unlink()
        wait_until(lambda: queue.store.available)
        queue.apply(accept(make_entry(200_000)))
        assert [entry.seq for entry in queue.entries()] == [200_000]
        assert len(queue.outbox()) == len(entries) + len(more)


def test_a_queue_that_is_opened_on_a_full_disk_settles_what_it_has(small_disk: Path) -> None:
    with WaitedQueue(small_disk / "queue", map_bytes=16 * MIB) as queue:
        entries = [make_entry(seq, payload=b"x" * 2_000) for seq in range(1, 301)]
        queue.apply(accept(*entries))
    exhaust(small_disk / "other")
    with WaitedQueue(small_disk / "queue", map_bytes=16 * MIB) as queue:
        assert [entry.seq for entry in queue.entries()] == [entry.seq for entry in entries]
        for entry in entries:
            assert queue.apply(settle(entry)) == (True,)
    with WaitedQueue(small_disk / "queue", map_bytes=16 * MIB) as queue:
        assert queue.entries() == []
        assert len(queue.outbox()) == 300


def test_a_store_cannot_be_made_on_a_full_disk_and_says_so(small_disk: Path) -> None:
    exhaust(small_disk / "other")
    with pytest.raises(StorageUnavailable, match="disk is full"):
        WaitedQueue(small_disk / "queue", map_bytes=16 * MIB)


# --- No right to write --------------------------------------------------------------------------------------


def run_child(code: str, *arguments: str, env: dict[str, str] | None = None) -> "subprocess.Popen[str]":
    """Runs a piece of Python in a process of its own."""
    environ = {**os.environ, "PYTHONPATH": str(KIT), **(env or {})}
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=environ,
    )


def test_a_directory_without_right_to_write_is_a_clear_error(home: Path) -> None:
    with WaitedQueue(home / "queue"):
        pass
    home.chmod(0o755)
    (home / "queue").chmod(0o500)
    child = run_child(
        """
        import os, sys
        from pathlib import Path
        from storage_kit import WaitedQueue
        from jobico.errors import StorageUnavailable
        if os.getuid() == 0:
            os.setgid(65534), os.setuid(65534)
        try:
            WaitedQueue(Path(sys.argv[1]))
        except StorageUnavailable as error:
            print(error.message)
        """,
        str(home / "queue"),
    )
    answer, _ = child.communicate(timeout=30)
    (home / "queue").chmod(0o700)
    assert "is not writable by user" in answer


# --- I/O errors ---------------------------------------------------------------------------------------------

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>
static int fails(const char *call) {
    const char *flag = getenv("FAIL_FLAG");
    if (!flag || access(flag, F_OK)) return 0;
    return strstr(getenv("FAIL_CALLS"), call) != 0;
}
int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = dlsym(RTLD_NEXT, "fdatasync");
    if (fails("fdatasync")) { errno = EIO; return -1; }
    return real(fd);
}
int fsync(int fd) {
    static int (*real)(int);
    if (!real) real = dlsym(RTLD_NEXT, "fsync");
    if (fails("fdatasync")) { errno = EIO; return -1; }
    return real(fd);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    static ssize_t (*real)(int, const void *, size_t, off_t);
    if (!real) real = dlsym(RTLD_NEXT, "pwrite");
    /* A root page is what LMDB writes less than a page of. */
    if (size < 4096 && fails("root")) { errno = EIO; return -1; }
    return real(fd, data, size, at);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off_t at) { return pwrite(fd, data, size, at); }
"""

IO_ERRORS = """
import sys, time
from pathlib import Path
from storage_kit import WaitedQueue, accept, make_entry, settle
from jobico.logs import configure_logging
configure_logging("queue")  # to stderr
path, flag = Path(sys.argv[1]), Path(sys.argv[2])
with WaitedQueue(path) as queue:
    queue.apply(accept(make_entry(1)), accept(make_entry(2)))
    flag.touch()
    print("accept", type(queue.attempt(accept(make_entry(3))).error).__name__)
    print("settle", type(queue.attempt(settle(make_entry(1))).error).__name__)
    print("available", queue.store.available)
    time.sleep(0.6)  # two probes go by in vain
    print("still", queue.store.available)
    flag.unlink()
    end = time.monotonic() + 10
    while not queue.store.available and time.monotonic() < end:
        time.sleep(0.01)
    print("recovered", queue.store.available)
    print("settle", *queue.apply(settle(make_entry(1))))
    print("accept", queue.apply(accept(make_entry(4)))[0].fresh)
    print("events", [entry.seq for entry in queue.entries()], queue.outbox())
with WaitedQueue(path) as queue:
    print("events", [entry.seq for entry in queue.entries()], queue.outbox())
"""


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that fails calls with EIO while a flag file is there."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    directory = tmp_path_factory.mktemp("shim")
    (directory / "shim.c").write_text(SHIM)
    library = directory / "shim.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, directory / "shim.c", "-ldl"], check=True)
    return library


@pytest.mark.parametrize("call", ["fdatasync", "root"])
def test_an_io_error_fails_what_was_not_stored_and_is_recovered_from(
    home: Path, shim: Path, call: str
) -> None:
    """`fdatasync`: the pages are not synced; `root`: LMDB gives up its environment, which is opened anew."""
    env = {"LD_PRELOAD": str(shim), "FAIL_FLAG": str(home / "flag"), "FAIL_CALLS": call}
    child = run_child(IO_ERRORS, str(home / "queue"), str(home / "flag"), env=env)
    answer, _ = child.communicate(timeout=60)
    assert answer.splitlines() == [
        "accept StorageUnavailable",
        "settle StorageUnavailable",
        "available False",
        "still False",
        "recovered True",
        "settle True",
        "accept True",
        "events [2, 4] [1]",
        "events [2, 4] [1]",
    ]


# --- Killed -------------------------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from storage_kit import WaitedQueue, accept, make_entry, settle
with WaitedQueue(Path(sys.argv[1])) as queue:
    seq = queue.store.next_seq
    while True:
        entries = [make_entry(seq + n, payload=b"x" * (seq * 37 % 9_000)) for n in range(3)]
        queue.apply(accept(*entries))
        print("accepted", *[entry.seq for entry in entries], flush=True)
        queue.apply(settle(entries[0], make_entry(seq + 3)), settle(entries[1]))
        print("settled", entries[0].seq, entries[1].seq, seq + 3, flush=True)
        seq += 4
"""


def test_what_a_killed_writer_acknowledged_is_there(home: Path) -> None:
    """SIGKILL at `ROUNDS` moments of one store: every accepted or settled event is what it was said to be."""
    accepted: set[int] = set()
    settled: set[int] = set()
    unsaid: set[int] = set()  # may have been settled in the moment of the kill
    for round_number in range(ROUNDS):
        child = run_child(WRITER, str(home / "queue"))
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(1 + 7 * round_number % 40)]
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read()  # not `communicate`, which forgets what is buffered already
        child.stdout.close()
        child.wait(timeout=30)
        for line in [*lines, *rest.splitlines()]:
            word, *rest_of_line = line.split()
            first, second, third = map(int, rest_of_line)
            if word == "accepted":
                accepted.update((first, second, third))
                unsaid.update((first, second))
            else:
                settled.update((first, second))
                accepted.add(third)
                unsaid -= {first, second}
    with WaitedQueue(home / "queue") as queue:
        events = {entry.seq for entry in queue.entries()}
        records = len(queue.outbox())
    assert accepted, "no round got as far as an event"
    assert settled.isdisjoint(events)
    missing = accepted - settled - events
    assert missing <= unsaid
    assert records == len(settled) + len(missing)
