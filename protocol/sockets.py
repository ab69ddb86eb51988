"""Sockets with every bound and time-out set, and where they are. It owns the context; it reads no message.

One `Wire` a process, opened after any fork. A socket belongs to the thread that made it. `ipc://` sockets are
in a directory that only its owner can enter; every `tcp://` socket is CURVE (`security.py`).
"""

import contextlib
import fcntl
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

import zmq

from jobico import limits
from jobico.errors import AlreadyExists, Forbidden, InvalidInput, NodeUnavailable
from jobico.settings import Settings, Transport
from protocol.security import Keyring
from protocol.watching import Monitor, PeerEvent, Watch, watch

__all__ = [
    "SOCKET_NAMES",
    "Monitor",
    "PeerEvent",
    "Socket",
    "Watch",
    "Wire",
    "advertised",
    "control_endpoint",
    "endpoint",
    "try_recv",
    "try_send",
    "watch",
]

Socket = zmq.Socket[bytes]
"""A socket, for whoever must name its type; only this package imports `zmq`."""

SOCKET_NAMES: Final = ("rep", "pub", "deliveries", "settlements", "records")
"""What a node may bind; with `node_port` set, each has the port at its place in this order."""

_CONTROL: Final = "control"
_SOCKET_PATH_BYTES_MAX: Final = 107  # sun_path of unix(7), less the final zero
_LINGER_MS: Final = 1_000
_SOCKETS_MAX: Final = 8_192
_BACKLOG: Final = 1_024


def endpoint(settings: Settings, node: str, socket: str) -> str:
    """Where the socket of that name of a node is bound; with `ipc` also where it is reached."""
    assert socket in SOCKET_NAMES
    if settings.transport == Transport.IPC:
        path = settings.run_dir / f"{node}.{socket}"
        if len(os.fsencode(path)) > _SOCKET_PATH_BYTES_MAX:
            raise InvalidInput(
                f"{path} is too long for a socket (unix(7) has {_SOCKET_PATH_BYTES_MAX} bytes): "
                "choose a shorter JOBICO_NODE_NAME or JOBICO_HOME."
            )
        return f"ipc://{path}"
    first = settings.control_port if node == _CONTROL else settings.node_port
    port = str(first + SOCKET_NAMES.index(socket)) if first else "*"
    return f"tcp://{settings.bind_host}:{port}"


def control_endpoint(settings: Settings, socket: str) -> str:
    """Where control's `rep` or `pub` is reached; all other endpoints on `tcp` come from its registry."""
    if settings.transport == Transport.IPC:
        return endpoint(settings, _CONTROL, socket)
    return f"tcp://{settings.control_host}:{settings.control_port + SOCKET_NAMES.index(socket)}"


def advertised(settings: Settings, socket: Socket) -> str:
    """Where others reach a bound socket: its port resolved, its host as `advertise_host` says."""
    bound = socket.getsockopt(zmq.LAST_ENDPOINT)
    assert isinstance(bound, bytes)
    address = bound.rstrip(b"\0").decode()
    if not address.startswith("tcp://"):
        return address
    return f"tcp://{settings.advertise_host or settings.bind_host}:{address.rpartition(':')[2]}"


def try_send(socket: Socket, frames: Sequence[bytes]) -> bool:
    """Sends if the socket takes a message now; False where its peer is away or its bound is reached."""
    try:
        socket.send_multipart(frames, flags=zmq.DONTWAIT)
    except zmq.Again:
        return False
    return True


def try_recv(socket: Socket) -> list[bytes] | None:
    """The frames of the next message that is there, or None."""
    try:
        return socket.recv_multipart(flags=zmq.DONTWAIT)
    except zmq.Again:
        return None


