"""What moves through Jobico: events, deliveries, settlements, records. Plain immutable data.

    Event       what was accepted; stored by the listener until it is settled
    Delivery    one attempt of an event, on its way to an executor
    Settlement  what came of that attempt, on its way back
    Record      what the recorder keeps of that attempt

Each crosses a socket or rests on disk as a msgpack map of its fields: new fields have defaults, and no field
changes its meaning.
"""

from enum import StrEnum

import msgspec

__all__ = [
    "Delivery",
    "Emitted",
    "Event",
    "EventStatus",
    "LogLevel",
    "LogLine",
    "Outcome",
    "Record",
    "Report",
    "Settlement",
    "Source",
    "State",
]


class Outcome(StrEnum):
    """What came of an attempt; only `OK` is success."""

    OK = "ok"
    FAILED = "failed"  # the guest's own code
    TRAP = "trap"
    TIMEOUT = "timeout"
    OUT_OF_FUEL = "out-of-fuel"
    OUT_OF_MEMORY = "out-of-memory"
    ABI_ERROR = "abi-error"
    KILLED = "killed"  # its executor died under it
    CANCELLED = "cancelled"  # somebody withdrew the event


class State(StrEnum):
    """Where an event is, as people see it."""

    QUEUED = "queued"
    RUNNING = "running"
    DELAYED = "delayed"
    DONE = "done"
    DEAD = "dead"


class Source(StrEnum):
    """How an event came to be."""

    HTTP = "http"
    RESULT = "result"  # `result.ok` or `result.error` of its parent
    EMIT = "emit"  # a guest's host call
    SCHEDULE = "schedule"
    REPLAY = "replay"


class LogLevel(StrEnum):
    """Levels of guest log lines; the order is that of the Jobicolet ABI, 0 to 6."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    FATAL = "fatal"
    PANIC = "panic"
    NONE = "none"


class LogLine(msgspec.Struct, frozen=True):
    """One line that a guest logged; the text is untrusted."""

    level: LogLevel
    message: str


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """An accepted event. `payload` is JSON text as the sender wrote it; times are wall-clock milliseconds."""

    id: str
    tenant: str
    event: str
    job: str
    queue: str
    payload: bytes
    accepted_ms: int
    order_key: str = ""  # with `order: key`, the value the pointer found; with strict, always ""
    ordered: bool = False  # its queue is strict or by key
    ready_at_ms: int = 0  # not before this wall time; 0 is at once
    source: Source = Source.HTTP
    parent: str = ""  # id of the event whose attempt made it
    hop: int = 0  # 0 for an event from outside; a follow-up has its parent's plus 1


class Emitted(msgspec.Struct, frozen=True):
    """A follow-up event that a guest asked for with the `emit` host call."""

    event: str
    payload: bytes


class Delivery(msgspec.Struct, frozen=True, omit_defaults=True):
    """One attempt of an event. `runtime` is the msgpack of a `RuntimeSpec`, opaque to who passes it on."""

    token: int  # fencing token; unique for this listener, for ever
    id: str
    tenant: str
    event: str
    job: str
    revision: int
    attempt: int  # from 1
    runtime: bytes
    payload: bytes


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an executor saw of an attempt that only people read. The listener passes its bytes on unread."""

    logs: tuple[LogLine, ...] = ()
    logs_dropped: int = 0  # lines past the bound
    fuel: int = 0  # used; 0 where fuel was not counted
    memory_bytes: int = 0  # peak of the guest's memories
    started_ms: int = 0  # wall clock


class Settlement(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of the attempt with that token."""

    token: int
    outcome: Outcome
    code: int = 0  # the guest's code; 0 is success
    result: bytes = b""  # JSON or any text, bounded by the runtime's limit
    error: str = ""  # for people: why it did not succeed
    run_us: int = 0  # time in the sandbox, microseconds
    report: bytes = b""  # msgpack of a `Report`
    emitted: tuple[Emitted, ...] = ()


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """One attempt as the recorder keeps it; the key is `(id, attempt)`. Times are wall-clock milliseconds."""

    id: str
    attempt: int
    tenant: str
    job: str
    event: str
    queue: str
    revision: int
    outcome: Outcome
    state: State  # of the event after this attempt: done, delayed (a retry follows), queued (at once) or dead
    code: int
    accepted_ms: int
    leased_ms: int
    settled_ms: int
    run_us: int
    listener: str
    executor: str
    error: str = ""
    reason: str = ""  # with state dead: attempts, killed, loop, no-route
    result: bytes = b""
    report: bytes = b""
    payload: bytes = b""  # the event, cut at RECORD_PAYLOAD_BYTES_MAX; only with attempt 1
    payload_bytes: int = 0  # its whole size
    next_attempt_ms: int = 0  # with state delayed
    source: Source = Source.HTTP
    parent: str = ""
    hop: int = 0
    follow_ups: tuple[str, ...] = ()  # ids of the events that this settlement made

    @property
    def final(self) -> bool:
        """True for the attempt that ended the event."""
        return self.state in (State.DONE, State.DEAD)


class EventStatus(msgspec.Struct, frozen=True, omit_defaults=False):
    """What `GET /events/{tenant}/{id}` and `jobico events show` tell of one event.

    `result` is JSON where the guest's result is JSON, else a string. `attempts` holds one map an attempt,
    oldest first: `{"attempt", "outcome", "code", "error", "state", "started_ms", "leased_ms", "settled_ms",
    "run_us", "executor", "revision", "logs": [{"level", "message"}], "fuel", "memory_bytes"}`.
    """

    id: str
    tenant: str
    event: str
    job: str
    state: State
    outcome: Outcome | None
    code: int | None
    result: object
    error: str
    revision: int | None
    accepted_ms: int
    finished_ms: int | None
    attempts: tuple[dict[str, object], ...]
    follow_ups: tuple[str, ...] = ()
    parent: str = ""
    source: Source = Source.HTTP
    reason: str = ""
    payload: object = None
