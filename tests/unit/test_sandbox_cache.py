"""The cache of compiled modules: what it loads, and above all what it does not."""

import multiprocessing
import os
import stat
from pathlib import Path

import pytest

from jobico.errors import Internal, InvalidModule
from jobico.ids import digest_of
from jobico.sandbox.bindings import wat2wasm
from jobico.sandbox.cache import Compiled, ModuleCache
from jobico.sandbox.compile_child import compile_here
from jobico.sandbox.config import Flavour

MODULE = wat2wasm('(module (func (export "_start")))')
DIGEST = digest_of(MODULE)


def never(_digest: str) -> bytes:
    raise AssertionError("the module was fetched though it is compiled")


def load(cache: ModuleCache) -> Compiled:
    return cache.load(DIGEST, lambda _digest: MODULE)


@pytest.fixture
def cache(tmp_path: Path) -> ModuleCache:
    return ModuleCache(tmp_path / "modules", compile_here)


def test_a_module_is_compiled_once(cache: ModuleCache, tmp_path: Path) -> None:
    first = load(cache)
    assert cache.load(DIGEST, never) == first
    assert ModuleCache(tmp_path / "modules").load(DIGEST, never) == first
    assert first.path.read_bytes()[:4] == b"\x7fELF"
    assert not first.is_component


def test_a_child_process_compiles_the_same_code(cache: ModuleCache, tmp_path: Path) -> None:
    by_child = ModuleCache(tmp_path / "others")
    assert load(by_child).path.read_bytes() == load(cache).path.read_bytes()


def test_only_its_user_can_read_it(cache: ModuleCache, tmp_path: Path) -> None:
    load(cache)
    for path in (tmp_path / "modules").rglob("*"):
        assert not path.stat().st_mode & 0o077 or path.suffix == ".lock", path
    assert stat.S_IMODE((tmp_path / "modules").stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["code", "mac", "report", "function"])
def test_an_entry_that_was_changed_is_compiled_anew(cache: ModuleCache, name: str) -> None:
    code = load(cache).path
    kept = code.read_bytes()
    changed = code.parent / name
    changed.write_bytes(changed.read_bytes()[:-1] + b"\xff")
    assert load(cache).path.read_bytes() == kept


@pytest.mark.parametrize("name", ["code", "mac", "report"])
def test_an_entry_that_lacks_a_file_is_compiled_anew(cache: ModuleCache, name: str) -> None:
    code = load(cache).path
    (code.parent / name).unlink()
    assert load(cache).path.exists()


def test_code_from_another_cache_is_not_loaded(cache: ModuleCache, tmp_path: Path) -> None:
    """A whole entry, with its own MAC, from a cache with another key."""
    foreign = load(ModuleCache(tmp_path / "foreign", compile_here)).path.parent
    mine = load(cache).path.parent
    for file in foreign.iterdir():
        (mine / file.name).write_bytes(file.read_bytes())
    fetched = []
    cache.load(DIGEST, lambda digest: fetched.append(digest) or MODULE)  # type: ignore[func-returns-value]
    assert fetched == [DIGEST]


def test_an_entry_under_another_name_is_not_loaded(cache: ModuleCache) -> None:
    other = digest_of(b"other")
    entry = load(cache).path.parent
    entry.rename(entry.with_name(other.removeprefix("sha256:") + ".plain"))
    with pytest.raises(LookupError):
        cache.load(other, lambda _digest: (_ for _ in ()).throw(LookupError))


def test_a_directory_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "shared"
    directory.mkdir()
    directory.chmod(0o777)
    with pytest.raises(Internal, match="belongs to this user"):
        ModuleCache(directory)


def test_a_key_that_others_may_read_is_refused(cache: ModuleCache, tmp_path: Path) -> None:
    (tmp_path / "modules" / "key").chmod(0o644)
    with pytest.raises(Internal, match="key"):
        ModuleCache(tmp_path / "modules")