class Wire:
    """The context of a process and its sockets.

    Args:
        settings: Where sockets are and which transport they use.
        name: Of the node or face; with `tcp` it chooses the key pair in `keys_dir`.
        keyring: Keys and who is let in; with `tcp` loaded from `keys_dir` by default.
    """

    def __init__(self, settings: Settings, name: str, *, keyring: Keyring | None = None) -> None:
        self.settings = settings
        self.name = name
        self.secure = settings.transport == Transport.TCP
        if self.secure:
            keyring = keyring or Keyring.load(settings.keys_dir, name)
        self.keyring = keyring
        self._context: zmq.Context[Socket] = zmq.Context()
        self._context.set(zmq.MAX_SOCKETS, _SOCKETS_MAX)
        self._locks: dict[str, tuple[int, Socket]] = {}
        if self.secure and keyring is not None:
            keyring.serve(self._context)

    def rep(self, endpoint: str, *, bytes_max: int = limits.MESSAGE_BYTES_MAX) -> Socket:
        """Binds a socket that answers REQ and DEALER peers.

        NOTE: it is a ROUTER, which those peers cannot tell from a REP: an answer that takes long does not
        hold back the next, and a message without an envelope is seen and counted.
        """
        socket = self._new(zmq.ROUTER, endpoint, bytes_max)
        # SECURITY: this bounds what one connection makes this process hold before it is read.
        requests = max(2, limits.REQUESTS_RECEIVED_BYTES_MAX // bytes_max)
        socket.setsockopt(zmq.RCVHWM, min(requests, limits.SOCKET_HWM))
        socket.copy_threshold = 0  # so that what a peer has not read yet is known
        return self._bound(socket, endpoint)

    def pull(self, endpoint: str, *, bytes_max: int = limits.MESSAGE_BYTES_MAX) -> Socket:
        """Binds a PULL; with `tcp`, only nodes get to connect."""
        return self._bound(self._new(zmq.PULL, endpoint, bytes_max), endpoint, nodes_only=True)

    def pub(self, endpoint: str) -> Socket:
        """Binds a PUB whose subscriptions are checked: it must be given to a `server.Publisher`."""
        socket = self._new(zmq.XPUB, endpoint, limits.HEADER_FRAME_BYTES_MAX)
        socket.setsockopt(zmq.XPUB_MANUAL, 1)
        return self._bound(socket, endpoint)

    def req(
        self, endpoint: str, *, server_key: str = "", bytes_max: int = limits.UPLOAD_MESSAGE_BYTES_MAX
    ) -> Socket:
        """Connects a REQ; it sends only once the peer is there."""
        return self._connect(zmq.REQ, endpoint, server_key, bytes_max, linger_ms=0)

    def dealer(
        self, endpoint: str, *, server_key: str = "", bytes_max: int = limits.UPLOAD_MESSAGE_BYTES_MAX
    ) -> Socket:
        """Connects a DEALER, for several requests at once to one `rep`; it sends once the peer is there."""
        return self._connect(zmq.DEALER, endpoint, server_key, bytes_max, linger_ms=0)

    def push(self, endpoint: str, *, server_key: str = "", linger_ms: int = _LINGER_MS) -> Socket:
        """Connects a PUSH; it takes messages only while the peer is there."""
        return self._connect(
            zmq.PUSH, endpoint, server_key, limits.HEADER_FRAME_BYTES_MAX, linger_ms=linger_ms
        )

    def sub(self, endpoint: str, topics: Sequence[str], *, server_key: str = "") -> Socket:
        """Connects a SUB to the topics that begin with one of `topics`."""
        socket = self._connect(zmq.SUB, endpoint, server_key, limits.MESSAGE_BYTES_MAX, linger_ms=0)
        for topic in topics:
            socket.setsockopt(zmq.SUBSCRIBE, topic.encode())
        return socket

    def close(self) -> None:
        """Closes what is still open; waits at most the linger of each socket."""
        if self.keyring is not None:
            self.keyring.stop()
        self._context.destroy()
        for lock, _ in self._locks.values():
            os.close(lock)
        self._locks.clear()

    def __enter__(self) -> "Wire":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _new(self, kind: int, endpoint: str, bytes_max: int) -> Socket:
        if self.secure != endpoint.startswith("tcp://"):
            raise InvalidInput(f"{endpoint} is not of this platform's transport, {self.settings.transport}.")
        socket = self._context.socket(kind)
        for option, value in (
            (zmq.LINGER, _LINGER_MS),
            (zmq.SNDHWM, limits.SOCKET_HWM),
            (zmq.RCVHWM, limits.SOCKET_HWM),
            (zmq.MAXMSGSIZE, bytes_max),
            (zmq.HANDSHAKE_IVL, limits.HANDSHAKE_MS),
            (zmq.HEARTBEAT_IVL, limits.SOCKET_HEARTBEAT_MS),
            (zmq.HEARTBEAT_TIMEOUT, limits.SOCKET_HEARTBEAT_TIMEOUT_MS),
            (zmq.HEARTBEAT_TTL, limits.SOCKET_HEARTBEAT_TIMEOUT_MS),
            (zmq.RECONNECT_IVL, limits.RECONNECT_MS),
            (zmq.RECONNECT_IVL_MAX, limits.RECONNECT_MS_MAX),
            (zmq.BACKLOG, _BACKLOG),
        ):
            socket.setsockopt(option, value)
        return socket

    def _bound(self, socket: Socket, endpoint: str, *, nodes_only: bool = False) -> Socket:
        try:
            if self.keyring is not None:
                self.keyring.guard(socket, nodes_only=nodes_only)
            if endpoint.startswith("ipc://"):
                self._claim(Path(endpoint.removeprefix("ipc://")), socket)
            socket.bind(endpoint)
        except zmq.ZMQError as error:
            socket.close(linger=0)
            raise NodeUnavailable(f"{endpoint} cannot be bound: {error.strerror}.") from error
        except BaseException:
            socket.close(linger=0)
            raise
        return socket

    def _connect(
        self, kind: int, endpoint: str, server_key: str, bytes_max: int, *, linger_ms: int
    ) -> Socket:
        socket = self._new(kind, endpoint, bytes_max)
        try:
            socket.setsockopt(zmq.LINGER, linger_ms)
            if kind != zmq.SUB:
                socket.setsockopt(zmq.IMMEDIATE, 1)
            if self.secure:
                socket.setsockopt(zmq.CONNECT_TIMEOUT, limits.HANDSHAKE_MS)
            if self.keyring is not None:
                self.keyring.introduce(socket, server_key)
            socket.connect(endpoint)
        except zmq.ZMQError as error:
            socket.close(linger=0)
            raise NodeUnavailable(f"{endpoint} cannot be connected: {error.strerror}.") from error
        except BaseException:
            socket.close(linger=0)
            raise
        return socket

    def _claim(self, path: Path, socket: Socket) -> None:
        """Takes the lock beside a socket's path, for as long as this process and that socket live.

        SAFETY: ZeroMQ unlinks what is at the path before it binds, so a second node of the same name would
        take over the first one's peers in silence. The kernel drops the lock with the process, so a killed
        node leaves nothing behind that has to be cleaned up.
        """
        _own_directory(path.parent)
        name = str(path)
        if name in self._locks and self._locks[name][1].closed:
            os.close(self._locks.pop(name)[0])
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise AlreadyExists(
                f"Another process serves {path}: stop it (`jobico down`), or give this node another name "
                "(JOBICO_NODE_NAME) or data directory (JOBICO_HOME)."
            ) from error
        self._locks[name] = (lock, socket)


def _own_directory(path: Path) -> None:
    """Makes sure that nobody else can enter the directory of sockets.

    SECURITY: on `ipc` whoever can open a socket is an operator, so the directory is the boundary. It may be
    under the temporary directory, where others can make one of that name first.
    """
    with contextlib.suppress(FileExistsError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise Forbidden(f"{path} belongs to somebody else: remove it, or choose another JOBICO_HOME.")
    if stat.S_IMODE(found.st_mode) != 0o700:
        path.chmod(0o700)
