"""What a POST says besides its body: how long to wait, when to run, and what makes a repeat harmless."""

import datetime
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from jobico import limits
from jobico.errors import InvalidInput
from jobico.units import parse_duration_ms

__all__ = ["IDEMPOTENCY_KEY_PATTERN", "PARAMETERS", "PostQuery", "parse_idempotency_key", "parse_post_query"]

PARAMETERS: Final[Mapping[str, str]] = {
    "wait": "Wait up to this long (such as 10s, at most 30s) for the outcome, instead of answering 202.",
    "delay": "Run the event no earlier than this long from now, such as 30s or 2h.",
    "at": "Run the event no earlier than this time (RFC 3339), such as 2030-01-31T12:00:00Z.",
}
"""Every parameter and what it is for."""

IDEMPOTENCY_KEY_PATTERN: Final = rf"[!-~]([ -~]{{0,{limits.IDEMPOTENCY_KEY_CHARS_MAX - 2}}}[!-~])?"
"""Printable ASCII, with no space first or last."""

_IDEMPOTENCY_KEY = re.compile(IDEMPOTENCY_KEY_PATTERN)
_RFC3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:[Zz]|[+-]\d{2}:\d{2})")


class PostQuery(NamedTuple):
    """Checked parameters; 0 is not given."""

    wait_ms: int = 0
    delay_ms: int = 0
    at_ms: int = 0

    def ready_at_ms(self, now_ms: int) -> int:
        """The wall time before which the event must not run, the later of the two; 0 is at once.

        Raises:
            InvalidInput: `at` is too far ahead.
        """
        if self.at_ms > now_ms + limits.DELAY_MS_MAX:
            raise InvalidInput(f"'at' is over {limits.DELAY_MS_MAX // 86_400_000} days ahead.")
        ready_at_ms = max(now_ms + self.delay_ms, self.at_ms)
        return ready_at_ms if ready_at_ms > now_ms else 0


_NONE: Final = PostQuery()


def parse_post_query(params: Mapping[str, str | list[str]]) -> PostQuery:
    """Checks the parameters of a POST.

    Raises:
        InvalidInput: one is unknown, repeated or malformed.
    """
    if not params:
        return _NONE
    for name, value in params.items():
        if name not in PARAMETERS:
            raise InvalidInput(f"{name[:80]!r} is not a parameter here: use wait, delay or at.")
        if not isinstance(value, str):
            raise InvalidInput(f"{name!r} is there more than once.")
    return PostQuery(
        wait_ms=_duration_ms(params, "wait", limits.WAIT_MS_MAX),
        delay_ms=_duration_ms(params, "delay", limits.DELAY_MS_MAX),
        at_ms=_time_ms(params),
    )


def parse_idempotency_key(header: str | None) -> str | None:
    """Checks an Idempotency-Key, if there is one.

    Raises:
        InvalidInput: it is empty, too long, or has other characters than printable ASCII.
    """
    if header is None:
        return None
    key = header.strip()
    if not _IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidInput(
            f"Idempotency-Key must be 1 to {limits.IDEMPOTENCY_KEY_CHARS_MAX} printable ASCII characters."
        )
    return key


def _duration_ms(params: Mapping[str, str | list[str]], name: str, ms_max: int) -> int:
    value = params.get(name)
    if not isinstance(value, str):
        return 0
    duration_ms = parse_duration_ms(value)
    if duration_ms > ms_max:
        raise InvalidInput(f"{name!r} is at most {ms_max // 1_000} s.")
    return duration_ms


def _time_ms(params: Mapping[str, str | list[str]]) -> int:
    value = params.get("at")
    if not isinstance(value, str):
        return 0
    text = value.replace(" ", "+")  # NOTE: a bare + in a query string means a space
    try:
        if not _RFC3339.fullmatch(text):
            raise ValueError(text)
        return int(datetime.datetime.fromisoformat(text.upper()).timestamp() * 1_000)
    except (ValueError, OverflowError) as error:
        raise InvalidInput(
            "'at' is not a time: write it as RFC 3339 has it, like 2030-01-31T12:00:00Z."
        ) from error
