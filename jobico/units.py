"""Durations and sizes as people write them: `5s`, `250ms`, `64MiB`."""

import re

from jobico.errors import InvalidInput

__all__ = ["format_duration_ms", "format_size", "parse_duration_ms", "parse_size_bytes"]

_DURATION_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_SIZE_BYTES = {
    "": 1, "B": 1, "KB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000,
    "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30,
}  # fmt: skip
_DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)\s*(ms|s|m|h|d)")
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)\s*([A-Za-z]{0,3})")


def parse_duration_ms(text: str | int) -> int:
    """Milliseconds of a duration: a number with `ms`, `s`, `m`, `h` or `d`; a bare int is milliseconds.

    Raises:
        InvalidInput: it is none of these.
    """
    if isinstance(text, int) and not isinstance(text, bool) and text >= 0:
        return text
    match = _DURATION.fullmatch(str(text).strip())
    if not match:
        raise InvalidInput(f"{text!r} is not a duration: write a number and ms, s, m, h or d, such as 5s.")
    return round(float(match[1]) * _DURATION_MS[match[2]])


def parse_size_bytes(text: str | int) -> int:
    """Bytes of a size: a number with `B`, `KB`, `MB`, `GB`, `KiB`, `MiB` or `GiB`; a bare int is bytes.

    Raises:
        InvalidInput: it is none of these.
    """
    if isinstance(text, int) and not isinstance(text, bool) and text >= 0:
        return text
    match = _SIZE.fullmatch(str(text).strip())
    if not match or match[2].upper() not in _SIZE_BYTES:
        raise InvalidInput(f"{text!r} is not a size: write a number and KiB, MiB or GiB, such as 64MiB.")
    return round(float(match[1]) * _SIZE_BYTES[match[2].upper()])


def format_duration_ms(duration_ms: float) -> str:
    """A duration for people, of at most 7 characters: `0.31 ms`, `12 ms`, `4.2 s`, `3.0 m`, `7.5 h`."""
    if duration_ms < 10:
        return f"{duration_ms:.2f} ms"
    if duration_ms < 1_000:
        return f"{duration_ms:.0f} ms"
    for unit, size in (("s", 1_000), ("m", 60_000), ("h", 3_600_000)):
        if duration_ms < size * 100:
            return f"{duration_ms / size:.1f} {unit}"
    return f"{duration_ms / 86_400_000:.1f} d"


def format_size(size_bytes: float) -> str:
    """A size for people: `512 B`, `1.5 KiB`, `64 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size_bytes < 1024 or unit == "GiB":
            break
        size_bytes /= 1024
    whole = size_bytes >= 100 or size_bytes == int(size_bytes)
    return f"{size_bytes:.0f} {unit}" if whole else f"{size_bytes:.1f} {unit}"
