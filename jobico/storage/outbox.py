"""Reading the outbox of the listener's queue: records that wait for the recorder.

    outbox          row (8)                    -> parts: length of id (1) | id | msgpack of Record
    outbox_ids      id                         -> row (8) of its latest record

Rows are put by `QueueSession` in the transaction that settles, and dropped when the recorder has
acknowledged them.
"""

from jobico.errors import CorruptRecord
from jobico.storage.queue_rows import key_of, split_record
from jobico.storage.transaction import Txn
from jobico.storage.values import join_value

__all__ = ["read_outbox"]


def read_outbox(
    txn: Txn, after: int, rows_max: int, bytes_max: int
) -> tuple[list[tuple[int, bytes]], list[bytes]]:
    """Records behind row `after` within the bounds, but at least one; and the keys of damaged ones."""
    rows: list[tuple[int, bytes]] = []
    damaged: list[bytes] = []
    cursor = txn.cursor("outbox")
    placed = cursor.set_range(key_of(after + 1))
    while placed and len(rows) < rows_max:
        key, first = cursor.item()
        if len(key) == 8:
            try:
                _, record = split_record(join_value(cursor, first))
            except CorruptRecord:
                damaged.append(key)
            else:
                bytes_max -= len(record)
                if bytes_max < 0 and rows:
                    break
                rows.append((int.from_bytes(key), record))
        placed = cursor.next()
    return rows, damaged
