"""What an event says of itself besides where it goes: schema, verification, retries, schedule."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from cronsim import CronSim, CronSimError

from jobico import limits
from jobico.definition.document import Problems, Scalar
from jobico.definition.fields import Fields, shorten
from jobico.definition.runtimes import check_variable
from jobico.definition.types import SchemaReference, Verification, VerifyScheme
from jobico.errors import InvalidInput
from jobico.retry import Backoff, RetryPolicy

__all__ = ["read_retry", "read_schedule", "read_schema", "read_verification"]

_SCHEMA_KEYS: Final = ("id", "name", "schemaref")
_VERIFY_KEYS: Final = ("scheme", "secret", "header")
_RETRY_KEYS: Final = ("attempts", "backoff", "initial", "max", "never")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")  # a token of RFC 9110
_CODES_MAX: Final = 100
_CODE_MAX: Final = (1 << 64) - 1
_SCHEDULE_FIELDS: Final = 5
_SCHEDULE_CHARS_MAX: Final = 100
_SECRET_OPTIONAL: Final = (VerifyScheme.NONE, VerifyScheme.BEARER)


class _Missed(StrEnum):
    SKIP = "skip"
    ONCE = "once"
    ALL = "all"


def read_schema(problems: Problems, event: Fields) -> SchemaReference | None:
    """`schema:`, a mapping, or a `schemaref` alone."""
    node = event.node("schema")
    if node is None:
        return None
    if isinstance(node, Scalar):
        reference = _read_reference(event, "schema")
        return SchemaReference(ref=reference) if reference else None
    fields = Fields(problems, node, event.at("schema"), _SCHEMA_KEYS)
    reference = _read_reference(fields, "schemaref")
    return SchemaReference(ref=reference, id=fields.text("id"), name=fields.text("name"))


def _read_reference(fields: Fields, key: str) -> str:
    text = fields.text(key, required=True)
    return text if _DIGEST.fullmatch(text) else fields.name(key, "file", required=False)


def read_verification(problems: Problems, event: Fields) -> Verification:
    """`verify:`, a mapping, or a scheme alone."""
    if isinstance(event.node("verify"), Scalar):
        scheme = event.choice("verify", VerifyScheme.BEARER)
        if scheme not in _SECRET_OPTIONAL:
            event.problem(
                "verify",
                f"{scheme} needs a secret: {{scheme: {scheme}, secret: NAME}}",
            )
        return Verification(scheme=scheme)
    fields = Fields(problems, event.node("verify"), event.at("verify"), _VERIFY_KEYS)
    scheme = fields.choice("scheme", VerifyScheme.BEARER)
    secret, header = fields.text("secret"), fields.text("header")
    if secret:
        _note(fields, "secret", lambda: check_variable(secret))
    elif scheme not in _SECRET_OPTIONAL:
        fields.problem("secret", f"is missing: {scheme} needs the name of a secret", fields.line_of("scheme"))
    if scheme is VerifyScheme.NONE and secret:
        fields.problem("secret", "is not used with scheme none")
    if scheme is VerifyScheme.HMAC and not _HEADER.fullmatch(header):
        fields.problem("header", "hmac needs the name of the header with the signature")
    if scheme is not VerifyScheme.HMAC and header:
        fields.problem("header", "is for scheme hmac alone")
    return Verification(scheme=scheme, secret=secret, header=header)


def read_retry(problems: Problems, event: Fields) -> RetryPolicy:
    """`retry:`."""
    fields = Fields(problems, event.node("retry"), event.at("retry"), _RETRY_KEYS)
    default = RetryPolicy()
    initial_ms = fields.duration_ms("initial", default.initial_ms, 1, limits.BACKOFF_MAX_MS_MAX)
    max_ms = fields.duration_ms("max", max(default.max_ms, initial_ms), 1, limits.BACKOFF_MAX_MS_MAX)
    if initial_ms > max_ms:
        key = "max" if fields.has("max") else "initial"
        fields.problem(key, "the first wait (initial) is over the longest (max)")
    return RetryPolicy(
        attempts=fields.integer("attempts", default.attempts, 1, limits.ATTEMPTS_MAX),
        backoff=fields.choice("backoff", Backoff.EXPONENTIAL),
        initial_ms=initial_ms,
        max_ms=max_ms,
        never=tuple(int(code) for code in fields.texts("never", _CODES_MAX, _check_code)),
    )


def _check_code(text: str) -> None:
    if not re.fullmatch(r"[1-9][0-9]{0,19}", text) or int(text) > _CODE_MAX:
        raise InvalidInput(
            f"{shorten(text)!r} is not a guest's code of failure: a whole number from 1 to {_CODE_MAX}"
        )


def read_schedule(event: Fields) -> tuple[str, str]:
    """`schedule:`, a cron expression of five fields, and `missed:`."""
    schedule = " ".join(event.text("schedule", chars_max=_SCHEDULE_CHARS_MAX).split())
    if schedule:
        _note(event, "schedule", lambda: _check_schedule(schedule))
    elif event.has("missed"):
        event.problem("missed", "says nothing without schedule")
    return schedule, str(event.choice("missed", _Missed.SKIP))


def _check_schedule(schedule: str) -> None:
    try:
        if len(schedule.split()) != _SCHEDULE_FIELDS:
            raise CronSimError("Wrong number of fields")
        next(CronSim(schedule, datetime(2000, 1, 1, tzinfo=UTC)))
    except StopIteration:
        raise InvalidInput(f"{shorten(schedule)!r} never comes") from None
    except (CronSimError, AssertionError, ValueError, TypeError) as error:
        raise InvalidInput(
            f"{shorten(schedule)!r} is not a cron expression ({str(error) or 'not understood'}): "
            "write minute, hour, day, month, weekday, such as '0 6 * * MON'"
        ) from error


def _note(fields: Fields, key: str, check: Callable[[], object]) -> None:
    try:
        check()
    except InvalidInput as error:
        fields.problem(key, error.message)
