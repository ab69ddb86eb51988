"""The audit log of control as plain immutable data: who changed what, when, with which key."""

import msgspec

__all__ = ["AuditEntry"]


class AuditEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One change. Values of secrets and keys are never in it."""

    number: int  # from 1, in the order of the changes
    at_ms: int  # wall, control's clock
    role: str  # of who asked: local, operator, admin
    action: str  # the type of the request: tenant.create, job.deploy …
    subject: str  # what was changed: a tenant, job, key id, secret name or public key
    tenant: str = ""  # whose it is; empty for what is the platform's
    key: str = ""  # CURVE public key of who asked; empty on ipc
    detail: str = ""  # for people: revision 3, role read …
