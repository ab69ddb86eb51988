"""From a request to stored events: who sends, what is sent, and whether it is what the event's schema says.

It owns the order in which a request is judged, so that a stranger learns nothing:

    no key and no signature, or wrong ones      401, whether or not the tenant or the event exists
    another tenant's key                        404, whether or not the event exists
    a key whose role does not allow it          403
    unknown event                               404
    content type, size, JSON, schema            415, 413, 400, 422
    quota, storage                              429, 503

It knows no HTTP framework and stores nothing itself.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from jobico.change import AcceptResult, IdempotencyKey
from jobico.definition import VerifyScheme
from jobico.errors import Forbidden, NodeUnavailable, NotFound, Unauthenticated
from jobico.event import Event
from jobico.payload import parse_body
from jobico.routes import Route
from jobico.schemas import Validator
from jobico.tenancy import KeyInfo
from nodes.listener.cloudevents import CloudMessage, Mode
from nodes.listener.credentials import Credentials, bearer_of
from nodes.listener.directory import Directory
from nodes.listener.judging import Admission, idempotency_of, judge, scoped
from nodes.listener.query import PostQuery
from nodes.listener.verification import verify

__all__ = ["Accepted", "Admission", "Intake", "Queue", "Secrets", "Sender"]

_MAY_POST: Final = frozenset({"admin", "send"})
_BATCH_POINTER: Final = "/data/{index}"


class Queue(Protocol):
    """Where accepted events go: the dispatcher."""

    async def accept(
        self, events: Sequence[Event], idempotency: IdempotencyKey | None = None
    ) -> AcceptResult:
        """Stores events, all or none; returns when they are synced."""
        ...


class Secrets(Protocol):
    """Tenants' secrets, as far as verification needs them."""

    def values(self, tenant: str, name: str) -> Sequence[bytes]:
        """The live values of a secret; none where it is not set."""
        ...


Found = tuple[Route, Validator | None]


class Sender(NamedTuple):
    """What a request says of who sends it; what costs time to look at is looked at only where it decides."""

    authorization: str | None
    headers: Callable[[], Mapping[str, str]]  # by lower-case name
    read: Callable[[], Awaitable[bytes]]  # the raw body


class Accepted(NamedTuple):
    """What was stored."""

    ids: tuple[str, ...]
    batch: bool
    fresh: bool


