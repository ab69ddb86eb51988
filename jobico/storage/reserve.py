"""Room that only settling work may use: what keeps a full disk or map from being a dead end.

Owns the decision whether a store may grow. New work is refused while less than the reserve is free; work that
frees space (settling, acknowledging, trimming) goes on in it.

- In the map: pages in use are counted by table; LMDB reuses all others.
- On disk: the data file is allocated ahead of its last used page by the reserve, so the disk cannot be
  full for a page that LMDB takes from there. SAFETY: only the writer thread calls this, between its
  transactions; nothing in the file is changed, blocks behind its end are allocated.
"""

import os

from jobico import limits
from jobico.storage.environment import Environment
from jobico.storage.transaction import Txn

__all__ = ["Reserve"]


class Reserve:
    """The reserve of one store; for the writer thread alone."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._page_bytes = env.page_bytes
        self.size_bytes = min(limits.STORE_RESERVE_BYTES, env.map_bytes // 4)
        self._descriptor = os.open(env.path / "data.mdb", os.O_RDWR | os.O_CLOEXEC)
        self._ahead_to = 0  # the file is allocated up to here

    def has_room(self, txn: Txn, growth_bytes: int) -> bool:
        """True if the map has the reserve free, and that much more."""
        free_bytes = self._env.map_bytes - txn.used_pages() * self._page_bytes
        return free_bytes - growth_bytes > self.size_bytes

    def allocate(self) -> bool:
        """Allocates the data file ahead; False while the disk has no room for that."""
        used_bytes = self._env.used_bytes()
        wanted = min(used_bytes + self.size_bytes, self._env.map_bytes)
        if wanted <= self._ahead_to:
            return True
        # PERF: half a reserve more than needed, so that a growing file asks seldom.
        generous = min(wanted + self.size_bytes // 2, self._env.map_bytes)
        return self._extend(used_bytes, generous) or self._extend(used_bytes, wanted)

    def _extend(self, start: int, end: int) -> bool:
        try:
            os.posix_fallocate(self._descriptor, start, end - start)
        except OSError:
            return False
        self._ahead_to = end
        return True

    def close(self) -> None:
        """Gives back the descriptor; the allocated blocks stay with the file."""
        os.close(self._descriptor)
