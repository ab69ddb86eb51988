"""Who is let in: CURVE on every `tcp://` socket, a ZAP handler with a list that changes live.

The list says which public keys there are and what each may do; control owns it (`peers`), every node follows.
A key that leaves it is refused at its next handshake, and what its open connections send is dropped at once,
because whoever receives asks `Keyring.caller` about each message. Which messages a role may send is not
decided here (`authorisation.py`).
"""

import contextlib
import socket as os_socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import zmq
import zmq.utils.z85

from jobico.errors import Unauthenticated
from protocol.authorisation import Caller, Role
from protocol.key_files import KeyPair, check_key, load_key_pair, load_public_key

__all__ = ["Keyring"]

_ZAP_ENDPOINT: Final = "inproc://zeromq.zap.01"
_DOMAINS: Final = {b"peers": frozenset(Role), b"nodes": frozenset({Role.NODE})}
"""The roles that each ZAP domain lets in: where only nodes send, nobody else gets to connect."""


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

    def guard(self, socket: zmq.Socket[bytes], *, nodes_only: bool) -> None:
        """Makes a socket that will bind let in only whom this keyring knows."""
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self.own.secret.encode())
        socket.setsockopt(zmq.ZAP_DOMAIN, b"nodes" if nodes_only else b"peers")
        # SECURITY: without this, a socket lets anybody in for as long as no handler answers.
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)

    def introduce(self, socket: zmq.Socket[bytes], server_key: str) -> None:
        """Makes a socket that will connect show its key, to the holder of `server_key` (control) only."""
        socket.setsockopt(zmq.CURVE_SERVERKEY, check_key(server_key or self.control_key).encode())
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
        if len(request) == 7 and request[0] == b"1.0" and request[5] == b"CURVE":
            key = zmq.utils.z85.encode(request[6]).decode("ascii")
            caller = self._callers.get(key)
            if caller is not None and caller.role in _DOMAINS.get(request[2], ()):
                return [b"1.0", identity, b"200", b"OK", key.encode(), b""]
        return [b"1.0", identity, b"400", b"unknown key", b"", b""]
