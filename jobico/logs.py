"""How nodes log: structlog, JSON lines, an `action` from one list; never payloads, keys or secrets.

A node logs to stderr, or under supervisord to its own file in the data directory, which it keeps bounded.
"""

import logging
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TextIO, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger

from jobico import limits

__all__ = ["Action", "configure_logging", "get_logger", "redirect_output"]


class Action(StrEnum):
    """What happened; the field that log queries match on."""

    NODE_STARTED = "node-started"
    NODE_READY = "node-ready"
    NODE_DRAINING = "node-draining"
    NODE_STOPPED = "node-stopped"
    NODE_FAILED = "node-failed"
    SNAPSHOT_TAKEN = "snapshot-taken"
    SNAPSHOT_STALE = "snapshot-stale"
    CONTROL_AWAY = "control-away"
    REQUEST = "request"
    REQUEST_FAILED = "request-failed"
    MESSAGE_REFUSED = "message-refused"
    ATTEMPT = "attempt"
    EVENTS_ACCEPTED = "events-accepted"
    EVENT_DEAD = "event-dead"
    SETTLEMENT_REFUSED = "settlement-refused"
    LEASE_LOST = "lease-lost"
    PEER_JOINED = "peer-joined"
    PEER_LOST = "peer-lost"
    RECORDS_STORED = "records-stored"
    RECORDS_DROPPED = "records-dropped"
    STORAGE_FAILED = "storage-failed"
    STORAGE_RECOVERED = "storage-recovered"
    RECORD_QUARANTINED = "record-quarantined"
    MODULE_COMPILED = "module-compiled"
    MODULE_AWAY = "module-away"
    GUEST_OVERDUE = "guest-overdue"
    DEPLOYED = "deployed"
    SCHEDULE_FIRED = "schedule-fired"
    SCHEDULE_FAILED = "schedule-failed"
    AUTHENTICATION_FAILED = "authentication-failed"


def redirect_output(path: Path) -> int:
    """Appends all that this process and its children print to that file; returns the file's size."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    return os.stat(path).st_size


class _LogFile:
    """The file that a node logs to, set aside as `NAME.log.1` and so on when it is full.

    NOTE: the descriptors of stdout and stderr are the file, so what the interpreter or a library writes on
    its way down is in it too. One process writes a log through this; others only append to what they
    inherited.
    """

    def __init__(self, path: Path, bytes_max: int = limits.LOG_FILE_BYTES_MAX) -> None:
        self._path = path
        self._bytes_max = bytes_max
        self._size_bytes = redirect_output(path)

    def write(self, text: str) -> None:
        """Appends; a disk that is full loses the line, never the node."""
        content = text.encode(errors="backslashreplace")
        try:
            if self._size_bytes + len(content) > self._bytes_max:
                self._set_aside()
            self._size_bytes += os.write(2, content)
        except OSError:
            return

    def flush(self) -> None:
        """Nothing is held back."""

    def _set_aside(self) -> None:
        for number in range(limits.LOG_FILES_KEPT - 1, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            if older.exists():
                older.replace(self._path.with_name(f"{self._path.name}.{number + 1}"))
        self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        self._size_bytes = redirect_output(self._path)


def configure_logging(node: str, level: str = "info", path: Path | None = None) -> None:
    """Sends log records as JSON lines that name `node` to stderr, or to the file at `path`."""
    stream = sys.stderr if path is None else cast("TextIO", _LogFile(path))

    def name_node(_logger: object, _method: str, record: EventDict) -> EventDict:
        record["node"] = node  # NOTE: not a context variable, which other threads would not see
        return record

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            name_node,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )


def get_logger() -> FilteringBoundLogger:
    """The logger of the process: `log.info("text for people", action=Action.X, **facts)`."""
    return cast("FilteringBoundLogger", structlog.get_logger())
