"""Tenants' secrets as the listener needs them, to check signatures: opened when used, not kept open."""

from collections.abc import Callable, Mapping, Sequence

__all__ = ["SecretTable"]

Open = Callable[[bytes], Sequence[bytes]]
"""Opens a sealed row to its live values: one, or during a rotation two."""


class SecretTable:
    """Sealed secrets by tenant and name."""

    def __init__(self, open_sealed: Open) -> None:
        self._open = open_sealed
        self._sealed: dict[str, bytes] = {}

    def replace(self, rows: Mapping[str, bytes]) -> None:
        """Takes the whole table."""
        self._sealed = dict(rows)

    def put(self, key: str, sealed: bytes | None) -> None:
        """Takes a change of one row, whose key is `tenant/name`."""
        if sealed is None:
            self._sealed.pop(key, None)
        else:
            self._sealed[key] = sealed

    def values(self, tenant: str, name: str) -> Sequence[bytes]:
        """The live values of a secret; none where it is not set."""
        sealed = self._sealed.get(f"{tenant}/{name}")
        return () if sealed is None else self._open(sealed)
