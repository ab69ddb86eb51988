"""Bearer keys: whose a token is. It holds digests only, never a key, and changes as control's table does."""

import hashlib
import time
from collections.abc import Callable, Iterable
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


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class Credentials:
    """The live keys of all tenants by the SHA-256 of the key.

    SECURITY: keys are 256 random bits, and what is looked up is a digest that the caller cannot steer: how
    long the look-up takes says nothing about any key.

    Args:
        keys: Control's table.
        wall_ms: Tells the time, for keys that are live until a time.
    """

    __slots__ = ("_by_digest", "_digests", "_wall_ms")

    def __init__(self, keys: Iterable[KeyInfo] = (), wall_ms: Callable[[], int] = _wall_ms) -> None:
        self._wall_ms = wall_ms
        self._by_digest: dict[bytes, KeyInfo] = {}
        self._digests: dict[str, bytes] = {}  # of live keys, by id
        for info in keys:
            self.put(info.id, info)

    def put(self, key_id: str, info: KeyInfo | None) -> None:
        """Takes what control says of the key `key_id`; None, or a revoked one, lets nobody in any more."""
        before = self._digests.pop(key_id, None)
        if before is not None:
            del self._by_digest[before]
        if info is not None and info.is_live(self._wall_ms()):
            digest = bytes.fromhex(info.digest)
            self._digests[key_id] = digest
            self._by_digest[digest] = info

    def find(self, token: str) -> KeyInfo | None:
        """The key that `token` is, or None where it is none or is revoked."""
        if len(token) > _TOKEN_CHARS_MAX:
            return None
        info = self._by_digest.get(hashlib.sha256(token.encode()).digest())
        # PERF: only a key that is being replaced asks for the time.
        if info is not None and info.revoked_ms and not info.is_live(self._wall_ms()):
            return None
        return info
