"""Routes come into force when their schemas are here, and not before."""

import queue
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from http_listener import SCHEMA, revision

from jobico.errors import NodeUnavailable, SchemaViolation
from jobico.ids import digest_of
from nodes.listener.directory import Directory, RouteLoader, SchemaCache

OTHER = b'{"type": "object", "required": ["name"]}'
KEY = ("acme", "customers")


class Repository:
    """A repository that can be away."""

    def __init__(self) -> None:
        self.there = threading.Event()
        self.there.set()
        self.fetched: list[str] = []

    def fetch(self, digest: str) -> bytes:
        if not self.there.is_set():
            raise NodeUnavailable("away")
        self.fetched.append(digest)
        return {digest_of(content): content for content in (SCHEMA, OTHER)}[digest]


class Loading:
    """A route loader on a thread, and the directories that it published."""

    def __init__(self, path: Path) -> None:
        self.repository = Repository()
        self.published: queue.Queue[Directory] = queue.Queue()
        self.loader = RouteLoader(lambda: SchemaCache(path, self.repository.fetch), self.published.put)
        self.thread = threading.Thread(target=self.loader.run)
        self.thread.start()

    def next(self) -> Directory:
        return self.published.get(timeout=10)


@pytest.fixture
def loading(tmp_path: Path) -> Iterator[Loading]:
    loading = Loading(tmp_path / "schemas")
    yield loading
    loading.loader.stop()
    loading.thread.join(10)
    assert not loading.thread.is_alive()


def schema_of(directory: Directory) -> str:
    """Which schema is in force: that of the seeded job, or the other."""
    found = directory.find("acme", "customer")
    assert found is not None
    _, validator = found
    assert validator is not None
    try:
        validator.check({"customerId": "c"})
    except SchemaViolation:
        return "other"
    return "seeded"


def test_a_job_is_in_force_with_its_schema(loading: Loading) -> None:
    loading.loader.put(KEY, revision("acme"))
    assert schema_of(loading.next()) == "seeded"


def test_a_new_revision_replaces_the_schema(loading: Loading) -> None:
    loading.loader.put(KEY, revision("acme"))
    loading.next()
    loading.loader.put(KEY, revision("acme", OTHER, number=2))
    assert schema_of(loading.next()) == "other"


def test_while_a_schema_cannot_be_had_the_revision_before_serves(loading: Loading) -> None:
    loading.loader.put(KEY, revision("acme"))
    loading.next()
    loading.repository.there.clear()
    loading.loader.put(KEY, revision("acme", OTHER, number=2))
    loading.loader.put(("globex", "customers"), revision("globex"))  # its schema is here already
    assert schema_of(loading.next()) == "seeded"
    loading.repository.there.set()
    assert schema_of(loading.next()) == "other"


def test_a_first_revision_without_its_schema_waits(loading: Loading) -> None:
    loading.repository.there.clear()
    loading.loader.put(KEY, revision("acme"))
    waiting = loading.next()
    assert waiting.find("acme", "customer") is None
    assert ("acme", "customer") in waiting.waiting
    loading.repository.there.set()
    loaded = loading.next()
    assert schema_of(loaded) == "seeded"
    assert not loaded.waiting


def test_a_withdrawn_job_is_gone(loading: Loading) -> None:
    loading.loader.put(KEY, revision("acme"))
    loading.next()
    loading.loader.put(KEY, None)
    assert loading.next().find("acme", "customer") is None


def test_a_snapshot_replaces_all(loading: Loading) -> None:
    loading.loader.replace({KEY: revision("acme"), ("globex", "customers"): revision("globex")})
    loading.next()
    loading.loader.replace({("globex", "customers"): revision("globex")})
    directory = loading.next()
    assert directory.find("acme", "customer") is None
    assert directory.find("globex", "customer") is not None


def test_an_empty_snapshot_is_published_too(loading: Loading) -> None:
    """Without it a platform without jobs would never be ready."""
    loading.loader.replace({})
    assert loading.next().find("acme", "customer") is None


class TestSchemaCache:
    def test_a_schema_is_fetched_once_and_kept_over_restarts(self, tmp_path: Path) -> None:
        repository = Repository()
        for _ in range(2):
            assert SchemaCache(tmp_path / "s", repository.fetch).content(digest_of(SCHEMA)) == SCHEMA
        assert repository.fetched == [digest_of(SCHEMA)]

    def test_a_damaged_file_is_fetched_anew(self, tmp_path: Path) -> None:
        repository = Repository()
        cache = SchemaCache(tmp_path, repository.fetch)
        cache.content(digest_of(SCHEMA))
        (file,) = tmp_path.iterdir()
        file.write_bytes(SCHEMA[:-1])
        assert cache.kept(digest_of(SCHEMA)) is None
        assert cache.content(digest_of(SCHEMA)) == SCHEMA

    def test_a_directory_that_cannot_be_written_only_costs_fetches(self, tmp_path: Path) -> None:
        blocked = tmp_path / "file"
        blocked.write_bytes(b"")
        cache = SchemaCache(blocked, Repository().fetch)
        assert cache.content(digest_of(SCHEMA)) == SCHEMA
