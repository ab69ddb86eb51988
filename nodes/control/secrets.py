"""Requests about tenants' secrets: sealed here, opened only where they are used, never told.

It holds the sealing keys while a request runs, no longer.
"""

from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path

from jobico.clock import Clock
from jobico.errors import CorruptRecord, NotFound, TooLarge
from jobico.ids import check_name
from jobico.limits import SECRETS_PER_TENANT_MAX
from jobico.sealing import seal_secret, unseal_secret
from jobico.storage.catalog import Catalog, CatalogEdit
from nodes.control.changes import Changes
from nodes.control.tenants import need_tenant
from protocol.authorisation import Caller
from protocol.key_files import load_sealing_keys, make_sealing_key
from protocol.messages import DeleteSecret, Done, ListSecrets, Message, Secrets, SetSecret
from protocol.server import RequestHandler

__all__ = ["SecretHandlers"]


class SecretHandlers:
    """Answers SetSecret, ListSecrets, DeleteSecret.

    Args:
        catalog: Where sealed secrets are.
        changes: How they change.
        clock: Stamps changes.
        keys_dir: Where the sealing keys are; control makes the first at its start.
    """

    def __init__(self, catalog: Catalog, changes: Changes, clock: Clock, keys_dir: Path) -> None:
        self._catalog = catalog
        self._changes = changes
        self._clock = clock
        self._keys_dir = keys_dir
        make_sealing_key(keys_dir)

    @property
    def handlers(self) -> Mapping[type[Message], RequestHandler]:
        """By the request that each answers."""
        return {SetSecret: self.set, ListSecrets: self.list, DeleteSecret: self.delete}

    def set(self, message: SetSecret, caller: Caller) -> "Future[Done]":
        """Sets a secret; with `rotate` the value before it stays live beside it."""
        check_name("secret", message.name)
        keys, now_ms = load_sealing_keys(self._keys_dir), self._clock.wall_ms()
        tenant, name = message.tenant, message.name
        # What can be wrong with the value is found before the transaction.
        seal_secret(keys, [message.value], tenant=tenant, name=name)

        def op(edit: CatalogEdit) -> Done:
            need_tenant(edit, tenant)
            before = edit.secret(tenant, name)
            if before is None and len(edit.secrets(tenant)) >= SECRETS_PER_TENANT_MAX:
                raise TooLarge(f"{tenant!r} has {SECRETS_PER_TENANT_MAX} secrets, and no more are taken.")
            values = [message.value]
            if message.rotate and before is not None:
                values += _newest(keys, before, tenant, name)
            sealed = seal_secret(keys, values, tenant=tenant, name=name)
            edit.put_secret(tenant, name, sealed, changed_ms=now_ms, values=len(values))
            detail = "rotated" if len(values) > 1 else ""
            self._changes.note(edit, message, caller, name, tenant=tenant, detail=detail)
            return Done()

        return self._changes.request(message, caller, op, Done)

    def list(self, message: ListSecrets, _caller: Caller) -> Secrets:
        """Tells the names of a tenant's secrets."""
        with self._catalog.view() as view:
            need_tenant(view, message.tenant)
            return Secrets(items=tuple(view.secrets(message.tenant)))

    def delete(self, message: DeleteSecret, caller: Caller) -> "Future[Done]":
        """Deletes a secret."""

        def op(edit: CatalogEdit) -> Done:
            if not edit.delete_secret(message.tenant, message.name):
                raise NotFound(
                    f"{message.tenant!r} has no secret {message.name!r}: `jobico secrets list` tells them."
                )
            self._changes.note(edit, message, caller, message.name, tenant=message.tenant)
            return Done()

        return self._changes.request(message, caller, op, Done, urgent=True)


def _newest(keys: tuple[bytes, ...], sealed: bytes, tenant: str, name: str) -> list[bytes]:
    try:
        return list(unseal_secret(keys, sealed, tenant=tenant, name=name)[:1])
    except CorruptRecord:
        return []  # it is of no use to anybody, so it does not stay live
