"""Platforms for the acceptance tests; each leaves no process behind."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from acceptance_kit import Platform, processes_of, run_cli


@contextmanager
def _running(*options: str) -> Iterator[Platform]:
    home = Path(tempfile.mkdtemp(prefix="jb"))
    try:
        yield Platform(home, *options)
    finally:
        stopped = run_cli("down", home=home)
        left = processes_of(home)
        shutil.rmtree(home, ignore_errors=True)
    assert stopped.code == 0, stopped.err
    assert not left


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    """One platform for all tests that break nothing of it."""
    with _running() as running:
        yield running


@pytest.fixture
def own_platform() -> Iterator[Platform]:
    """A platform for one test, which may break it."""
    with _running() as running:
        yield running
