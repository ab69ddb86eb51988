"""Keys and who is let in: CURVE on every `tcp://` socket, a ZAP handler with a list that changes live.

The list says which public keys there are and what each may do; control owns it (`peers`), every node follows.
A key that leaves it is refused at its next handshake, and what its open connections send is dropped at once,
because whoever receives asks `Keyring.caller` about each message. Which messages a role may send is not
decided here (`authorisation.py`).
"""

import contextlib
import os
import socket as os_socket
import stat
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import zmq
import zmq.utils.z85

from jobico.errors import Forbidden, InvalidInput, NotFound, Unauthenticated
from jobico.ids import check_name
from protocol.authorisation import Caller

__all__ = ["KeyPair", "Keyring", "generate_key_pair", "load_key_pair", "load_public_key", "local_peers"]

_ZAP_ENDPOINT: Final = "inproc://zeromq.zap.01"
_ZAP_DOMAIN: Final = b"jobico"
_Z85_CHARS: Final = 40


class KeyPair(msgspec.Struct, frozen=True):
    """A CURVE key pair, Z85. The secret half is never printed."""

    public: str
    secret: str

    def __repr__(self) -> str:
        return f"KeyPair(public={self.public!r})"


def generate_key_pair(keys_dir: Path, name: str, role: str) -> KeyPair:
    """Makes the key pair of a node or operator: `NAME.key` (0600) and `NAME.pub` (the key and its role).

    Raises:
        Forbidden: there is one of that name; a rotation removes it first.
    """
    check_name("key", name)
    Caller.from_text(role)
    public, secret = (half.decode("ascii") for half in zmq.curve_keypair())
    keys_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    keys_dir.chmod(0o700)
    _write_new(keys_dir / f"{name}.key", f"{public} {secret}\n")
    _write_new(keys_dir / f"{name}.pub", f"{public} {role}\n")
    return KeyPair(public, secret)


def load_key_pair(keys_dir: Path, name: str) -> KeyPair:
    """Reads `NAME.key`.

    Raises:
        NotFound: it is not there.
        Forbidden: others can read it.
        InvalidInput: it holds no key pair.
    """
    public, secret = _read_private(keys_dir / f"{name}.key")
    return KeyPair(_check_key(public), _check_key(secret))


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


class Keyring:
    """The key pair of this process and the list of those it lets in.

    Threads: `replace` and `caller` may be called by any.
    """

    def __init__(self, own: KeyPair, control_key: str = "", peers: Mapping[str, str] | None = None) -> None:
        self.own = own
        self.control_key = control_key
        self._callers: dict[str, Caller] = {}
        self.departures = 0  # how often keys have left the list, or changed their role
        self._thread: threading.Thread | None = None
        self._stop, self._stopped = os_socket.socketpair()
        self.replace(peers or {})

    @classmethod
    def load(cls, keys_dir: Path, name: str) -> "Keyring":
        """The keyring of a node or face of that name; it trusts control, and whom control will name."""
        return cls(load_key_pair(keys_dir, name), load_public_key(keys_dir, "control"))

    def replace(self, peers: Mapping[str, str]) -> None:
        """Lets in exactly the keys of `peers` (role by public key), control, and itself.

        A role that means nothing here, such as that of a revoked key, lets nobody in.
        """
        callers = {}
        for key, role in peers.items():
            with contextlib.suppress(Unauthenticated):
                callers[key] = Caller.from_text(role, key)
        for key in (self.control_key, self.own.public):
            if key and key not in peers:
                callers[key] = Caller.from_text("node", key)
        departed = any(callers.get(key) != caller for key, caller in self._callers.items())
        self._callers = callers
        self.departures += departed

    def caller(self, user_id: str) -> Caller | None:
        """Who a key belongs to now; None where it is not, or no longer, let in."""
        return self._callers.get(user_id)

    def guard(self, socket: zmq.Socket[bytes]) -> None:
        """Makes a socket that will bind let in only whom this keyring knows."""
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self.own.secret.encode())
        socket.setsockopt(zmq.ZAP_DOMAIN, _ZAP_DOMAIN)
        # SECURITY: without this, a socket lets anybody in for as long as no handler answers.
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)

    def introduce(self, socket: zmq.Socket[bytes], server_key: str) -> None:
        """Makes a socket that will connect show its key, to the holder of `server_key` (control) only."""
        socket.setsockopt(zmq.CURVE_SERVERKEY, _check_key(server_key or self.control_key).encode())
        socket.setsockopt(zmq.CURVE_PUBLICKEY, self.own.public.encode())
        socket.setsockopt(zmq.CURVE_SECRETKEY, self.own.secret.encode())

    def serve(self, context: "zmq.Context[zmq.Socket[bytes]]") -> None:
        """Starts answering the handshakes of `context`, before any of its sockets binds."""
        handler = context.socket(zmq.REP)
        handler.setsockopt(zmq.LINGER, 0)
        handler.bind(_ZAP_ENDPOINT)
        # NOTE: the socket moves to the thread whole: `start` is the fence that ZeroMQ asks for.
        self._thread = threading.Thread(target=self._answer, args=(handler,), name="zap", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the handler; handshakes fail from now on."""
        if self._thread is not None:
            self._stop.send(b"x")
            self._thread.join()
            self._thread = None
        self._stop.close()
        self._stopped.close()

    def _answer(self, handler: zmq.Socket[bytes]) -> None:
        poller = zmq.Poller()
        poller.register(handler, zmq.POLLIN)
        poller.register(self._stopped, zmq.POLLIN)
        while not any(found is not handler for found, _ in poller.poll()):
            handler.send_multipart(self._verdict(handler.recv_multipart()))
        handler.close()

    def _verdict(self, request: list[bytes]) -> list[bytes]:
        """The answer to a ZAP request (RFC 27): version, id, domain, address, identity, mechanism, key."""
        identity = request[1] if len(request) > 1 else b""
        if (
            len(request) == 7
            and request[0] == b"1.0"
            and request[2] == _ZAP_DOMAIN
            and request[5] == b"CURVE"
        ):
            key = zmq.utils.z85.encode(request[6]).decode("ascii")
            if key in self._callers:
                return [b"1.0", identity, b"200", b"OK", key.encode(), b""]
        return [b"1.0", identity, b"400", b"unknown key", b"", b""]


def _check_key(text: str) -> str:
    if len(text) != _Z85_CHARS:
        raise InvalidInput(f"A CURVE key has {_Z85_CHARS} characters of Z85, this one has {len(text)}.")
    return text


def _write_new(path: Path, text: str) -> None:
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError as error:
        raise Forbidden(f"{path} exists: it is not overwritten. Revoke and remove that key first.") from error
    with os.fdopen(file, "w") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())


def _read_private(path: Path) -> list[str]:
    try:
        with path.open() as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read(256)
    except FileNotFoundError as error:
        raise NotFound(
            f"There is no key {path}: make it with `jobico keys`, on control's machine."
        ) from error
    if mode & 0o077:
        raise Forbidden(f"{path} can be read by others (mode {mode:04o}): chmod 600 it, and replace the key.")
    return _two_words(path, text)


def _read_public(path: Path) -> list[str]:
    try:
        words = _two_words(path, path.read_text())
    except FileNotFoundError as error:
        raise NotFound(f"There is no key {path}: copy it from control's machine.") from error
    _check_key(words[0])
    return words


def _two_words(path: Path, text: str) -> list[str]:
    words = text.split()
    if len(words) != 2:
        raise InvalidInput(f"{path} holds no key.")
    return words
