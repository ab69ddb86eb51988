"""Tenants' secrets as a node needs them: kept sealed as control's table has them, opened only when used."""

from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["Open", "SecretTable", "nothing_opens"]

Open = Callable[[bytes], Sequence[bytes]]
"""Opens a sealed row to its live values, newest first: one, or during a rotation two."""


def nothing_opens(_sealed: bytes) -> Sequence[bytes]:
    """An `Open` for a node that was given no key: every secret is as good as not set."""
    return ()


class SecretTable:
    """Sealed secrets by tenant and name. Any thread may use it: a change replaces the table."""

    def __init__(self, open_sealed: Open) -> None:
        self._open = open_sealed
        self._sealed: dict[str, bytes] = {}

    def replace(self, rows: Mapping[str, bytes]) -> None:
        """Takes the whole table."""
        self._sealed = dict(rows)

    def change(self, table: str, key: str, value: bytes | None) -> None:
        """Takes a change of control's tables, if it is one of a secret, whose key is `tenant/name`."""
        if table != "secrets":
            return
        sealed = dict(self._sealed)
        if value is None:
            sealed.pop(key, None)
        else:
            sealed[key] = value
        self._sealed = sealed

    def values(self, tenant: str, name: str) -> Sequence[bytes]:
        """The live values of a secret; none where it is not set."""
        sealed = self._sealed.get(f"{tenant}/{name}")
        return () if sealed is None else self._open(sealed)

    def resolve(self, tenant: str, names: Iterable[str]) -> dict[str, str]:
        """The newest value of each secret as text; those that are not set are left out."""
        found = {}
        for name in names:
            values = self.values(tenant, name)
            if values:
                found[name] = values[0].decode(errors="replace")
        return found
