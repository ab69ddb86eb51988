"""Requests about tenants."""

from collections.abc import Mapping
from concurrent.futures import Future

import msgspec

from jobico.clock import Clock
from jobico.errors import AlreadyExists, NotFound, TooLarge
from jobico.ids import check_name
from jobico.limits import TENANTS_MAX
from jobico.storage.catalog import Catalog, CatalogEdit, CatalogView
from jobico.tenancy import Quotas, TenantInfo
from nodes.control.changes import Changes
from nodes.control.trust import REVOKED
from protocol.authorisation import Caller
from protocol.messages import (
    CreateTenant,
    DeleteTenant,
    Done,
    ListTenants,
    Message,
    ShowTenant,
    Tenant,
    Tenants,
)
from protocol.server import RequestHandler

__all__ = ["TenantHandlers", "create_tenant", "need_tenant"]


def need_tenant(view: CatalogView, name: str) -> TenantInfo:
    """The tenant of that name.

    Raises:
        NotFound: there is none.
    """
    tenant = view.tenant(name)
    if tenant is None:
        raise NotFound(f"There is no tenant {name!r}: `jobico tenants` lists them, a first deploy makes one.")
    return tenant


def create_tenant(edit: CatalogEdit, name: str, now_ms: int, quotas: Quotas | None = None) -> TenantInfo:
    """Stores a new tenant.

    Raises:
        AlreadyExists: a tenant of that name was deleted.
        TooLarge: there are TENANTS_MAX.
    """
    # SECURITY: records, dead letters and queued events outlive their tenant; who came later would read them.
    if edit.is_former(name):
        raise AlreadyExists(f"A tenant {name!r} was deleted, its name is not given again: choose another.")
    if len(edit.tenants()) >= TENANTS_MAX:
        raise TooLarge(f"There are {TENANTS_MAX} tenants, and no more are taken: delete one.")
    tenant = TenantInfo(name=check_name("tenant", name), created_ms=now_ms, quotas=quotas or Quotas())
    edit.put_tenant(tenant)
    return tenant


class TenantHandlers:
    """Answers CreateTenant, ShowTenant, ListTenants, DeleteTenant."""

    def __init__(self, catalog: Catalog, changes: Changes, clock: Clock) -> None:
        self._catalog = catalog
        self._changes = changes
        self._clock = clock

    @property
    def handlers(self) -> Mapping[type[Message], RequestHandler]:
        """By the request that each answers."""
        return {
            CreateTenant: self.create,
            ShowTenant: self.show,
            ListTenants: self.list,
            DeleteTenant: self.delete,
        }

    def create(self, message: CreateTenant, caller: Caller) -> "Future[Tenant]":
        """Makes a tenant, or changes the quotas of one that may exist."""
        check_name("tenant", message.name)
        now_ms = self._clock.wall_ms()

        def op(edit: CatalogEdit) -> Tenant:
            known = edit.tenant(message.name)
            if known is None:
                known = create_tenant(edit, message.name, now_ms, message.quotas)
            elif not message.exist_ok:
                raise AlreadyExists(f"There is a tenant {message.name!r} already.")
            elif message.quotas is None or message.quotas == known.quotas:
                return _tenant(edit, known, now_ms)
            else:
                known = msgspec.structs.replace(known, quotas=message.quotas)
                edit.put_tenant(known)
            self._changes.note(edit, message, caller, known.name, tenant=known.name)
            return _tenant(edit, known, now_ms)

        return self._changes.request(message, caller, op, Tenant)

    def show(self, message: ShowTenant, _caller: Caller) -> Tenant:
        """Tells of one tenant."""
        with self._catalog.view() as view:
            return _tenant(view, need_tenant(view, message.name), self._clock.wall_ms())

    def list(self, _message: ListTenants, caller: Caller) -> Tenants:
        """Tells of those that the caller may see."""
        with self._catalog.view() as view:
            return Tenants(items=tuple(tenant for tenant in view.tenants() if caller.may_see(tenant.name)))

    def delete(self, message: DeleteTenant, caller: Caller) -> "Future[Done]":
        """Deletes a tenant with its keys, jobs and secrets; its name is not given again."""
        now_ms = self._clock.wall_ms()

        def op(edit: CatalogEdit) -> Done:
            need_tenant(edit, message.name)
            edit.delete_tenant(message.name, now_ms)
            for key, role in edit.peers().items():
                # SECURITY: a tenant of that name that is made later is another's.
                if role.startswith(f"tenant:{message.name}:"):
                    edit.put_peer(key, REVOKED)
            self._changes.note(edit, message, caller, message.name, tenant=message.name)
            return Done()

        return self._changes.request(message, caller, op, Done, urgent=True)


def _tenant(view: CatalogView, tenant: TenantInfo, now_ms: int) -> Tenant:
    revisions = view.current(tenant.name)
    return Tenant(
        tenant=tenant,
        jobs=tuple(revision.definition.id for revision in revisions),
        events=tuple(sorted(event.id for revision in revisions for event in revision.definition.events)),
        keys=sum(1 for key in view.keys(tenant.name) if key.is_live(now_ms)),
    )
