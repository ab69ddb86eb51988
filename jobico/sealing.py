"""Secrets of tenants, sealed for rest and for the wire. Pure: keys come in, no file is read or written.

What is sealed is the list of a secret's live values, newest first: one, or two while it is rotated.

    byte 0        1, the version of this format
    bytes 1-8     which key: the first 8 bytes of its SHA-256
    bytes 9-20    nonce, random
    bytes 21-     AES-256-GCM of the msgpack array of the values, and its tag of 16 bytes

SECURITY: the name of the secret and its tenant are authenticated with it, so bytes that are moved from one
name or tenant to another do not open. Nonces are random: 2**32 seals with one key are safe.
"""

import hashlib
import os
from collections.abc import Sequence
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from jobico import limits
from jobico.errors import CorruptRecord, InvalidInput, TooLarge

__all__ = ["KEY_BYTES", "new_sealing_key", "seal_secret", "unseal_secret"]

KEY_BYTES: Final = 32
_VERSION: Final = b"\x01"
_KEY_ID_BYTES: Final = 8
_NONCE_BYTES: Final = 12
_HEAD_BYTES: Final = 1 + _KEY_ID_BYTES + _NONCE_BYTES


def new_sealing_key() -> bytes:
    """A key, random."""
    return os.urandom(KEY_BYTES)


def seal_secret(keys: Sequence[bytes], values: Sequence[bytes], *, tenant: str, name: str) -> bytes:
    """Seals the live values of a secret with the first of `keys`.

    Args:
        keys: Of the platform, newest first; the others are for `unseal_secret`, while a key is replaced.
        values: Newest first.
        tenant: Whose secret it is.
        name: How it is called.

    Raises:
        InvalidInput: there is no value, or an empty one, or there are too many.
        TooLarge: a value is over SECRET_BYTES_MAX.
    """
    if not 1 <= len(values) <= limits.SECRET_VALUES_MAX or not all(values):
        raise InvalidInput(
            f"The secret {name!r} needs 1 to {limits.SECRET_VALUES_MAX} values that are not empty."
        )
    if max(map(len, values)) > limits.SECRET_BYTES_MAX:
        raise TooLarge(f"The secret {name!r} is over {limits.SECRET_BYTES_MAX} bytes (SECRET_BYTES_MAX).")
    nonce = os.urandom(_NONCE_BYTES)
    content = msgspec.msgpack.encode(tuple(values))
    return (
        _VERSION + _key_id(keys[0]) + nonce + AESGCM(keys[0]).encrypt(nonce, content, _bound_to(tenant, name))
    )


def unseal_secret(keys: Sequence[bytes], sealed: bytes, *, tenant: str, name: str) -> tuple[bytes, ...]:
    """The live values of a secret, newest first.

    Raises:
        CorruptRecord: it is damaged, of another secret, of another version, or none of `keys` sealed it.
    """
    if sealed[:1] != _VERSION or len(sealed) <= _HEAD_BYTES:
        raise CorruptRecord(
            f"The secret {name!r} of {tenant!r} is not sealed in a form that this version reads."
        )
    key_id, nonce = sealed[1 : 1 + _KEY_ID_BYTES], sealed[1 + _KEY_ID_BYTES : _HEAD_BYTES]
    key = next((one for one in keys if _key_id(one) == key_id), None)
    if key is None:
        raise CorruptRecord(
            f"The secret {name!r} of {tenant!r} was sealed with a key that this node does not have: "
            "give it the same keys/secrets.key as control."
        )
    try:
        content = AESGCM(key).decrypt(nonce, sealed[_HEAD_BYTES:], _bound_to(tenant, name))
        return msgspec.msgpack.decode(content, type=tuple[bytes, ...])
    except (InvalidTag, msgspec.MsgspecError) as error:
        raise CorruptRecord(f"The secret {name!r} of {tenant!r} does not open: set it again.") from error


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()[:_KEY_ID_BYTES]


def _bound_to(tenant: str, name: str) -> bytes:
    # NOTE: names have no zero bytes, so no two pairs give the same bytes.
    return b"jobico secret\0" + tenant.encode() + b"\0" + name.encode()
