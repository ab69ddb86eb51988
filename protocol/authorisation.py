"""Who may ask for what: one table, role by message type. It decides from the authenticated key alone.

A tenant's keys reach its own things only, and "not yours" answers like "not there".
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

from jobico.errors import Forbidden, NotFound, Unauthenticated
from protocol import messages as m
from protocol.topics import feed_topic

__all__ = ["LOCAL", "Caller", "Role", "authorise", "may_subscribe"]


class Role(StrEnum):
    """What a key may do; it comes from the key, never from a message."""

    LOCAL = "local"  # the owner of this machine's `ipc://` directory: a node and an operator at once
    NODE = "node"
    OPERATOR = "operator"
    ADMIN = "admin"  # of one tenant: reads and changes what is its own
    READ = "read"  # of one tenant: reads what is its own


class Caller(msgspec.Struct, frozen=True):
    """Who sent a message. `tenant` is set exactly with ADMIN and READ; `key` is Z85, empty on `ipc`."""

    role: Role
    tenant: str = ""
    key: str = ""

    @classmethod
    def from_text(cls, text: str, key: str = "") -> "Caller":
        """The caller that a role in control's `peers` means: node, operator, tenant:NAME:admin or :read.

        Raises:
            Unauthenticated: it means none (any more).
        """
        parts = text.split(":")
        if text in (Role.NODE, Role.OPERATOR):
            return cls(Role(text), "", key)
        if len(parts) == 3 and parts[0] == "tenant" and parts[1] and parts[2] in (Role.ADMIN, Role.READ):
            return cls(Role(parts[2]), parts[1], key)
        raise Unauthenticated(f"{text[:80]!r} is no role.")

    @property
    def trusted(self) -> bool:
        """True for those who may see every tenant."""
        return not self.tenant

    def may_see(self, tenant: str) -> bool:
        """True where the things of `tenant` are this caller's to see."""
        return self.trusted or tenant == self.tenant

    def check_tenant(self, tenant: str) -> None:
        """Lets the things of `tenant` be seen by whom they belong to.

        Raises:
            NotFound: they are not the caller's.
        """
        if not self.may_see(tenant):
            raise NotFound(f"There is no tenant {tenant!r}.")


LOCAL: Final = Caller(Role.LOCAL)
"""Who calls on `ipc`."""

_NODE: Final = frozenset({Role.LOCAL, Role.NODE})
_OPERATOR: Final = frozenset({Role.LOCAL, Role.OPERATOR})
_PLATFORM: Final = _NODE | _OPERATOR
_CHANGE: Final = _OPERATOR | {Role.ADMIN}
_READ: Final = _PLATFORM | {Role.ADMIN, Role.READ}
_UPLOAD: Final = _CHANGE | {Role.NODE}  # control uploads nothing, but binds and checks what a deploy names

ALLOWED: Final[Mapping[type[m.Message], frozenset[Role]]] = {
    m.Ping: _READ,
    # between nodes
    m.Deliveries: _NODE,
    m.Hello: _NODE,
    m.Welcome: _NODE,
    m.Settlements: _NODE,
    m.Renewal: _NODE,
    m.Returned: _NODE,
    m.Abort: _NODE,
    m.Records: _NODE,
    m.Recorded: _NODE,
    m.GetSnapshot: _NODE,
    m.Heartbeat: _NODE,
    m.Goodbye: _NODE,
    m.EmitEvent: _NODE,
    # control
    m.ListNodes: _READ,  # a tenant is told only what it needs to reach the nodes that it may ask
    m.ListPeers: _OPERATOR,
    m.AddPeer: _OPERATOR,
    m.RevokePeer: _OPERATOR,
    m.ListAudit: _CHANGE,
    m.CreateTenant: _OPERATOR,
    m.DeleteTenant: _OPERATOR,
    m.ShowTenant: _READ,
    m.ListTenants: _READ,
    m.CreateKey: _CHANGE,
    m.ListKeys: _CHANGE,
    m.RevokeKey: _CHANGE,
    m.ListSecrets: _CHANGE,
    m.SetSecret: _CHANGE,
    m.DeleteSecret: _CHANGE,
    m.DeployJob: _CHANGE,
    m.RollbackJob: _CHANGE,
    m.UndeployJob: _CHANGE,
    m.ShowJob: _READ,
    m.ListJobs: _READ,
    # repository
    m.CheckArtifact: _UPLOAD,
    m.PutArtifact: _UPLOAD,
    m.BindArtifacts: _UPLOAD,
    m.ResolveArtifact: _READ,
    m.GetArtifact: _READ,
    m.ListArtifacts: _READ,
    # recorder
    m.ListExecutions: _READ,
    m.ShowExecution: _READ,
    m.GetTotals: _READ,
    # listener
    m.ShowEvent: _READ,
    m.ListEvents: _READ,
    m.PostEvents: _CHANGE,
    m.CancelEvent: _CHANGE,
    m.ListDeadLetters: _READ,
    m.ReplayDeadLetters: _CHANGE,
    m.PurgeDeadLetters: _CHANGE,
    m.ListQueues: _READ,
}
"""Who may send what. A type that is not here is sent to nobody who decides on it (replies, feeds)."""

_TENANT_FIELD: Final[Mapping[type[m.Message], str]] = {
    kind: "name" if kind is m.ShowTenant else "tenant"
    for kind in ALLOWED
    if kind is m.ShowTenant or "tenant" in kind.__struct_fields__
}


def authorise(caller: Caller, message: m.Message) -> m.Message:
    """The message as the caller may ask it: a tenant that names no tenant asks about itself.

    Raises:
        Forbidden: the role does not allow it.
        NotFound: it is about another tenant.
    """
    kind = type(message)
    if caller.role not in ALLOWED.get(kind, ()):
        raise Forbidden(f"A key of role {caller.role} may not ask for {kind.TYPE}.")
    field = _TENANT_FIELD.get(kind)
    if caller.trusted or field is None:
        return message
    tenant = getattr(message, field)
    if tenant == "":
        return msgspec.structs.replace(message, **{field: caller.tenant})
    caller.check_tenant(tenant)
    return message


def may_subscribe(caller: Caller, topic: bytes) -> bool:
    """True where all that begins with `topic` on a PUB socket is the caller's to see."""
    return caller.trusted or topic.startswith(feed_topic(caller.tenant).encode())
