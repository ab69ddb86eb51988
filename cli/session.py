"""A command's way to the nodes of a platform: who answers what, and what to do where nobody does.

It prints nothing, and loads the protocol only where something is asked: `--help` does not.
"""

import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final, TypeVar

from jobico import limits
from jobico.errors import JobicoError, NodeUnavailable, NotFound, PlatformError
from jobico.registry import NodeInfo
from jobico.settings import Settings, Transport

if TYPE_CHECKING:
    from protocol.messages import Message, Request
    from protocol.sockets import Wire

__all__ = ["Session", "connect", "new_request_id"]

_R = TypeVar("_R", bound="Message")
_IN_FORCE_S: Final = 1.0
_LISTENER_MS: Final = 500.0
_LOOK_S: Final = 0.005


def new_request_id() -> str:
    """An id that makes a request harmless to repeat."""
    return secrets.token_hex(16)


class Session:
    """Calls of one command. Use it as `connect` gives it.

    Args:
        settings: Where the platform is.
        wire: Where sockets come from.
    """

    def __init__(self, settings: Settings, wire: "Wire") -> None:
        from protocol.client import Client

        self.settings = settings
        self.wire = wire
        self._client = Client(wire, "cli")
        self._nodes: tuple[NodeInfo, ...] | None = None

    def control(self, message: "Request[_R]", timeout_ms: float = limits.CALL_TIMEOUT_MS) -> _R:
        """Control's answer."""
        from protocol.sockets import control_endpoint

        self._require_platform()
        return self._client.call(control_endpoint(self.settings, "rep"), message, timeout_ms=timeout_ms)

    def ask(self, role: str, message: "Request[_R]", timeout_ms: float = limits.CALL_TIMEOUT_MS) -> _R:
        """The answer of the node of that role."""
        self._require_platform()
        address, key = self.address(role, "rep")
        return self._client.call(address, message, timeout_ms=timeout_ms, server_key=key)

    def address(self, role: str, name: str) -> tuple[str, str]:
        """The endpoint of the socket of that name of the node of that role, and its public key.

        Raises:
            NodeUnavailable: no such node has registered.
        """
        from protocol.sockets import endpoint

        if self.settings.transport is Transport.IPC:
            return endpoint(self.settings, role, name), ""
        for node in sorted(self.nodes(), key=lambda node: (node.lost, not node.ready)):
            if node.role == role and name in node.endpoints:
                return node.endpoints[name], node.public_key
        raise NodeUnavailable(f"No {role} has registered yet: see `jobico status`.")

    def nodes(
        self, timeout_ms: float = limits.CALL_TIMEOUT_MS, *, fresh: bool = False
    ) -> tuple[NodeInfo, ...]:
        """Control's registry, asked for once unless `fresh`."""
        from protocol.messages import ListNodes

        if self._nodes is None or fresh:
            self._nodes = self.control(ListNodes(), timeout_ms).items
        return self._nodes

    def url(self) -> str:
        """Where the listener takes HTTP.

        Raises:
            NodeUnavailable: no listener has said where it is.
        """
        for node in sorted(self.nodes(), key=lambda node: (node.lost, not node.ready)):
            if "http" in node.endpoints:
                return node.endpoints["http"]
        raise NodeUnavailable("No listener has registered yet: see `jobico status`.")

    def change(self, message: "Request[_R]", timeout_ms: float = limits.CALL_TIMEOUT_MS) -> _R:
        """Control's answer to a change, once the listener works by it too.

        A listener that is away is not waited for: it takes the change when it is back.
        """
        from protocol.messages import Ping

        answer = self.control(message, timeout_ms)
        deadline = time.monotonic() + _IN_FORCE_S
        try:
            made = self.control(Ping()).seq
            while self.ask("listener", Ping(), _LISTENER_MS).seq < made and time.monotonic() < deadline:
                time.sleep(_LOOK_S)
        except PlatformError:
            pass
        return answer

    @contextmanager
    def suggesting(
        self, *, tenant: str = "", job: str = "", event: str = "", file: str = ""
    ) -> Iterator[None]:
        """Adds to a NotFound which existing name was perhaps meant."""
        try:
            yield
        except NotFound as error:
            meant = self._meant(tenant, job, event, file)
            raise NotFound(f"{error.message}{meant}", detail=error.detail) from error

    def _meant(self, tenant: str, job: str, event: str, file: str) -> str:
        from protocol.messages import ListArtifacts, ListJobs, ListTenants

        try:
            tenants = [item.name for item in self.control(ListTenants()).items]
            if tenant and tenant not in tenants:
                return _did_you_mean(
                    tenant, tenants, f"Tenants: {', '.join(tenants[:10])}." if tenants else ""
                )
            if file:
                found = self.ask("repository", ListArtifacts(tenant=tenant)).items
                return _did_you_mean(file, [item.name for item in found if item.name])
            revisions = self.control(ListJobs(tenant=tenant)).items
        except JobicoError:
            return ""
        if job:
            return _did_you_mean(job, [revision.definition.id for revision in revisions])
        if event:
            return _did_you_mean(
                event, [item.id for revision in revisions for item in revision.definition.events]
            )
        return ""

    def _require_platform(self) -> None:
        """Fails at once where no platform runs, rather than after a deadline."""
        if self.settings.transport is not Transport.IPC:
            return
        from protocol.sockets import control_endpoint

        path = control_endpoint(self.settings, "rep").removeprefix("ipc://")
        if _listening(path) or _supervised(self.settings):
            return
        raise NodeUnavailable(
            f"No platform is running in {self.settings.home_dir}: start it with `jobico up`, "
            "or name another data directory with --home."
        )

    def close(self) -> None:
        """Closes its sockets."""
        self._client.close()


@contextmanager
def connect(home: str | None) -> Iterator[Session]:
    """A session with the platform of that data directory, closed at the end.

    Args:
        home: What `--home` said.
    """
    from protocol.sockets import Wire

    settings = Settings.from_environ(home=home)
    with Wire(settings, "operator") as wire:
        session = Session(settings, wire)
        try:
            yield session
        finally:
            session.close()


def _did_you_mean(name: str, names: list[str], otherwise: str = "") -> str:
    close = [] if name in names else get_close_matches(name, names, n=3)
    if close:
        return f" Did you mean {' or '.join(repr(item) for item in close)}?"
    return f" {otherwise}" if otherwise else ""


def _listening(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


def _supervised(settings: Settings) -> bool:
    from cli.supervision import Supervision

    return Supervision(settings).pid() is not None
