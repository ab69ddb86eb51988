"""Control's state, its nodes, the keys it lets in and its audit log."""

from typing import Any

from jobico.audit import AuditEntry
from jobico.registry import NodeInfo
from protocol.messages.base import Message, Request
from protocol.messages.common import Done

__all__ = [
    "AddPeer",
    "Audit",
    "ControlChange",
    "ControlSnapshot",
    "GetSnapshot",
    "Goodbye",
    "Heartbeat",
    "HeartbeatSeen",
    "ListAudit",
    "ListNodes",
    "ListPeers",
    "Nodes",
    "Peers",
    "RevokePeer",
]


class ControlChange(Message, frozen=True):
    """Control on PUB, topic `c/`: one change; `seq` has no gaps. `value` None deletes.

    Tables and their keys: `tenants` name -> TenantInfo; `keys` key id -> KeyInfo; `jobs` `tenant/job` ->
    Revision (the current one); `nodes` name -> NodeInfo; `secrets` `tenant/name` -> sealed bytes; `peers` Z85
    key -> role.
    """

    TYPE = "control.change"
    seq: int
    table: str
    key: str
    value: Any = None


class ControlSnapshot(Message, frozen=True):
    """The tables of `ControlChange`, as of `seq`. `epoch` is new with every start of control's store."""

    TYPE = "control.state"
    seq: int
    epoch: str
    tables: dict[str, dict[str, Any]]


class GetSnapshot(Request[ControlSnapshot], frozen=True):
    """Asks for everything, with the number of the last change in it."""

    TYPE = "control.snapshot"


class HeartbeatSeen(Message, frozen=True):
    """The number of the last change."""

    TYPE = "node.seen"
    seq: int
    epoch: str


class Heartbeat(Request[HeartbeatSeen], frozen=True):
    """A node says that it is there; the answer tells the last change, so that a quiet loss is noticed."""

    TYPE = "node.heartbeat"
    node: NodeInfo


class Goodbye(Request[Done], frozen=True):
    """A node leaves the registry."""

    TYPE = "node.goodbye"
    name: str
    instance: str


class Nodes(Message, frozen=True):
    """The registry."""

    TYPE = "nodes"
    items: tuple[NodeInfo, ...]


class ListNodes(Request[Nodes], frozen=True):
    """Asks for the registry."""

    TYPE = "node.list"


class Peers(Message, frozen=True):
    """The CURVE keys that are or were let in: role by public key, `revoked` for those that no longer are."""

    TYPE = "peers"
    items: dict[str, str]


class ListPeers(Request[Peers], frozen=True):
    """Asks for the keys of nodes, operators and tenants' programs that may connect over tcp."""

    TYPE = "peer.list"


class AddPeer(Request[Done], frozen=True):
    """Lets a key in. A role is `node`, `operator`, `tenant:NAME:admin` or `tenant:NAME:read`."""

    TYPE = "peer.add"
    request_id: str
    key: str  # public, Z85
    role: str


class RevokePeer(Request[Done], frozen=True):
    """Lets a key in no more, for good; what it has open is cut off."""

    TYPE = "peer.revoke"
    request_id: str
    key: str


class Audit(Message, frozen=True):
    """Entries of the audit log, newest first; `next` is the `before` for more, 0 if that is all.

    A page may have fewer entries than the limit, or none, and not be the last.
    """

    TYPE = "audit"
    items: tuple[AuditEntry, ...]
    next: int = 0


class ListAudit(Request[Audit], frozen=True):
    """Asks who changed what: of a tenant, or all that the caller may see; `before` is where to go on from."""

    TYPE = "audit.list"
    tenant: str = ""
    before: int = 0
    limit: int = 100
