"""Tenants, their bearer keys, secrets and quotas: immutable, stored by control, followed by every node."""

import msgspec

__all__ = ["KeyInfo", "Quotas", "SecretInfo", "TenantInfo"]


class KeyInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tenant's bearer key as nodes see it: never the key, only its SHA-256."""

    id: str
    tenant: str
    role: str  # admin | read | send
    digest: str
    name: str = ""
    created_ms: int = 0
    revoked_ms: int = 0  # wall; it opens nothing from then on, which may be to come. 0: never

    def is_live(self, now_ms: int) -> bool:
        """True while it opens anything."""
        return not self.revoked_ms or now_ms < self.revoked_ms


class Quotas(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a tenant may use; 0 is the default of `jobico.limits`."""

    events_per_s: int = 0
    queued_events: int = 0
    queued_bytes: int = 0
    concurrent_runs: int = 0
    stored_bytes: int = 0
    weight: int = 0


class TenantInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tenant."""

    name: str
    created_ms: int
    quotas: Quotas = Quotas()


class SecretInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tenant's secret as people see it: never its value."""

    name: str
    changed_ms: int
    values: int = 1  # live ones; 2 while it is rotated
