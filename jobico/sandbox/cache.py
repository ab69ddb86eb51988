"""The compiled modules on disk, shared by the processes of this machine and user.

    <directory>/                                  mode 0700, of this user
        key                                       32 random bytes, mode 0600: what `mac` is made with
        <wasmtime version>-<config>/              compiled code is bound to both
            <sha256 of the module>.<flavour>/     appears whole, by rename; never changed after that
                code                              what wasmtime serialized
                    function                          the main function that `report` is for
            report                            JSON of a ModuleReport
                mac                               HMAC-SHA256(key, name, function, report, code)
            <sha256>.<flavour>.lock               held by who compiles it

SAFETY: a reader sees an entry whole or not at all, and one that does not match its MAC (a torn disk, a
copied-in directory) is removed and compiled anew. Two processes that compile the same module wait for one
another; where a lock is of no use, the second rename loses and nothing is harmed.

SECURITY: loading compiled code is running it. Only what this user's Jobico wrote is loaded: the directory
and its files must be this user's and closed to others, and the MAC must match.
"""

import contextlib
import fcntl
import hashlib
import hmac
import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import msgspec

from jobico import limits
from jobico.artifact import ModuleReport
from jobico.definition import Abi
from jobico.errors import Internal, InvalidModule
from jobico.ids import digest_of
from jobico.sandbox.bindings import VERSION
from jobico.sandbox.compiler import compile_module
from jobico.sandbox.config import Flavour, config_tag

__all__ = ["Compile", "Compiled", "ModuleCache"]

_KEY_BYTES: Final = 32
_READ_BYTES: Final = 1 << 20
_LOCK_POLL_S: Final = 0.02
_SCRATCH_KEPT_S: Final = 2 * limits.COMPILE_WALL_MS_MAX / 1_000
_VERSIONS_KEPT_S: Final = 7 * 24 * 3_600


class Compiled(NamedTuple):
    """Compiled code that was checked, and how it is loaded."""

    path: Path
    is_component: bool


class Compile(Protocol):
    """Compiles a module into a directory, as `compile_module` does in a child process."""

    def __call__(self, content: bytes, *, function: str, flavour: Flavour, into: Path) -> ModuleReport:
        """Leaves the file `code` in `into` if the module compiles."""
        ...


