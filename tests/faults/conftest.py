"""Platforms for the tests of faults; each leaves no process behind."""

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random

import pytest
from acceptance_kit import processes_of, run_cli
from faults_kit import LEASE_MS, FaultyPlatform, Tenant, seeded

_NUMBERS = itertools.count()


@contextmanager
def _running(*options: str, home: Path | None = None, **variables: str) -> Iterator[FaultyPlatform]:
    home = home or Path(tempfile.mkdtemp(prefix="jb"))
    try:
        platform = FaultyPlatform(home, *options, **variables)
        try:
            yield platform
        finally:
            platform.close()
    finally:
        stopped = run_cli("down", home=home)
        left = processes_of(home)
        shutil.rmtree(home, ignore_errors=True)
    assert stopped.code == 0, stopped.err
    assert not left


@pytest.fixture(scope="session")
def _shared() -> Iterator[FaultyPlatform]:
    with _running(JOBICO_LEASE_MS=str(LEASE_MS)) as platform:
        yield platform


@pytest.fixture
def platform(_shared: FaultyPlatform) -> FaultyPlatform:
    """One platform with short leases for all tests after which it is whole again."""
    for name in ("control", "recorder", "repository", "executor-0", "executor-1", "listener"):
        _shared.await_ready(name)
    return _shared


@pytest.fixture
def start() -> Iterator[Callable[..., FaultyPlatform]]:
    """Starts a platform for one test: `start(*options, home=, **variables)`."""
    with ExitStack() as stack:
        yield lambda *options, **more: stack.enter_context(_running(*options, **more))


@pytest.fixture
def tenant(platform: FaultyPlatform) -> Tenant:
    """A tenant for one test."""
    return platform.tenant(f"tenant-{next(_NUMBERS)}")


@pytest.fixture
def chance() -> Random:
    """Seeded, and the seed is printed."""
    return seeded()
