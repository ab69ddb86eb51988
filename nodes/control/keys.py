"""Requests about bearer keys: made here, told once, kept only as their SHA-256.

A key reads `jbc_`, the first letter of its role, `_`, and 32 random bytes as 43 characters of URL-safe
base64.
"""

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import Future

import msgspec

from jobico.clock import Clock
from jobico.errors import Conflict, InvalidInput, NotFound, TooLarge
from jobico.ids import check_name
from jobico.limits import KEY_GRACE_MS_MAX, KEYS_PER_TENANT_MAX
from jobico.storage.catalog import Catalog, CatalogEdit
from jobico.tenancy import KeyInfo
from jobico.units import format_duration_ms
from nodes.control.changes import Changes
from nodes.control.tenants import need_tenant
from protocol.authorisation import Caller
from protocol.messages import CreateKey, Done, Keys, ListKeys, Message, NewKey, RevokeKey
from protocol.server import RequestHandler

__all__ = ["ROLES", "KeyHandlers", "digest_key", "new_key"]

ROLES = ("admin", "read", "send")
_TOLD_MAX = 1_000
_ID_BYTES = 6


def new_key(role: str) -> str:
    """A fresh key of that role."""
    return f"jbc_{role[0]}_{secrets.token_urlsafe(32)}"


def digest_key(key: str) -> str:
    """What is stored of a key. NOTE: 256 random bits need no salt and no slow hash."""
    return hashlib.sha256(key.encode()).hexdigest()


class KeyHandlers:
    """Answers CreateKey, ListKeys, RevokeKey.

    NOTE: stored answers would hold keys, so a key is told again only from memory, to whoever repeats the
    request that made it, and while this process lives.
    """

    def __init__(self, catalog: Catalog, changes: Changes, clock: Clock) -> None:
        self._catalog = catalog
        self._changes = changes
        self._clock = clock
        self._told: OrderedDict[str, str] = OrderedDict()  # key by key id

    @property
    def handlers(self) -> Mapping[type[Message], RequestHandler]:
        """By the request that each answers."""
        return {CreateKey: self.create, ListKeys: self.list, RevokeKey: self.revoke}

    def create(self, message: CreateKey, caller: Caller) -> "Future[NewKey]":
        """Makes a key."""
        if message.role not in ROLES:
            raise InvalidInput(f"{message.role!r} is no role of a key: use {', '.join(ROLES)}.")
        if message.name:
            check_name("key", message.name)
        key = new_key(message.role)
        info = KeyInfo(
            id="k" + secrets.token_hex(_ID_BYTES),
            tenant=message.tenant,
            role=message.role,
            digest=digest_key(key),
            name=message.name,
            created_ms=self._clock.wall_ms(),
        )
        self._tell(info.id, key)

        def op(edit: CatalogEdit) -> NewKey:
            need_tenant(edit, message.tenant)
            live = sum(1 for other in edit.keys(message.tenant) if other.is_live(info.created_ms))
            if live >= KEYS_PER_TENANT_MAX:
                raise TooLarge(f"{message.tenant!r} has {live} live keys, and no more are made: revoke one.")
            edit.put_key(info)
            self._changes.note(
                edit, message, caller, info.id, tenant=message.tenant, detail=f"role {message.role}"
            )
            return NewKey(key="", info=info)

        answer: Future[NewKey] = Future()
        self._changes.request(message, caller, op, NewKey).add_done_callback(
            lambda stored: self._answer(stored, answer)
        )
        return answer

    def list(self, message: ListKeys, _caller: Caller) -> Keys:
        """Tells of the keys of a tenant."""
        with self._catalog.view() as view:
            need_tenant(view, message.tenant)
            return Keys(items=tuple(view.keys(message.tenant)))

    def revoke(self, message: RevokeKey, caller: Caller) -> "Future[Done]":
        """Revokes a key, now or later; again is nothing new, unless it is to be sooner."""
        if not 0 <= message.grace_ms <= KEY_GRACE_MS_MAX:
            raise InvalidInput(
                f"A key that is revoked stays live {KEY_GRACE_MS_MAX // 86_400_000} days at most."
            )
        revoked_ms = self._clock.wall_ms() + message.grace_ms

        def op(edit: CatalogEdit) -> Done:
            info = edit.key(message.id)
            if info is None or info.tenant != message.tenant:
                raise NotFound(f"{message.tenant!r} has no key {message.id!r}: see `jobico keys list`.")
            if info.is_live(revoked_ms):
                edit.put_key(msgspec.structs.replace(info, revoked_ms=revoked_ms))
                detail = f"live for {format_duration_ms(message.grace_ms)} more" if message.grace_ms else ""
                self._changes.note(edit, message, caller, message.id, tenant=message.tenant, detail=detail)
            return Done()

        return self._changes.request(message, caller, op, Done, urgent=True)

    def _tell(self, key_id: str, key: str) -> None:
        self._told[key_id] = key
        while len(self._told) > _TOLD_MAX:
            self._told.popitem(last=False)

    def _answer(self, stored: "Future[NewKey]", answer: "Future[NewKey]") -> None:
        error = stored.exception()
        if error is not None:
            answer.set_exception(error)
            return
        made = stored.result()
        key = self._told.get(made.info.id)
        if key is None:
            message = (
                f"This request made the key {made.info.id!r}, whose text is gone: revoke it, make another."
            )
            answer.set_exception(Conflict(message))
        else:
            answer.set_result(msgspec.structs.replace(made, key=key))
