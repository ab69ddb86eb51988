"""What every kind of store can do besides its own: say how it is, be copied while in use, and close."""

from pathlib import Path
from typing import Any

from jobico.storage.environment import Environment
from jobico.storage.quarantine import Quarantine
from jobico.storage.writer import Writer

__all__ = ["Store"]


class Store:
    """One environment with its writer; each kind adds what it keeps. Any thread may use it, `close` aside."""

    _env: Environment
    _quarantine: Quarantine
    _writer: Writer[Any]

    @property
    def available(self) -> bool:
        """False while it takes nothing new: disk or map full (but for a reserve), or I/O errors."""
        return self._writer.available

    @property
    def damaged(self) -> int:
        """How many rows were found damaged and set aside."""
        return self._quarantine.count

    def backup(self, target: Path) -> None:
        """Copies the store into the new directory `target`, while it is in use.

        Raises:
            StorageUnavailable: `target` cannot be written, or is not empty.
        """
        self._env.backup(target)

    def close(self) -> None:
        """Does what was submitted, then closes the store."""
        self._writer.close()
        self._env.close()
