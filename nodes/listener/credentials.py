"""Bearer keys: whose a token is. It holds digests only, never a key, and is replaced as control's tables change."""

import hashlib
from collections.abc import Iterable
from typing import Final

from jobico.tenancy import KeyInfo

__all__ = ["Credentials", "bearer_of"]

_TOKEN_CHARS_MAX: Final = 128
_SCHEME: Final = "bearer "


def bearer_of(authorization: str | None) -> str:
    """The token of an Authorization header; empty where there is none or it is of another scheme."""
    if authorization is None or authorization[:7].lower() != _SCHEME:
        return ""
    return authorization[7:].strip()


class Credentials:
    """The live keys of all tenants by the SHA-256 of the key.

    SECURITY: keys are 256 random bits, and what is looked up is a digest that the caller cannot steer: how long the
    look-up takes says nothing about any key.
    """

    __slots__ = ("_by_digest",)

    def __init__(self, keys: Iterable[KeyInfo] = ()) -> None:
        self._by_digest = {bytes.fromhex(info.digest): info for info in keys if not info.revoked_ms}

    def find(self, token: str) -> KeyInfo | None:
        """The key that `token` is, or None where it is none or is revoked."""
        if len(token) > _TOKEN_CHARS_MAX:
            return None
        return self._by_digest.get(hashlib.sha256(token.encode()).digest())
