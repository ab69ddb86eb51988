"""Tenants' secrets as a node needs them: kept sealed as control's table has them, opened only when used."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from jobico.errors import CorruptRecord, JobicoError
from jobico.logs import Action, get_logger
from jobico.sealing import unseal_secret
from protocol.key_files import load_sealing_keys

__all__ = ["Open", "SecretTable", "opening"]

Open = Callable[[str, str, bytes], Sequence[bytes]]
"""Opens the sealed row of (tenant, name) to its live values, newest first: one, or during a rotation two."""


def opening(keys_dir: Path) -> Open:
    """An `Open` with the sealing keys of that directory, read at first use and when a row asks for others."""
    keys: tuple[bytes, ...] = ()

    def open_sealed(tenant: str, name: str, sealed: bytes) -> Sequence[bytes]:
        nonlocal keys
        try:
            return unseal_secret(keys, sealed, tenant=tenant, name=name)
        except CorruptRecord:
            pass
        try:
            keys = load_sealing_keys(keys_dir)
            return unseal_secret(keys, sealed, tenant=tenant, name=name)
        except JobicoError as error:
            # SECURITY: one that does not open is as good as not set, and what asks for it is refused.
            get_logger().error(error.message, action=Action.RECORD_QUARANTINED, tenant=tenant, secret=name)
            return ()

    return open_sealed


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
        return () if sealed is None else self._open(tenant, name, sealed)

    def resolve(self, tenant: str, names: Iterable[str]) -> dict[str, str]:
        """The newest value of each secret as text; those that are not set are left out."""
        found = {}
        for name in names:
            values = self.values(tenant, name)
            if values:
                found[name] = values[0].decode(errors="replace")
        return found
