"""Key files: CURVE key pairs of nodes and operators, and the key that tenants' secrets are sealed with.

    keys/NAME.key      0600   public and secret half of a key pair, Z85, on one line
    keys/NAME.pub      0600   the public half and its role; may be copied
    keys/secrets.key   0600   sealing keys, one a line, newest first, URL-safe base64

Private halves are written once, never printed, and refused where others can read them.
"""

import base64
import binascii
import contextlib
import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import zmq

from jobico.errors import Forbidden, InvalidInput, NotFound
from jobico.ids import check_name
from jobico.sealing import KEY_BYTES, new_sealing_key
from protocol.authorisation import Caller

__all__ = [
    "KeyPair",
    "check_key",
    "generate_key_pair",
    "load_key_pair",
    "load_public_key",
    "load_sealing_keys",
    "local_peers",
    "make_missing_key_pairs",
    "make_sealing_key",
    "replace_key_pair",
]

_Z85_CHARS: Final = 40
_FILE_BYTES_MAX: Final = 4_096
_SEALING: Final = "secrets"


class KeyPair(msgspec.Struct, frozen=True):
    """A CURVE key pair, Z85. The secret half is never printed."""

    public: str
    secret: str

    def __repr__(self) -> str:
        return f"KeyPair(public={self.public!r})"


def generate_key_pair(keys_dir: Path, name: str, role: str) -> KeyPair:
    """Makes the key pair of a node, operator or tenant's program: `NAME.key` and `NAME.pub`.

    Raises:
        Forbidden: there is one of that name; a rotation removes it first.
        InvalidInput: it cannot be a name.
        Unauthenticated: it is no role.
    """
    if check_name("key", name) == _SEALING:
        raise InvalidInput(f"A key pair cannot be called {name!r}: that is the name of the sealing keys.")
    Caller.from_text(role)
    public, secret = (half.decode("ascii") for half in zmq.curve_keypair())
    _make_directory(keys_dir)
    _write_new(keys_dir / f"{name}.key", f"{public} {secret}\n")
    _write_new(keys_dir / f"{name}.pub", f"{public} {role}\n")
    return KeyPair(public, secret)


def make_missing_key_pairs(keys_dir: Path, roles: Mapping[str, str]) -> None:
    """Makes the key pairs (role by name) that are missing: of the nodes of one machine, before they start."""
    for name, role in roles.items():
        if not (keys_dir / f"{name}.key").exists():
            generate_key_pair(keys_dir, name, role)


def replace_key_pair(keys_dir: Path, name: str) -> tuple[str, KeyPair]:
    """Makes a key pair of the same role in the place of `NAME`'s; also returns the public key that it had.

    SAFETY: the private half takes its place first, and each at once: a process that starts meanwhile reads a
    whole pair.

    Raises:
        NotFound: there is none of that name.
    """
    former, role = _read_public(keys_dir / f"{name}.pub")
    beside = keys_dir / f".{name}.new"
    shutil.rmtree(beside, ignore_errors=True)
    pair = generate_key_pair(beside, name, role)
    for suffix in ("key", "pub"):
        (beside / f"{name}.{suffix}").rename(keys_dir / f"{name}.{suffix}")
    beside.rmdir()
    return former, pair


def load_key_pair(keys_dir: Path, name: str) -> KeyPair:
    """Reads `NAME.key`.

    Raises:
        NotFound: it is not there.
        Forbidden: others can read it.
        InvalidInput: it holds no key pair.
    """
    path = keys_dir / f"{name}.key"
    public, secret = _two_words(path, _read_private(path))
    return KeyPair(check_key(public), check_key(secret))


def load_public_key(keys_dir: Path, name: str) -> str:
    """Reads the key in `NAME.pub`, such as control's, which each node is given a copy of.

    Raises:
        NotFound: it is not there.
        InvalidInput: it holds no key.
    """
    return _read_public(keys_dir / f"{name}.pub")[0]


def local_peers(keys_dir: Path) -> dict[str, str]:
    """Role by public key of all `*.pub` in a directory of keys: whom control trusts at first."""
    found = {}
    for path in sorted(keys_dir.glob("*.pub")):
        key, role = _read_public(path)
        Caller.from_text(role)
        found[key] = role
    return found


def make_sealing_key(keys_dir: Path) -> None:
    """Makes `secrets.key` where there is none: control's part, at its first start."""
    _make_directory(keys_dir)
    with contextlib.suppress(Forbidden):
        _write_new(keys_dir / f"{_SEALING}.key", base64.urlsafe_b64encode(new_sealing_key()).decode() + "\n")


def load_sealing_keys(keys_dir: Path) -> tuple[bytes, ...]:
    """Reads `secrets.key`, newest key first; none where it is not there.

    Raises:
        Forbidden: others can read it.
        InvalidInput: it holds no keys.
    """
    path = keys_dir / f"{_SEALING}.key"
    try:
        lines = _read_private(path).split()
    except NotFound:
        return ()
    try:
        keys = tuple(base64.b64decode(line, altchars=b"-_", validate=True) for line in lines)
    except binascii.Error as error:
        raise InvalidInput(f"{path} holds no sealing keys.") from error
    if not keys or any(len(key) != KEY_BYTES for key in keys):
        raise InvalidInput(f"{path} holds no sealing keys of {KEY_BYTES} bytes.")
    return keys


def check_key(text: str) -> str:
    """Returns `text` if it can be a CURVE key.

    Raises:
        InvalidInput: it cannot.
    """
    if len(text) != _Z85_CHARS:
        raise InvalidInput(f"A CURVE key has {_Z85_CHARS} characters of Z85, this one has {len(text)}.")
    return text


def _make_directory(keys_dir: Path) -> None:
    keys_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    keys_dir.chmod(0o700)


def _write_new(path: Path, text: str) -> None:
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError as error:
        raise Forbidden(f"{path} exists: it is not overwritten. Revoke and remove that key first.") from error
    with os.fdopen(file, "w") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())


def _read_private(path: Path) -> str:
    try:
        with path.open() as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read(_FILE_BYTES_MAX)
    except FileNotFoundError as error:
        raise NotFound(
            f"There is no key {path}: make it with `jobico peers make`, on control's machine."
        ) from error
    if mode & 0o077:
        raise Forbidden(f"{path} can be read by others (mode {mode:04o}): chmod 600 it, and replace the key.")
    return text


def _read_public(path: Path) -> list[str]:
    try:
        words = _two_words(path, path.read_text())
    except FileNotFoundError as error:
        raise NotFound(f"There is no key {path}: copy it from control's machine.") from error
    check_key(words[0])
    return words


def _two_words(path: Path, text: str) -> list[str]:
    words = text.split()
    if len(words) != 2:
        raise InvalidInput(f"{path} holds no key.")
    return words
