"""Where other nodes are: control's registry as a node follows it, and convention where that is silent.

On `ipc` a node's sockets follow from its name, so nodes find one another before control has ever been up.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from jobico.errors import NodeUnavailable
from jobico.registry import NodeInfo
from jobico.settings import Settings, Transport
from protocol.sockets import endpoint

__all__ = ["Peer", "Peers"]


class Peer(NamedTuple):
    """How to reach a socket of a node; the key is empty on `ipc`."""

    endpoint: str
    server_key: str


class Peers:
    """The registry. Any thread may use it: what is replaced is replaced whole.

    Args:
        settings: Which transport there is.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._nodes: dict[str, NodeInfo] = {}

    def replace(self, nodes: Mapping[str, NodeInfo]) -> None:
        """Takes the registry anew."""
        self._nodes = dict(nodes)

    def change(self, table: str, key: str, value: Any) -> None:
        """Takes a change of control's tables, if it is one of the registry."""
        if table != "nodes":
            return
        nodes = dict(self._nodes)
        if value is None:
            nodes.pop(key, None)
        else:
            nodes[key] = value
        self._nodes = nodes

    def named(self, name: str, socket: str) -> Peer | None:
        """How to reach that socket of the node of that name; None if nobody has said."""
        node = self._nodes.get(name)
        if node is not None and socket in node.endpoints:
            return Peer(node.endpoints[socket], node.public_key)
        if self._settings.transport is Transport.IPC:
            return Peer(endpoint(self._settings, name, socket), "")
        return None

    def of_role(self, role: str, socket: str) -> Peer:
        """How to reach that socket of a node of that role, one that is there if possible.

        Raises:
            NodeUnavailable: nobody has said where one is.
        """
        nodes = sorted(
            (node for node in self._nodes.values() if node.role == role and socket in node.endpoints),
            key=lambda node: (node.lost, not node.ready, node.name),
        )
        if nodes:
            return Peer(nodes[0].endpoints[socket], nodes[0].public_key)
        peer = self.named(role, socket)
        if peer is None:
            raise NodeUnavailable(f"No {role} has registered yet: is it running? See `jobico status`.")
        return peer
