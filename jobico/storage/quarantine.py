"""Where damaged rows go: out of the way of the good ones, but not lost to whoever wants to look at them.

Owns the table `quarantine` of a store. Never decides what is damaged.
"""

from jobico.logs import Action, get_logger
from jobico.storage.environment import Environment
from jobico.storage.layout import QUARANTINE, Form, Layout
from jobico.storage.ops import Op, S
from jobico.storage.transaction import Txn
from jobico.storage.writer import Writer

__all__ = ["Quarantine", "set_aside"]

_ROWS_MAX = 10_000


def set_aside(txn: Txn, layout: Layout, table: str, key: bytes) -> bool:
    """Moves the row under `key`, and its parts, out of `table`; False where there is none (any more)."""
    lengths = (len(key), len(key) + 2) if layout.tables[table] is Form.PARTS else (len(key),)
    rows = [(found, row) for found, row in txn.items(table, key) if len(found) in lengths]
    for found, row in rows:
        txn.delete(table, found)
        if txn.count(QUARANTINE) < _ROWS_MAX:
            txn.put(QUARANTINE, table.encode() + b"\0" + found, row)
    if rows:
        get_logger().error(
            "A damaged record is set aside.", action=Action.RECORD_QUARANTINED, table=table, key=key.hex()
        )
    return bool(rows)


class Quarantine:
    """Takes reports of damaged rows from readers; the writer moves them."""

    def __init__(self, env: Environment, layout: Layout) -> None:
        self._layout = layout
        with env.read() as txn:
            self._before = txn.count(QUARANTINE)
        self._reported: set[tuple[str, bytes]] = set()

    @property
    def count(self) -> int:
        """Rows found damaged, in this run and before."""
        return self._before + len(self._reported)

    def report(self, writer: Writer[S], table: str, key: bytes) -> None:
        """Has the row under `key` set aside; once, however often it is reported."""
        if self.note(table, key):
            writer.post(Op(lambda session: set_aside(session.txn, self._layout, table, key), growth=False))

    def note(self, table: str, key: bytes) -> bool:
        """Counts the row under `key`; False where it is known already."""
        known = (table, key) in self._reported
        self._reported.add((table, key))
        return not known
