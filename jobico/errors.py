"""The errors of Jobico: one root, three branches by whose fault it is, stable codes.

    JobicoError
    ├── CallerError      the request is at fault: change it, then try again
    │   ├── InvalidInput, NotJson, SchemaViolation, InvalidDefinition, InvalidSchema, InvalidModule
    │   ├── TooLarge, UnsupportedMedia
    │   ├── Unauthenticated, Forbidden, NotFound, AlreadyExists, Conflict
    │   └── QuotaExceeded
    ├── GuestError       the tenant's program is at fault
    │   └── AbiError
    └── PlatformError    Jobico or its machine is at fault: the same request may go through later
        ├── StorageUnavailable, StoreVersion, CorruptRecord
        ├── NodeUnavailable, DeadlineExceeded, ProtocolError
        └── Internal

A message says what is wrong, with which thing, and what to do next. Codes never change meaning: they cross
sockets (`protocol/SPEC.md`) and name problem types over HTTP.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

__all__ = [
    "ERROR_TYPES",
    "AbiError",
    "AlreadyExists",
    "CallerError",
    "Conflict",
    "CorruptRecord",
    "DeadlineExceeded",
    "Forbidden",
    "GuestError",
    "Internal",
    "InvalidDefinition",
    "InvalidInput",
    "InvalidModule",
    "InvalidSchema",
    "JobicoError",
    "NodeUnavailable",
    "NotFound",
    "NotJson",
    "PlatformError",
    "ProtocolError",
    "QuotaExceeded",
    "SchemaViolation",
    "StorageUnavailable",
    "StoreVersion",
    "TooLarge",
    "Unauthenticated",
    "UnsupportedMedia",
    "error_from_code",
]


class JobicoError(Exception):
    """The root of all errors that Jobico raises on purpose.

    Attributes:
        code: Stable identifier of the kind of error, lower case with hyphens.
        message: One or two sentences for a person.
        detail: Facts for a program; only msgpack types.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, detail: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.detail: dict[str, Any] = dict(detail or {})


class CallerError(JobicoError):
    """The request is at fault; repeating it unchanged fails again."""

    code = "caller-error"


class InvalidInput(CallerError):
    """Raised when an argument or a field of a request has a wrong shape or value."""

    code = "invalid-input"


class NotJson(CallerError):
    """Raised when a body is not JSON as RFC 8259 has it, or breaks a bound on depth."""

    code = "not-json"


class SchemaViolation(CallerError):
    """Raised when an event breaks its JSON Schema; `detail["violations"]` has pointer and keyword of each."""

    code = "schema-violation"


class InvalidDefinition(CallerError):
    """Raised when a job definition is refused; `detail["problems"]` has line and path of each."""

    code = "invalid-definition"


class InvalidSchema(CallerError):
    """Raised when a JSON Schema is itself invalid, or asks for what Jobico refuses (remote `$ref`)."""

    code = "invalid-schema"


class InvalidModule(CallerError):
    """Raised when a WebAssembly module cannot run here."""

    code = "invalid-module"


class TooLarge(CallerError):
    """Raised when a size, depth or count is past its bound; the message names the bound."""

    code = "too-large"


class UnsupportedMedia(CallerError):
    """Raised when a body has a content type or encoding that is not taken."""

    code = "unsupported-media"


class Unauthenticated(CallerError):
    """Raised when credentials are missing or wrong."""

    code = "unauthenticated"


class Forbidden(CallerError):
    """Raised when a known key asks for what its role does not allow."""

    code = "forbidden"


class NotFound(CallerError):
    """Raised when a thing does not exist, or is not the caller's to see."""

    code = "not-found"


class AlreadyExists(CallerError):
    """Raised when a name is taken."""

    code = "already-exists"


class Conflict(CallerError):
    """Raised when a request contradicts what is stored, such as a used idempotency key with another body."""

    code = "conflict"


class QuotaExceeded(CallerError):
    """Raised when a tenant is over a quota; `retry_after_s` says when to come back."""

    code = "quota-exceeded"

    def __init__(
        self, message: str, *, retry_after_s: float = 1.0, detail: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message, detail={"retry_after_s": retry_after_s, **(detail or {})})

    @property
    def retry_after_s(self) -> float:
        """Seconds until the same request is expected to pass."""
        return float(self.detail["retry_after_s"])


class GuestError(JobicoError):
    """The tenant's program is at fault."""

    code = "guest-error"


class AbiError(GuestError):
    """Raised when a guest breaks the contract of its ABI."""

    code = "abi-error"


class PlatformError(JobicoError):
    """Jobico or its machine is at fault."""

    code = "platform-error"


class StorageUnavailable(PlatformError):
    """Raised when a store cannot take a write now: disk full, map full, I/O error."""

    code = "storage-unavailable"


class StoreVersion(PlatformError):
    """Raised at open when a store was written by a version that this one does not read."""

    code = "store-version"


class CorruptRecord(PlatformError):
    """Raised when a stored record does not match its checksum."""

    code = "corrupt-record"


class NodeUnavailable(PlatformError):
    """Raised when a node that must answer is away."""

    code = "node-unavailable"


class DeadlineExceeded(PlatformError):
    """Raised when a call to a node had no answer by its deadline; it may have been carried out."""

    code = "deadline-exceeded"


class ProtocolError(PlatformError):
    """Raised when a message does not decode: size, version, type or shape."""

    code = "protocol-error"


class Internal(PlatformError):
    """Raised for a fault that Jobico did not foresee."""

    code = "internal"


def _all_types(root: type[JobicoError]) -> dict[str, type[JobicoError]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        found.update(_all_types(child))
    return found


ERROR_TYPES: Mapping[str, type[JobicoError]] = _all_types(JobicoError)
"""Every error type by its code."""


def error_from_code(code: str, message: str, detail: Mapping[str, Any] | None = None) -> JobicoError:
    """Rebuilds an error that crossed a socket; a code of a newer version becomes a `PlatformError`."""
    error = ERROR_TYPES.get(code, PlatformError)(message)
    error.detail.update(detail or {})
    return error
