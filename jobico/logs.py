"""How nodes log: structlog, JSON lines on stderr, an `action` from one list; never payloads, keys or secrets."""

import logging
import sys
from enum import StrEnum
from typing import cast

import structlog
from structlog.typing import FilteringBoundLogger

__all__ = ["Action", "configure_logging", "get_logger"]


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
    GUEST_OVERDUE = "guest-overdue"
    DEPLOYED = "deployed"
    SCHEDULE_FIRED = "schedule-fired"
    AUTHENTICATION_FAILED = "authentication-failed"


def configure_logging(node: str, level: str = "info") -> None:
    """Sends log records of this process to stderr as JSON lines that name `node`."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(node=node)


def get_logger() -> FilteringBoundLogger:
    """The logger of the process: `log.info("text for people", action=Action.X, **facts)`."""
    return cast("FilteringBoundLogger", structlog.get_logger())