def test_what_has_another_digest_is_not_compiled(cache: ModuleCache) -> None:
    with pytest.raises(Internal, match="digest"):
        cache.load(digest_of(b"else"), lambda _digest: MODULE)


def test_a_digest_cannot_name_a_path(cache: ModuleCache) -> None:
    for digest in ("sha256:../../etc", "sha256:" + "g" * 64, "", "sha256:" + "A" * 64):
        with pytest.raises(InvalidModule):
            cache.load(digest, never)


def test_a_module_that_does_not_compile_leaves_nothing(cache: ModuleCache, tmp_path: Path) -> None:
    bad = b"\0asm\x01\0\0\0\xff"
    with pytest.raises(InvalidModule, match="not a valid module"):
        cache.load(digest_of(bad), lambda _digest: bad)
    assert not [path for path in (tmp_path / "modules").rglob("*") if path.name in ("code", "mac")]


def test_preparing_keeps_what_it_compiled(cache: ModuleCache) -> None:
    report = cache.prepare(MODULE)
    assert (report.valid, report.abi) == (True, "command")
    assert cache.load(DIGEST, never).path.exists()
    assert cache.prepare(MODULE, "other").abi == "command"
    assert cache.load(DIGEST, never).path.exists()


def test_what_was_left_half_made_is_not_seen(cache: ModuleCache) -> None:
    """What a process that dies while it compiles leaves is an entry without its MAC, at worst."""
    entry = cache._entry(DIGEST, Flavour.PLAIN)
    entry.mkdir()
    (entry / "code").write_bytes(b"half")
    assert load(cache).path.read_bytes() != b"half"


def test_what_was_used_least_recently_goes_first(cache: ModuleCache, monkeypatch: pytest.MonkeyPatch) -> None:
    modules = [wat2wasm(f'(module (func (export "_start")) (func (export "f{n}")))') for n in range(3)]
    paths = []
    for age, content in enumerate(modules[:2]):
        paths.append(cache.load(digest_of(content), lambda _digest, content=content: content).path)
        os.utime(paths[-1].parent, (age, age))
    cache.load(digest_of(modules[0]), never)  # used again
    monkeypatch.setattr("jobico.limits.MODULE_CACHE_BYTES_MAX", 2 * paths[0].stat().st_size)
    paths.append(cache.load(digest_of(modules[2]), lambda _digest: modules[2]).path)
    assert [path.exists() for path in paths] == [True, False, True]


def test_what_nobody_will_use_is_swept_at_the_next_start(cache: ModuleCache, tmp_path: Path) -> None:
    directory, entries = tmp_path / "modules", load(cache).path.parent.parent
    left, fresh, old_version = entries / ".new-left", entries / ".new-fresh", directory / "1.0.0-v1"
    for path in (left, fresh, old_version):
        path.mkdir()
    os.utime(left, (1, 1))
    os.utime(old_version, (1, 1))
    assert ModuleCache(directory).load(DIGEST, never).path.exists()
    assert [path.exists() for path in (left, fresh, old_version)] == [False, True, False]


def _load_in_process(directory: str, barrier: object, results: object) -> None:
    cache = ModuleCache(Path(directory), compile_here)
    barrier.wait()  # type: ignore[attr-defined]
    try:
        path = cache.load(DIGEST, lambda _digest: MODULE).path
        results.put((os.getpid(), path.read_bytes()[:4]))  # type: ignore[attr-defined]
    except BaseException as error:
        results.put((os.getpid(), repr(error)))  # type: ignore[attr-defined]


def test_processes_that_compile_the_same_module_at_once_all_get_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(4), context.Queue()
    arguments = (str(tmp_path / "modules"), barrier, results)
    processes = [context.Process(target=_load_in_process, args=arguments) for _ in range(4)]
    for process in processes:
        process.start()
    found = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(timeout=60)
    results.close()
    results.join_thread()
    assert [head for _, head in found] == [b"\x7fELF"] * 4
