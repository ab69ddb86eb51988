"""`jobico backup` and `jobico restore`: the stores and keys of a data directory, copied while it is in use.

A backup is a directory:

    backup.json      what is in it, written last: without it the backup is not finished
    data/NODE/...    each store, one moment of it, compact
    keys/            private keys, and the key that opens the tenants' secrets

What can be had again is left out: compiled modules, snapshots, logs.
"""

import json
import os
import time
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from cli import render
from cli.options import Home, Json
from jobico import __version__
from jobico.errors import AlreadyExists, InvalidInput, NotFound
from jobico.settings import Settings
from jobico.units import format_size

__all__ = ["backup", "restore"]

_MANIFEST: Final = "backup.json"
_FORMAT: Final = 1
# SAFETY: queues before executions, so that what leaves a queue between the two copies is in the second. The
# other way round its record would be in neither. What is in both the recorder keeps once. Definitions come
# after the events that need them, artifacts after the definitions.
_ORDER: Final = ("queue", "executions", "catalog", "artifacts")

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="Of the backup.", show_default=False)]


class _Store(msgspec.Struct, frozen=True):
    path: str
    kind: str
    values: int
    damaged: int
    size_bytes: int


class _Manifest(msgspec.Struct, frozen=True):
    format: int
    version: str
    made_ms: int
    stores: tuple[_Store, ...]


def backup(directory: Directory, home: Home = None, as_json: Json = False) -> None:
    """Copy the platform's stores and keys to a new directory.

    The platform may run: nothing waits for the copy, and each store is copied as of one moment.

    Example: jobico backup /backups/2026-01-31
    """
    from jobico.storage.backup import copy_store

    settings = Settings.from_environ(home=home)
    target = directory.absolute()
    sources = _stores_of(settings)
    _make_new(target)
    stores = []
    with render.progress() as bars:
        task = bars.add_task("Backing up", total=len(sources))
        for source in sources:
            path = source.relative_to(settings.home_dir)
            bars.update(task, description=f"Copying {path}")
            stores.append(_Store(str(path), *copy_store(source, target / path)))
            bars.advance(task)
    _copy_keys(settings.keys_dir, target / "keys")
    manifest = _Manifest(_FORMAT, __version__, time.time_ns() // 1_000_000, tuple(stores))
    _write(target / _MANIFEST, json.dumps(msgspec.to_builtins(manifest), indent=2).encode())
    _report({"backup": str(target)}, manifest, f"Backed up {settings.home_dir} to {target}.")


def restore(directory: Directory, home: Home = None, as_json: Json = False) -> None:
    """Make a data directory from a backup.

    All of the backup is checked before anything is written. The data directory has no stores yet: move an old
    one away, or name another with --home. Then `jobico up`.

    Example: jobico restore /backups/2026-01-31 --home /srv/jobico
    """
    from jobico.storage.backup import check_store, restore_store

    settings = Settings.from_environ(home=home)
    source = directory.absolute()
    manifest = _read_manifest(source)
    _check_free(settings)
    for store in manifest.stores:
        check_store(source / store.path)
    settings.home_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    for store in manifest.stores:
        restore_store(source / store.path, settings.home_dir / store.path)
    _copy_keys(source / "keys", settings.keys_dir)
    facts = {"backup": str(source), "home": str(settings.home_dir)}
    _report(facts, manifest, f"Restored {settings.home_dir}. Next: `jobico up`.")


def _stores_of(settings: Settings) -> list[Path]:
    """The directories of all stores, in the order in which they are copied."""
    from jobico.storage.backup import kind_of

    data = settings.home_dir / "data"
    kinds = {path.parent: kind_of(path.parent) for path in sorted(data.glob("**/data.mdb"))}
    if not kinds:
        raise NotFound(f"{settings.home_dir} holds no store: name the data directory with --home.")
    return sorted(kinds, key=lambda path: _ORDER.index(kinds[path]))


def _make_new(target: Path) -> None:
    try:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(target.iterdir()):
            raise AlreadyExists(f"{target} is not empty: name a new directory for the backup.")
    except OSError as error:
        raise InvalidInput(f"{target} cannot be made: {error.strerror}.") from error


def _check_free(settings: Settings) -> None:
    from cli.supervision import Supervision

    pid = Supervision(settings).pid()
    if pid is not None:
        raise AlreadyExists(
            f"A platform runs in {settings.home_dir}: stop it with `jobico down`, "
            "or restore into another data directory with --home."
        )
    if any((settings.home_dir / "data").glob("**/data.mdb")):
        raise AlreadyExists(
            f"{settings.home_dir} has stores already: move {settings.home_dir / 'data'} away first, "
            "or restore into another data directory with --home."
        )


def _read_manifest(source: Path) -> _Manifest:
    try:
        manifest = msgspec.json.decode((source / _MANIFEST).read_bytes(), type=_Manifest)
    except OSError as error:
        raise NotFound(f"{source} holds no finished backup: it has no {_MANIFEST}.") from error
    except msgspec.MsgspecError as error:
        raise InvalidInput(f"{source / _MANIFEST} is damaged: {error}.") from error
    if manifest.format != _FORMAT:
        raise InvalidInput(f"{source} was made by Jobico {manifest.version}: restore it with that one.")
    for store in manifest.stores:
        path = Path(store.path)
        # SECURITY: a backup that was meddled with must not write beside the data directory.
        if path.is_absolute() or ".." in path.parts or path.parts[:1] != ("data",):
            raise InvalidInput(f"{source / _MANIFEST} is damaged: {store.path!r} is no place of a store.")
    return manifest


def _copy_keys(source: Path, target: Path) -> None:
    if not source.is_dir():
        return
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    for file in sorted(source.iterdir()):
        if file.is_file():
            _write(target / file.name, file.read_bytes())


def _write(path: Path, content: bytes) -> None:
    """Writes a file that only its owner reads, synced."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _report(facts: dict[str, Any], manifest: _Manifest, text: str) -> None:
    rows = [
        (store.path, store.kind, f"{store.values:,}", f"{store.damaged:,}", format_size(store.size_bytes))
        for store in manifest.stores
    ]
    columns = ("STORE", "KIND", "#VALUES", "#DAMAGED", "#SIZE")
    render.report(
        {**facts, "stores": msgspec.to_builtins(manifest.stores)},
        lambda: render.table(columns, rows, empty="It has no stores."),
    )
    render.line(text, "green")
