"""Requests about the CURVE keys that may connect over tcp, and about who changed what."""

from collections.abc import Mapping
from concurrent.futures import Future

from jobico.errors import Conflict, InvalidInput, NotFound
from jobico.limits import QUERY_ROWS_MAX
from jobico.storage.catalog import Catalog, CatalogEdit
from nodes.control.changes import Changes
from protocol.authorisation import Caller
from protocol.messages import AddPeer, Audit, Done, ListAudit, ListPeers, Message, Peers, RevokePeer
from protocol.server import RequestHandler

__all__ = ["REVOKED", "TrustHandlers"]

REVOKED = "revoked"
"""The role of a key that is let in no more; it stays listed, so that it cannot be added again by mistake."""

_Z85_CHARS = 40


class TrustHandlers:
    """Answers ListPeers, AddPeer, RevokePeer, ListAudit."""

    def __init__(self, catalog: Catalog, changes: Changes) -> None:
        self._catalog = catalog
        self._changes = changes

    @property
    def handlers(self) -> Mapping[type[Message], RequestHandler]:
        """By the request that each answers."""
        return {
            ListPeers: self.list,
            AddPeer: self.add,
            RevokePeer: self.revoke,
            ListAudit: self.audit,
        }

    def list(self, _message: ListPeers, _caller: Caller) -> Peers:
        """Tells of all keys and their roles."""
        with self._catalog.view() as view:
            return Peers(items=dict(view.peers()))

    def add(self, message: AddPeer, caller: Caller) -> "Future[Done]":
        """Lets a key in; again is nothing new, but a role is not changed under a key's feet."""
        if len(message.key) != _Z85_CHARS:
            raise InvalidInput(f"A CURVE key has {_Z85_CHARS} characters of Z85, not {len(message.key)}.")
        tenant = Caller.from_text(message.role, message.key).tenant

        def op(edit: CatalogEdit) -> Done:
            known = edit.peers().get(message.key)
            if known == message.role:
                return Done()
            if known is not None:
                raise Conflict(f"That key has the role {known!r}: make a new key for another role.")
            edit.put_peer(message.key, message.role)
            self._changes.note(edit, message, caller, message.key, tenant=tenant, detail=message.role)
            return Done()

        return self._changes.request(message, caller, op, Done)

    def revoke(self, message: RevokePeer, caller: Caller) -> "Future[Done]":
        """Lets a key in no more."""

        def op(edit: CatalogEdit) -> Done:
            known = edit.peers().get(message.key)
            if known is None:
                raise NotFound(f"No key {message.key[:_Z85_CHARS]!r} is let in.")
            if known != REVOKED:
                edit.put_peer(message.key, REVOKED)
                self._changes.note(edit, message, caller, message.key, detail=f"was {known}")
            return Done()

        return self._changes.request(message, caller, op, Done, urgent=True)

    def audit(self, message: ListAudit, _caller: Caller) -> Audit:
        """Tells who changed what, newest first."""
        limit = max(1, min(message.limit, QUERY_ROWS_MAX))
        with self._catalog.view() as view:
            entries, following = view.audit(message.tenant, before=message.before, limit=limit)
        return Audit(items=tuple(entries), next=following)
