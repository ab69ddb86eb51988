"""The tables of the listener's queue and the shape of their rows.

    events          seq (8)                    -> parts: msgpack of Event, payload included
    states          seq (8)                    -> sealed: [attempts, deaths, ready_at_ms, lease]; absent:
    as accepted outbox          row (8)                    -> parts: length of id (1) | id | msgpack of Record
    outbox_ids      id                         -> row (8) of its latest record
    meta            b"counters", b"copy"       -> sealed: incarnation (8) | next seq (8) | next row (8)
    dead …          (see `dead_letters`)
    idempotency …   (see `idempotency`)

Numbers are big-endian, so keys sort as numbers do and a sequence is appended at the right edge of its tree.
"""

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from jobico.change import Entry, Lease
from jobico.event import Event, Record
from jobico.storage.layout import Form, Layout
from jobico.storage.values import Rows, seal, seal_parts

__all__ = [
    "QUEUE_LAYOUT",
    "Counters",
    "State",
    "decode_event",
    "decode_payload",
    "decode_record",
    "decode_state",
    "encode",
    "encode_record",
    "event_rows",
    "key_of",
    "split_record",
    "state_of",
]

QUEUE_LAYOUT: Final = Layout(
    kind="queue",
    schema=1,
    tables={
        "events": Form.PARTS,
        "states": Form.SEALED,
        "outbox": Form.PARTS,
        "outbox_ids": Form.PLAIN,
        "dead": Form.PARTS,
        "dead_payloads": Form.PARTS,
        "dead_ids": Form.PLAIN,
        "dead_tenants": Form.SEALED,
        "idempotency": Form.PARTS,
        "expiry": Form.PLAIN,
    },
)

_NUMBER: Final = struct.Struct(">Q")
_COUNTERS: Final = struct.Struct(">QQQ")

encode = msgspec.msgpack.Encoder().encode
key_of = _NUMBER.pack
"""The key of a sequence, row or burial number."""


class State(msgspec.Struct, frozen=True, array_like=True):
    """How far an event has come; `ready_at_ms` None is the event's own."""

    attempts: int = 0
    deaths: int = 0
    ready_at_ms: int | None = None
    lease: Lease | None = None


class _PayloadOf(msgspec.Struct, frozen=True):
    payload: bytes


class Counters(NamedTuple):
    """Numbers that never come twice, whatever is deleted."""

    incarnation: int = 0
    next_seq: int = 0
    next_row: int = 1

    def pack(self) -> bytes:
        """As stored."""
        return seal(_COUNTERS.pack(*self))

    @classmethod
    def unpack(cls, value: bytes) -> "Counters":
        """From what `pack` made, its seal taken off."""
        return cls(*_COUNTERS.unpack(value))


decode_event = msgspec.msgpack.Decoder(Event).decode
decode_state = msgspec.msgpack.Decoder(State).decode
decode_record = msgspec.msgpack.Decoder(Record).decode
_decode_payload = msgspec.msgpack.Decoder(_PayloadOf).decode


def decode_payload(value: bytes) -> bytes:
    """The payload of an encoded event, without making the rest."""
    return _decode_payload(value).payload


def event_rows(entries: Sequence[Entry]) -> Rows:
    """The rows of `events` for new entries, in key order."""
    rows: Rows = []
    for entry in entries:
        rows += seal_parts(_NUMBER.pack(entry.seq), encode(entry.event))
    return rows


def state_of(entry: Entry) -> State | None:
    """The state to store with a new entry; None where it is as accepted."""
    if entry.attempts or entry.deaths or entry.lease is not None:
        return State(entry.attempts, entry.deaths, None, entry.lease)
    return None


def encode_record(record: Record) -> Rows:
    """The rows of `outbox` for a record, their keys still without the row number in front."""
    event_id = record.id.encode()
    return seal_parts(b"", encode(record), bytes((len(event_id),)) + event_id)


def split_record(value: bytes) -> tuple[bytes, bytes]:
    """The id and the msgpack of a record in the outbox."""
    end = 1 + value[0]
    return value[1:end], value[end:]
