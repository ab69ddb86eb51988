"""Idempotency keys of the listener's queue: which ids a sender's key stands for, until it expires.

    idempotency     sha-256 of key             -> parts: [body_digest, expires_ms, ids]
    expiry          expires_ms (8) | sha-256   -> nothing

Works within a transaction of the queue, so a key and its events are stored together or not at all.
"""

from hashlib import sha256

import msgspec

from jobico.change import IdempotencyKey
from jobico.errors import CorruptRecord
from jobico.storage.quarantine import set_aside
from jobico.storage.queue_rows import QUEUE_LAYOUT, encode, key_of
from jobico.storage.transaction import Txn
from jobico.storage.values import delete_value, get_value, put_value

__all__ = ["Known", "forget_expired", "known_key", "remember_key"]


class Known(msgspec.Struct, frozen=True, array_like=True):
    """What is stored under an idempotency key."""

    body_digest: bytes
    expires_ms: int
    ids: tuple[str, ...]


_decode = msgspec.msgpack.Decoder(Known).decode


def known_key(txn: Txn, key: IdempotencyKey) -> Known | None:
    """What is stored under `key`, or None where it is new or has expired."""
    known = _stored(txn, _name(key))
    return None if known is None or known.expires_ms <= key.now_ms else known


def remember_key(txn: Txn, key: IdempotencyKey, ids: tuple[str, ...]) -> None:
    """Stores `ids` under `key`, in place of what may have expired there."""
    name = _name(key)
    expired = _stored(txn, name)
    if expired is not None:
        txn.delete("expiry", key_of(expired.expires_ms) + name)
    put_value(txn.cursor("idempotency"), name, encode(Known(key.body_digest, key.expires_ms, ids)))
    txn.put("expiry", key_of(key.expires_ms) + name, b"")


def forget_expired(txn: Txn, now_ms: int, count_max: int) -> int:
    """Drops up to `count_max` keys that have expired; answers how many there were."""
    end = key_of(now_ms)
    expired: list[bytes] = []
    for row, _ in txn.items("expiry"):
        if row[:8] > end or len(expired) >= count_max:
            break
        expired.append(row)
    cursor = txn.cursor("idempotency")
    for row in expired:
        delete_value(cursor, row[8:])
        txn.delete("expiry", row)
    return len(expired)


def _name(key: IdempotencyKey) -> bytes:
    """A key as stored: of one length, whatever the sender chose."""
    return sha256(key.key.encode("utf-8", "surrogatepass")).digest()


def _stored(txn: Txn, name: bytes) -> Known | None:
    try:
        value = get_value(txn.cursor("idempotency"), name)
    except CorruptRecord:
        set_aside(txn, QUEUE_LAYOUT, "idempotency", name)
        return None
    return None if value is None else _decode(value)
