"""Dead letters of the listener's queue: events that ended without success, until replayed or purged.

    dead            number (8)                 -> parts: msgpack of DeadLetter, its payload cut out
    dead_payloads   number (8)                 -> parts: payload
    dead_ids        id                         -> number (8) | tenant
    dead_tenants    tenant | 0 | number (8)    -> sealed: [job, queue, event, reason]

Works within a transaction of the queue: an event and its dead letter are never both there, nor both gone.
"""

from collections.abc import Iterator

import msgspec

from jobico.change import Bury, DeadLetter
from jobico.errors import CorruptRecord, NotFound
from jobico.event import Event
from jobico.limits import RECORD_PAYLOAD_BYTES_MAX
from jobico.storage.quarantine import set_aside
from jobico.storage.queue_rows import QUEUE_LAYOUT, encode, key_of
from jobico.storage.transaction import Txn
from jobico.storage.values import delete_value, get_start, get_value, put_value, seal, unseal

__all__ = ["DeadPlace", "all_places", "drop_dead", "get_dead", "list_dead", "number_of_dead", "put_dead"]

DeadPlace = tuple[str, str, str, str, str]
"""Tenant, job, queue, event and reason of a dead letter."""

_decode = msgspec.msgpack.Decoder(DeadLetter).decode
_decode_place = msgspec.msgpack.Decoder(tuple[str, str, str, str]).decode


def put_dead(txn: Txn, number: int, event: Event, change: Bury) -> DeadPlace:
    """Stores the dead letter of `event` under a new number."""
    key = key_of(number)
    record = change.record
    letter = DeadLetter(
        event=msgspec.structs.replace(event, payload=b""),
        attempts=change.attempts,
        deaths=change.deaths,
        reason=change.reason,
        buried_ms=record.settled_ms,
        outcome=record.outcome.value,
        code=record.code,
        error=record.error,
    )
    place = (event.job, event.queue, event.event, change.reason)
    tenant = event.tenant.encode()
    put_value(txn.cursor("dead"), key, encode(letter))
    put_value(txn.cursor("dead_payloads"), key, event.payload)
    txn.put("dead_ids", event.id.encode(), key + tenant)
    txn.put("dead_tenants", tenant + b"\0" + key, seal(encode(place)))
    return (event.tenant, *place)


def drop_dead(txn: Txn, event_id: str) -> DeadPlace | None:
    """Deletes the dead letter of an event; answers where it was counted, None if that is not known."""
    row = txn.pop("dead_ids", event_id.encode())
    if row is None:
        return None
    key, tenant = row[:8], row[8:]
    delete_value(txn.cursor("dead"), key)
    delete_value(txn.cursor("dead_payloads"), key)
    sealed = txn.pop("dead_tenants", tenant + b"\0" + key)
    try:
        return None if sealed is None else (tenant.decode(), *_decode_place(unseal(sealed)))
    except CorruptRecord:
        return None


def number_of_dead(txn: Txn, event_id: str) -> bytes | None:
    """The key of the dead letter of event `event_id`, or None."""
    row = txn.get("dead_ids", event_id.encode())
    return None if row is None else row[:8]


def get_dead(txn: Txn, key: bytes, payload_bytes_max: int | None = None) -> DeadLetter | None:
    """The dead letter under `key`, its payload cut where a bound is given.

    Raises:
        CorruptRecord: it is damaged.
    """
    value = get_value(txn.cursor("dead"), key)
    if value is None:
        return None
    payloads = txn.cursor("dead_payloads")
    if payload_bytes_max is None:
        payload = get_value(payloads, key)
    else:
        payload = get_start(payloads, key, payload_bytes_max)
    letter = _decode(value)
    return msgspec.structs.replace(
        letter, event=msgspec.structs.replace(letter.event, payload=payload or b"")
    )


def list_dead(
    txn: Txn, *, tenant: str, event: str, reason: str, before: str, limit: int
) -> tuple[list[DeadLetter], list[bytes]]:
    """Dead letters that match, newest first, payloads cut; and the keys of damaged ones.

    Raises:
        NotFound: there is no dead letter `before`.
    """
    start = number_of_dead(txn, before) if before else b""
    if start is None:
        raise NotFound(f"{before!r} is no dead letter (any more): list again without it.")
    letters: list[DeadLetter] = []
    damaged: list[bytes] = []
    for key in _keys_reversed(txn, tenant, event, reason, start):
        if len(letters) >= limit:
            break
        try:
            letter = get_dead(txn, key, RECORD_PAYLOAD_BYTES_MAX)
        except CorruptRecord:
            damaged.append(key)
            continue
        if letter is not None and event in ("", letter.event.event) and reason in ("", letter.reason):
            letters.append(letter)
    return letters, damaged


def all_places(txn: Txn) -> Iterator[DeadPlace]:
    """Where each dead letter is counted; sets damaged rows aside, so `txn` must be a write."""
    for key, sealed in list(txn.items("dead_tenants")):
        try:
            yield (key[:-9].decode(), *_decode_place(unseal(sealed)))
        except CorruptRecord:
            set_aside(txn, QUEUE_LAYOUT, "dead_tenants", key)


def _keys_reversed(txn: Txn, tenant: str, event: str, reason: str, start: bytes) -> Iterator[bytes]:
    """Keys of dead letters, newest first; with a tenant only its own, unfit ones left out unread."""
    if not tenant:
        for key, _ in txn.items_reversed("dead", before=start):
            if len(key) == 8:
                yield key
        return
    prefix = tenant.encode() + b"\0"
    for key, sealed in txn.items_reversed("dead_tenants", prefix, before=prefix + start if start else b""):
        _, _, its_event, its_reason = _decode_place(sealed[4:])
        if event in ("", its_event) and reason in ("", its_reason):
            yield key[-8:]
