"""The sections of a core module: just enough of the binary format to bound it."""

from collections.abc import Iterator
from typing import Final

from jobico.errors import InvalidModule, TooLarge

__all__ = ["has_start", "with_maximums"]

_HEADER_BYTES: Final = 8
_PAGE_BYTES: Final = 65_536
_TABLE_SECTION, _MEMORY_SECTION, _START_SECTION = 4, 5, 8
_HAS_MAXIMUM: Final = 1
_U32_BYTES_MAX: Final = 5
_INIT_EXPRESSION: Final = 0x40


def with_maximums(content: bytes, *, memory_bytes: int, table_elements: int) -> bytes:
    """A valid core module whose memories and tables no engine grows past these bounds.

    Args:
        content: The module, which the compiler has accepted.
        memory_bytes: What a memory may have at most.
        table_elements: What a table may have at most.

    Raises:
        InvalidModule: a table has a form that is not read here.
        TooLarge: a memory or table begins past its bound.
    """
    bounds = {_MEMORY_SECTION: memory_bytes // _PAGE_BYTES, _TABLE_SECTION: table_elements}
    parts = [content[:_HEADER_BYTES]]
    for section, body in _sections(content):
        kept = _bounded(section, body, bounds[section]) if section in bounds else body
        parts.append(bytes((section,)) + _encode(len(kept)) + kept)
    return b"".join(parts)


def has_start(content: bytes) -> bool:
    """True if a valid core module has a start function, which runs while it is instantiated."""
    return any(section == _START_SECTION for section, _ in _sections(content))


def _sections(content: bytes) -> Iterator[tuple[int, bytes]]:
    at = _HEADER_BYTES
    while at < len(content):
        section = content[at]
        size, at = _decode(content, at + 1)
        yield section, content[at : at + size]
        at += size


def _bounded(section: int, body: bytes, bound: int) -> bytes:
    """A table or memory section with the maximum of each entry at most `bound`."""
    count, at = _decode(body, 0)
    out = [_encode(count)]
    for _ in range(count):
        if section == _TABLE_SECTION:
            if body[at] == _INIT_EXPRESSION:
                raise InvalidModule(
                    "It has a table with an initial value, which the engine wasmer is not given."
                )
            out.append(body[at : at + 1])  # the type of its elements
            at += 1
        flags = body[at]
        minimum, at = _decode(body, at + 1)
        maximum = bound
        if flags & _HAS_MAXIMUM:
            declared, at = _decode(body, at)
            maximum = min(bound, declared)
        if minimum > maximum:
            raise TooLarge(f"It begins with {minimum} pages or elements where its limits allow {maximum}.")
        out.append(bytes((flags | _HAS_MAXIMUM,)) + _encode(minimum) + _encode(maximum))
    return b"".join(out)


def _decode(content: bytes, at: int) -> tuple[int, int]:
    """An unsigned LEB128 number, and where the next thing begins."""
    value = 0
    for index in range(_U32_BYTES_MAX):
        byte = content[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if not byte & 0x80:
            return value, at + index + 1
    raise InvalidModule("A number in it is too long.")


def _encode(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