class ModuleCache:
    """Compiled modules by digest; compiles what it lacks in a child process."""

    def __init__(self, directory: Path, compile_module: Compile = compile_module) -> None:
        """Opens the cache, making the directory where there is none.

        Args:
            directory: Where it is; this user's alone.
            compile_module: What compiles; tools that trust their modules may do so without a child.

        Raises:
            Internal: the directory is somebody else's, or others may write to it.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_private(directory)
        self._entries = directory / f"{VERSION}-{config_tag()}"
        self._entries.mkdir(mode=0o700, exist_ok=True)
        _sweep(directory, self._entries)
        self.directory = directory
        self._compile_module = compile_module
        self._key = _read_key(directory / "key")

    @property
    def key(self) -> bytes:
        """A secret of this machine and user; other secrets are derived from it."""
        return self._key

    def load(self, digest: str, fetch: Callable[[str], bytes], flavour: Flavour = Flavour.PLAIN) -> Compiled:
        """The compiled code of a module, checked; compiles it if need be.

        Args:
            digest: Of the module.
            fetch: Gives the module's bytes where they must be compiled.
            flavour: Of the engine that will run it.

        Raises:
            InvalidModule: it does not compile.
        """
        entry = self._entry(digest, flavour)
        if self._is_intact(entry):
            return _compiled(entry)
        with _locked(entry.with_name(entry.name + ".lock")):
            if not self._is_intact(entry):
                content = fetch(digest)
                if digest_of(content) != digest:
                    raise Internal(f"What was fetched as {digest} has another digest.")
                report = self._compile(entry, content, flavour)
                if not (entry / "code").exists():
                    raise InvalidModule(" ".join(report.problems))
            return _compiled(entry)

    def prepare(self, content: bytes, function: str = "event") -> ModuleReport:
        """Inspects a module and, since that compiles it, keeps it: for a deploy, before the first event."""
        entry = self._entry(digest_of(content), Flavour.PLAIN)
        if self._is_intact(entry) and (entry / "function").read_text() == function:
            return msgspec.json.decode((entry / "report").read_bytes(), type=ModuleReport)
        with _locked(entry.with_name(entry.name + ".lock")):
            return self._compile(entry, content, Flavour.PLAIN, function)

    def _entry(self, digest: str, flavour: Flavour) -> Path:
        name = digest.removeprefix("sha256:")
        if len(name) != 64 or not set(name) <= set("0123456789abcdef"):
            raise InvalidModule(f"{digest[:80]!r} is not a digest of a module.")
        return self._entries / f"{name}.{flavour}"

    def _compile(
        self, entry: Path, content: bytes, flavour: Flavour, function: str = "event"
    ) -> ModuleReport:
        """Compiles into `entry`; it stays absent where the module does not compile."""
        with tempfile.TemporaryDirectory(prefix=".new-", dir=self._entries) as scratch:
            made = Path(scratch) / "entry"
            made.mkdir(mode=0o700)
            report = self._compile_module(content, function=function, flavour=flavour, into=made)
            if (made / "code").exists():
                (made / "function").write_text(function)
                (made / "report").write_bytes(msgspec.json.encode(report))
                (made / "mac").write_bytes(self._mac(made, entry.name))
                for file in made.iterdir():
                    file.chmod(0o600)
                _replace(made, entry)
                _evict(self._entries, keep=entry)
        return report

    def _mac(self, entry: Path, entry_name: str) -> bytes:
        mac = hmac.new(self._key, entry_name.encode() + b"\0", hashlib.sha256)
        for name in ("function", "report"):
            content = (entry / name).read_bytes()
            mac.update(len(content).to_bytes(8, "big") + content)
        with (entry / "code").open("rb") as code:
            while chunk := code.read(_READ_BYTES):
                mac.update(chunk)
        return mac.digest()

    def _is_intact(self, entry: Path) -> bool:
        try:
            mac = (entry / "mac").read_bytes()
            _check_private(entry)
            if hmac.compare_digest(mac, self._mac(entry, entry.name)):
                os.utime(entry)  # what was used last is kept longest
                return True
        except FileNotFoundError:
            if not entry.exists():
                return False
        shutil.rmtree(entry, ignore_errors=True)
        return False


def _compiled(entry: Path) -> Compiled:
    report = msgspec.json.decode((entry / "report").read_bytes(), type=ModuleReport)
    return Compiled(entry / "code", report.abi == Abi.COMPONENT)


def _replace(made: Path, entry: Path) -> None:
    # A directory can't be renamed over one that has files: the entry is there then, whole, and as good.
    if entry.exists():
        shutil.rmtree(entry, ignore_errors=True)
    with contextlib.suppress(OSError):
        made.rename(entry)


def _evict(entries: Path, keep: Path) -> None:
    """Removes what was used least recently while the cache is over its bound; what is loaded stays so."""
    found = []
    for entry in entries.iterdir():
        with contextlib.suppress(OSError):
            if entry.is_dir() and not entry.name.startswith("."):
                found.append((entry.stat().st_mtime, (entry / "code").stat().st_size, entry))
    total_bytes = sum(size_bytes for _, size_bytes, _ in found)
    for _, size_bytes, entry in sorted(found):
        if total_bytes <= limits.MODULE_CACHE_BYTES_MAX:
            break
        if entry != keep:
            shutil.rmtree(entry, ignore_errors=True)
            total_bytes -= size_bytes


def _sweep(directory: Path, entries: Path) -> None:
    """Removes what a compiler that died left behind, and the code of versions long unused."""
    now_s = time.time()
    for path, kept_s in (
        *((path, _SCRATCH_KEPT_S) for path in entries.glob(".new-*")),
        *((path, _VERSIONS_KEPT_S) for path in directory.iterdir() if path.is_dir() and path != entries),
    ):
        with contextlib.suppress(OSError):
            if now_s - path.stat().st_mtime > kept_s:
                shutil.rmtree(path, ignore_errors=True)


def _check_private(path: Path) -> None:
    found = path.stat(follow_symlinks=False)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise Internal(
            f"{path} must be a directory that belongs to this user and that no other may write to: "
            "compiled code is loaded from it. Remove it, it is made anew."
        )


def _read_key(path: Path) -> bytes:
    """Reads the key, making it where there is none; of two processes that do so at once, one wins."""
    with contextlib.suppress(FileExistsError):
        made = path.with_name(f".key-{secrets.token_hex(8)}")
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
        try:
            os.link(made, path)
        finally:
            made.unlink()
    key = path.read_bytes()
    if len(key) != _KEY_BYTES or path.stat().st_uid != os.geteuid() or path.stat().st_mode & 0o077:
        raise Internal(
            f"{path} is not a key of this user's that is closed to others. Remove it, it is made anew."
        )
    return key


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds the lock, or goes on without it after the time that a compilation may take."""
    until = time.monotonic() + limits.COMPILE_WALL_MS_MAX / 1_000
    with path.open("ab") as file:
        while time.monotonic() < until:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                time.sleep(_LOCK_POLL_S)
        yield