class Intake:
    """Judges requests by the tables of the moment, which the node replaces as control changes them."""

    def __init__(self, queue: Queue, secrets: Secrets) -> None:
        self._queue = queue
        self._secrets = secrets
        self.credentials = Credentials()
        self.directory = Directory()
        self.known = False
        """Whether there are tables to judge by; before that nobody is let in or turned away."""

    async def admit(self, tenant: str, event: str, sender: Sender) -> Admission:
        """Decides by key or signature whether the sender may post this event.

        Raises:
            Unauthenticated, Forbidden, NotFound: see the module's table.
            NodeUnavailable: the event is deployed, but its schema is not here yet.
            TooLarge, InvalidInput: the body, which a signature covers, cannot be read.
        """
        token = bearer_of(sender.authorization)
        info = self._find_key(token)
        found = self.directory.find(tenant, event)
        if found is not None and found[0].event.inline:
            found = None
        if info is None:
            return await self._admit_signed(found, token, sender)
        if info.tenant != tenant:
            raise _not_found()
        if info.role not in _MAY_POST:
            raise Forbidden(f"A key of role {info.role} may not post events: use one of role send or admin.")
        if found is None:
            raise self._unknown(tenant, event)
        return Admission(*found, "")

    async def _admit_signed(self, found: Found | None, token: str, sender: Sender) -> Admission:
        if found is None:
            raise _unauthenticated("no such event")
        route, validator = found
        spec = route.event.verify
        if (spec.scheme is VerifyScheme.BEARER) != bool(token) or (token and not spec.secret):
            raise _unauthenticated("no such key")
        body = await sender.read()
        secrets = self._secrets.values(route.tenant, spec.secret) if spec.secret else ()
        try:
            verified = verify(spec, secrets, sender.headers(), body, time.time())
        except Unauthenticated as error:
            raise _unauthenticated(error.message) from error
        return Admission(route, validator, verified.delivery_id)

    def admit_trusted(self, tenant: str, event: str) -> Admission:
        """Lets an event in from whom another door has let in: who sends is not asked again.

        Raises:
            NotFound, NodeUnavailable: as `admit`.
        """
        found = self.directory.find(tenant, event)
        if found is None or found[0].event.inline:
            raise self._unknown(tenant, event)
        return Admission(*found, "")

    def reader(self, tenant: str, authorization: str | None) -> KeyInfo:
        """The key of who asks about an event of a tenant.

        NOTE: every role may ask for one event by its id, `send` too: the id is a capability that its sender
        was given.

        Raises:
            Unauthenticated: there is no key, or it is none.
            NotFound: it is another tenant's.
        """
        info = self.key_of(authorization)
        if info is None:
            raise _unauthenticated("no such key")
        if info.tenant != tenant:
            raise _not_found()
        return info

    def canceller(self, tenant: str, authorization: str | None) -> KeyInfo:
        """The key of who withdraws an event of a tenant.

        Raises:
            Unauthenticated, NotFound: as `reader`.
            Forbidden: its role is not admin.
        """
        info = self.reader(tenant, authorization)
        if info.role != "admin":
            raise Forbidden(f"A key of role {info.role} may not cancel events: use one of role admin.")
        return info

    def key_of(self, authorization: str | None) -> KeyInfo | None:
        """The live key that an Authorization header holds, if it does."""
        return self._find_key(bearer_of(authorization))

    def _unknown(self, tenant: str, event: str) -> NotFound | NodeUnavailable:
        if (tenant, event) in self.directory.waiting:
            return NodeUnavailable("The event was just deployed and its schema is on the way; try again.")
        return _not_found()

    def _find_key(self, token: str) -> KeyInfo | None:
        if not self.known:
            raise NodeUnavailable("The listener has not heard of any tenant yet: is control running?")
        return self.credentials.find(token) if token else None

    async def take(
        self, admission: Admission, body: bytes, query: PostQuery, idempotency_key: str | None
    ) -> Accepted:
        """Stores what was posted.

        Raises:
            NotJson, TooLarge, InvalidInput, SchemaViolation: the body is at fault.
            Conflict, QuotaExceeded, StorageUnavailable: the queue refused.
        """
        parsed = parse_body(body)
        events = judge(admission, parsed.events, query, _BATCH_POINTER if parsed.batch else "")
        scope = idempotency_of(admission, idempotency_key, body, events[0].accepted_ms)
        result = await self._queue.accept(events, scope)
        return Accepted(result.ids, parsed.batch, result.fresh)

    async def take_cloud_events(
        self, admission: Admission, message: CloudMessage, body: bytes, query: PostQuery
    ) -> Accepted:
        """Stores the events of a CloudEvents message; one whose source and id came before is that one.

        Raises:
            As `take`. Where the queue refuses in the middle of a batch, the rest may be stored: sent again,
            each event of it is still one.
        """
        batch = message.mode is Mode.BATCH
        events = judge(admission, message.events, query, message.mode.value)
        now_ms = events[0].accepted_ms
        if admission.delivery_id:
            result = await self._queue.accept(events, idempotency_of(admission, None, body, now_ms))
            return Accepted(result.ids, batch, result.fresh)
        accepts = [
            self._queue.accept([event], scoped(admission.route, key, event.payload, now_ms))
            for event, key in zip(events, message.keys, strict=True)
        ]
        results = await asyncio.gather(*accepts, return_exceptions=True)
        stored = [result for result in results if isinstance(result, AcceptResult)]
        if len(stored) < len(results):
            raise next(error for error in results if isinstance(error, BaseException))
        return Accepted(
            tuple(result.ids[0] for result in stored), batch, any(result.fresh for result in stored)
        )


def _unauthenticated(why: str) -> Unauthenticated:
    # SECURITY: the answer is the same for each reason; the reason is for the log alone.
    return Unauthenticated(
        "Send a live key of this tenant as 'Authorization: Bearer KEY', or sign as the event asks.",
        detail={"why": why},
    )


def _not_found() -> NotFound:
    return NotFound("There is no such event, or it is not yours.")
