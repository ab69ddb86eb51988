"""The wall clock jumps under a running platform: leases and timers do not care.

The nodes run with a library before libc that adds to CLOCK_REALTIME what a file says, so the jump is one that
these processes really see; the machine's own clock is left alone.
"""

import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from acceptance_kit import ECHO, until, wasm
from faults_kit import FaultyPlatform

HOUR_S = 3_600

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
static long offset_s(void) {
    static volatile long *shared;
    if (!shared) {
        const char *path = getenv("CLOCK_OFFSET");
        int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        void *map = file < 0 ? MAP_FAILED : mmap(0, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
        if (map == MAP_FAILED) abort();
        shared = map;
    }
    return *shared;
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (!result && clock == CLOCK_REALTIME) now->tv_sec += offset_s();
    return result;
}
int gettimeofday(struct timeval *now, void *zone) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
"""


@pytest.fixture
def shim(tmp_path: Path) -> Path:
    """The library."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        if os.environ.get("CI"):
            pytest.fail("a C compiler is missing")
        pytest.skip("needs a C compiler")
    (tmp_path / "clock.c").write_text(SHIM)
    library = tmp_path / "clock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, tmp_path / "clock.c", "-ldl"], check=True)
    return library


@pytest.mark.slow
def test_a_jump_of_the_clock_loses_and_doubles_nothing(
    start: Callable[..., FaultyPlatform], shim: Path, tmp_path: Path, chance: Random
) -> None:
    """The wall clock goes an hour forward and a day back: no lease, no node, no request, no event is lost."""
    offset = tmp_path / "offset"
    offset.write_bytes(struct.pack("l", 0))
    platform = start(LD_PRELOAD=str(shim), CLOCK_OFFSET=str(offset))
    tenant = platform.tenant("jumping")
    tenant.deploy(tmp_path, tenant.definition(tmp_path, wasm(ECHO)))
    with tenant.load() as senders:
        for jump_s in (HOUR_S, -24 * HOUR_S, chance.randrange(-HOUR_S, HOUR_S)):
            with offset.open("r+b") as file:
                file.write(struct.pack("l", jump_s))
            count = len(senders.accepted)
            until(lambda count=count: len(senders.accepted) > count + 50, 20, "events flow")  # type: ignore[misc]
    assert not senders.refused
    assert platform.status()["ready"]
    final = tenant.check(senders.accepted)
    assert {(str(one.outcome), one.attempt) for one in final.values()} == {("ok", 1)}
    accepted_s = [one.accepted_ms / 1_000 for one in final.values()]
    assert max(accepted_s) - min(accepted_s) > 24 * HOUR_S, "the nodes have seen the jump"
