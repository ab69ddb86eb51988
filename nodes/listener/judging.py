"""What becomes of what was posted: each event against its schema, then as the queue takes it.

It owns what an idempotency key is made of. Pure but for the time; it never asks who sends.
"""

import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from jobico import limits
from jobico.change import IdempotencyKey
from jobico.definition import Order
from jobico.errors import InvalidInput, SchemaViolation
from jobico.event import Event
from jobico.ids import new_event_id
from jobico.payload import Parsed, order_key
from jobico.routes import Route
from jobico.schemas import Validator
from nodes.listener.query import PostQuery

__all__ = ["Admission", "idempotency_of", "judge", "scoped"]

_ORDERED: Final = frozenset({Order.STRICT, Order.KEY})


class Admission(NamedTuple):
    """A sender that may post this event; `delivery_id` is what a signed message calls itself."""

    route: Route
    validator: Validator | None
    delivery_id: str


def judge(admission: Admission, parsed: Sequence[Parsed], query: PostQuery, pointer: str) -> list[Event]:
    """The events to store; `pointer` says where in the body the one at `{index}` is, or the only one.

    Raises:
        InvalidInput, SchemaViolation: the query or an event is at fault.
    """
    batch = "{index}" in pointer
    if query.wait_ms and batch:
        raise InvalidInput("'wait' is for one event: post the batch without it, then ask for each id.")
    keys = _check(admission, parsed, pointer, batch=batch)
    now_ms = time.time_ns() // 1_000_000
    return _events(admission.route, parsed, keys, now_ms, query.ready_at_ms(now_ms))


def _check(admission: Admission, events: Sequence[Parsed], pointer: str, *, batch: bool) -> Sequence[str]:
    """Checks all events against the schema and returns their order keys ("" without one).

    Raises:
        SchemaViolation: pointers are into the body.
    """
    validator, route = admission.validator, admission.route
    order_pointer = route.queue.key if route.queue.order is Order.KEY else ""
    keys = []
    violations: list[dict[str, object]] = []
    for index, parsed in enumerate(events):
        try:
            if validator is not None:
                validator.check(parsed.value)
            keys.append(order_key(parsed.value, order_pointer) if order_pointer else "")
        except SchemaViolation as error:
            found = _prefixed(error.detail["violations"], pointer.format(index=index))
            if not batch:
                raise SchemaViolation(error.message, detail={"violations": found}) from error
            violations += found
            if len(violations) >= limits.VIOLATIONS_REPORTED_MAX:
                break
    if violations:
        raise SchemaViolation(
            "The batch has events that break the schema; none of it was taken.",
            detail={"violations": violations[: limits.VIOLATIONS_REPORTED_MAX]},
        )
    return keys


def _prefixed(violations: Sequence[Mapping[str, object]], prefix: str) -> list[dict[str, object]]:
    return [{**violation, "pointer": f"{prefix}{violation['pointer']}"} for violation in violations]


def _events(
    route: Route, parsed: Sequence[Parsed], keys: Sequence[str], now_ms: int, ready_at_ms: int
) -> list[Event]:
    # PERF: what events of one route share is looked up once; a batch makes a thousand of them.
    tenant, name, job, queue = route.tenant, route.event.id, route.job, route.queue.id
    ordered = route.queue.order in _ORDERED
    return [
        Event(new_event_id(), tenant, name, job, queue, one.raw, now_ms, key, ordered, ready_at_ms)
        for one, key in zip(parsed, keys, strict=True)
    ]


def idempotency_of(
    admission: Admission, header: str | None, body: bytes, now_ms: int
) -> IdempotencyKey | None:
    """The key under which the answer is kept, scoped to tenant and event.

    SECURITY: what a signed message calls itself wins over a header, which who replays it could choose anew.
    """
    if admission.delivery_id:
        own = "delivery:" + admission.delivery_id
    elif header is not None:
        own = "key:" + header
    else:
        return None
    return scoped(admission.route, own, body, now_ms)


def scoped(route: Route, own: str, content: bytes, now_ms: int) -> IdempotencyKey:
    """A key that counts for one tenant and event, and for this content alone."""
    return IdempotencyKey(
        key=f"{route.tenant}/{route.event.id}/{own}",
        body_digest=hashlib.sha256(content).digest(),
        now_ms=now_ms,
        expires_ms=now_ms + limits.IDEMPOTENCY_WINDOW_MS,
    )
