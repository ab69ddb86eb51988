"""Errors as RFC 9457 problem documents: one table from codes to statuses, and the bytes that go out.

It owns the names of problem types, which never change meaning; it never logs and never sends.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from jobico.errors import JobicoError

__all__ = [
    "MEDIA_TYPE",
    "STATUSES",
    "TITLES",
    "TYPE_PREFIX",
    "Problem",
    "problem",
    "problem_of",
    "problem_type",
]

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:jobico:problem:"

STATUSES: Final[Mapping[str, int]] = {
    "invalid-input": 400,
    "not-json": 400,
    "unauthenticated": 401,
    "forbidden": 403,
    "not-found": 404,
    "method-not-allowed": 405,
    "timeout": 408,
    "ended": 409,
    "too-large": 413,
    "unsupported-media": 415,
    "conflict": 422,
    "schema-violation": 422,
    "quota-exceeded": 429,
    "headers-too-large": 431,
    "internal": 500,
    "not-implemented": 501,
    "node-unavailable": 503,
    "deadline-exceeded": 503,
    "storage-unavailable": 503,
}
"""The status of each problem type; a code that is not here is `internal`."""

TITLES: Final[Mapping[str, str]] = {
    "invalid-input": "The request is malformed",
    "not-json": "The body is not JSON",
    "unauthenticated": "Credentials are missing or wrong",
    "forbidden": "The key's role does not allow this",
    "not-found": "There is no such thing",
    "method-not-allowed": "The method is not allowed here",
    "timeout": "The request took too long to arrive",
    "ended": "The event has ended",
    "too-large": "The request is too large",
    "unsupported-media": "The content type or encoding is not supported",
    "conflict": "The idempotency key was used with another body",
    "schema-violation": "The event breaks its schema",
    "quota-exceeded": "The tenant is over its quota",
    "headers-too-large": "The headers are too large",
    "internal": "Jobico is at fault",
    "not-implemented": "The request asks for what Jobico does not do",
    "node-unavailable": "Jobico cannot answer now",
    "deadline-exceeded": "Jobico cannot answer now",
    "storage-unavailable": "The event cannot be stored now",
}
"""The title of each problem type: it never changes with the occurrence."""

_RETRY_AFTER_S: Final = 1
_SHOWN: Final = (
    "violations",
    "retry_after_s",
)  # SECURITY: of an error's detail, only these are for strangers
_HIDDEN: Final = "The fault is logged; the same request may go through later."


class Problem(NamedTuple):
    """A response: its status, its headers beyond the content type, and its bytes."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def problem_type(code: str) -> str:
    """The `type` of a problem document."""
    return TYPE_PREFIX + code


def problem(code: str, detail: str, extra: Mapping[str, Any] | None = None, *, status: int = 0) -> Problem:
    """The problem document of a code of `STATUSES`; `extra` are its members beyond those of the RFC."""
    status = status or STATUSES[code]
    document: dict[str, Any] = {
        "type": problem_type(code),
        "title": TITLES[code],
        "status": status,
        "detail": detail,
    }
    document.update(extra or {})
    return Problem(status, _headers(status, document), msgspec.json.encode(document))


def problem_of(error: JobicoError, *, status: int = 0) -> Problem:
    """The problem document of an error. What is not the sender's fault is not explained to the sender."""
    code = error.code if error.code in STATUSES else "internal"
    detail = _HIDDEN if code == "internal" else error.message
    extra: dict[str, Any] = (
        {} if code == "internal" else {key: error.detail[key] for key in _SHOWN if key in error.detail}
    )
    return problem(code, detail, extra, status=status)


def _headers(status: int, document: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    if status == 401:
        return (("www-authenticate", 'Bearer realm="jobico"'),)
    if status in (429, 503):
        seconds = document.get("retry_after_s", _RETRY_AFTER_S)
        return (("retry-after", str(max(1, -int(-float(seconds) // 1)))),)
    return ()
