"""Tenants, their bearer keys and their secrets, asked of control."""

from jobico.tenancy import KeyInfo, Quotas, SecretInfo, TenantInfo
from protocol.messages.base import Message, Request
from protocol.messages.common import Done

__all__ = [
    "CreateKey",
    "CreateTenant",
    "DeleteSecret",
    "DeleteTenant",
    "Keys",
    "ListKeys",
    "ListSecrets",
    "ListTenants",
    "NewKey",
    "RevokeKey",
    "Secrets",
    "SetSecret",
    "ShowTenant",
    "Tenant",
    "Tenants",
]


class Tenant(Message, frozen=True):
    """A tenant and what it has."""

    TYPE = "tenant"
    tenant: TenantInfo
    jobs: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    keys: int = 0


class CreateTenant(Request[Tenant], frozen=True):
    """Makes a tenant; it may exist already if `exist_ok`. Changes quotas that are given."""

    TYPE = "tenant.create"
    request_id: str
    name: str
    quotas: Quotas | None = None
    exist_ok: bool = False


class ShowTenant(Request[Tenant], frozen=True):
    """Asks for one tenant."""

    TYPE = "tenant.show"
    name: str


class Tenants(Message, frozen=True):
    """All tenants that the caller may see."""

    TYPE = "tenants"
    items: tuple[TenantInfo, ...]


class ListTenants(Request[Tenants], frozen=True):
    """Asks for all tenants."""

    TYPE = "tenant.list"


class DeleteTenant(Request[Done], frozen=True):
    """Deletes a tenant with its keys and jobs; its queued events end as dead letters `no-route`."""

    TYPE = "tenant.delete"
    request_id: str
    name: str


class NewKey(Message, frozen=True):
    """The only message that ever holds a bearer key."""

    TYPE = "key.new"
    key: str
    info: KeyInfo


class CreateKey(Request[NewKey], frozen=True):
    """Makes a bearer key of a tenant."""

    TYPE = "key.create"
    request_id: str
    tenant: str
    role: str = "admin"
    name: str = ""


class Keys(Message, frozen=True):
    """Keys, revoked ones too."""

    TYPE = "keys"
    items: tuple[KeyInfo, ...]


class ListKeys(Request[Keys], frozen=True):
    """Asks for the keys of a tenant."""

    TYPE = "key.list"
    tenant: str


class RevokeKey(Request[Done], frozen=True):
    """Revokes a key for good, at once or when `grace_ms` have passed; a later time than set is no change."""

    TYPE = "key.revoke"
    request_id: str
    tenant: str
    id: str
    grace_ms: int = 0


class Secrets(Message, frozen=True):
    """The names of a tenant's secrets; never what they are."""

    TYPE = "secrets"
    items: tuple[SecretInfo, ...]


class ListSecrets(Request[Secrets], frozen=True):
    """Asks for the names of a tenant's secrets."""

    TYPE = "secret.list"
    tenant: str


class SetSecret(Request[Done], frozen=True):
    """Sets a secret. With `rotate` the value before it stays live beside it, until the next `SetSecret`."""

    TYPE = "secret.set"
    request_id: str
    tenant: str
    name: str
    value: bytes
    rotate: bool = False


class DeleteSecret(Request[Done], frozen=True):
    """Deletes a secret with all its live values."""

    TYPE = "secret.delete"
    request_id: str
    tenant: str
    name: str
