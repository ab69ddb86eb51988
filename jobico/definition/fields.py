"""Fields of a mapping, read one by one: each with its type, its bounds, and what is wrong with it.

A wrong field is noted as a problem and read as its default, so that one pass finds all problems.
"""

import difflib
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Final, TypeVar

from jobico.definition.document import Mapping, Node, Problems, Scalar, Sequence
from jobico.errors import InvalidInput
from jobico.ids import check_name
from jobico.units import format_duration_ms, format_size, parse_duration_ms, parse_size_bytes

__all__ = ["Fields", "shorten"]

_Choice = TypeVar("_Choice", bound=StrEnum)
_LABEL_CHARS_MAX: Final = 200
_DIGITS_MAX: Final = 20


class Fields:
    """The fields of one mapping. Keys are matched without regard to case; `null` is as good as absent."""

    def __init__(self, problems: Problems, node: Node | None, path: str, keys: tuple[str, ...]) -> None:
        self.line = node.line if node else 1
        self.path = path
        self._problems = problems
        self._nodes: dict[str, Node] = {}
        self._keys = keys
        self._silent = False  # once it is said that this is no mapping, what it lacks is not
        if isinstance(node, Mapping):
            self._take(node)
        elif node is not None and not is_null(node):
            self.problem("", f"must be a mapping with some of: {', '.join(keys)}")
            self._silent = True

    def _take(self, node: Mapping) -> None:
        seen: dict[str, int] = {}
        for key, value in node.pairs:
            name = key.text.lower()
            if name not in self._keys:
                self.problem(key.text[:80], f"unknown key{self._suggestion(name)}", key.line)
            elif name in seen:
                self.problem(name, f"the key is there twice, first in line {seen[name]}", key.line)
            else:
                seen[name] = key.line
                if not is_null(value):
                    self._nodes[name] = value

    def _suggestion(self, name: str) -> str:
        close = difflib.get_close_matches(name[:40], self._keys, n=1)
        return f"; did you mean {close[0]}?" if close else f"; known here: {', '.join(self._keys)}"

    def problem(self, key: str, message: str, line: int | None = None) -> None:
        """Notes a problem of a field, or with an empty key of the mapping itself."""
        if not self._silent:
            self._problems.add(self.line_of(key) if line is None else line, self.at(key), message)

    def at(self, key: str) -> str:
        """The path of a field."""
        return f"{self.path}.{key}" if self.path and key else self.path or key

    def has(self, key: str) -> bool:
        """True if the field is there and not null."""
        return key in self._nodes

    def node(self, key: str) -> Node | None:
        """The field as it stands."""
        return self._nodes.get(key)

    def line_of(self, key: str) -> int:
        """The line of a field, or of the mapping where it is absent."""
        node = self._nodes.get(key)
        return node.line if node else self.line

    def text(self, key: str, *, required: bool = False, chars_max: int = _LABEL_CHARS_MAX) -> str:
        """A scalar as text; empty where it is absent or wrong."""
        node = self._nodes.get(key)
        if node is None:
            if required:
                self.problem(key, "is missing")
            return ""
        if not isinstance(node, Scalar):
            self.problem(key, "must be a single value")
            return ""
        if len(node.text) > chars_max:
            self.problem(key, f"is over {chars_max} characters")
            return ""
        if required and not node.text:
            self.problem(key, "is empty")
        return node.text

    def name(self, key: str, kind: str, *, required: bool = True) -> str:
        """What can name a thing of that kind; empty where it is absent or wrong."""
        text = self.text(key, required=required)
        return text if not text or self._passes(key, lambda: check_name(kind, text)) else ""

    def integer(self, key: str, default: int, least: int, most: int) -> int:
        """A whole number in bounds."""
        return self._number(key, default, (least, most), _parse_integer, str)

    def duration_ms(self, key: str, default: int, least: int, most: int) -> int:
        """A duration in bounds, in milliseconds."""
        return self._number(key, default, (least, most), parse_duration_ms, format_duration_ms)

    def size_bytes(self, key: str, default: int, least: int, most: int) -> int:
        """A size in bounds, in bytes."""
        return self._number(key, default, (least, most), parse_size_bytes, format_size)

    def _number(
        self,
        key: str,
        default: int,
        bounds: tuple[int, int],
        parse: Callable[[str], int],
        show: Callable[[int], str],
    ) -> int:
        least, most = bounds
        text = self.text(key)
        values: list[int] = []
        if not text or not self._passes(key, lambda: values.append(parse(text))):
            return default
        if not least <= values[0] <= most:
            self.problem(key, f"is {shorten(text)}; it must be from {show(least)} to {show(most)}")
            return default
        return values[0]

    def choice(self, key: str, default: _Choice) -> _Choice:
        """One of the values of an enumeration, without regard to case."""
        text = self.text(key).lower()
        kinds = type(default)
        if not text:
            return default
        if text not in list(kinds):
            self.problem(key, f"is {shorten(text)!r}; it must be one of: {', '.join(kinds)}")
            return default
        return kinds(text)

    def constant(self, key: str, *allowed: str) -> None:
        """A field of the original format that can only have one value."""
        text = self.text(key)
        if text and text.lower() not in allowed:
            self.problem(key, f"is {shorten(text)!r}; it must be {' or '.join(allowed)}")

    def items(self, key: str, most: int, *, least: int = 0) -> Iterator[tuple[str, Node]]:
        """The path and node of each item of a list; none where it is absent or wrong."""
        node = self._nodes.get(key)
        if node is None:
            if least:
                self.problem(key, "is missing")
            return
        if not isinstance(node, Sequence):
            self.problem(key, "must be a list")
            return
        if len(node.items) > most:
            self.problem(key, f"has {len(node.items)} items; at most {most} are taken")
            return
        if len(node.items) < least:
            self.problem(key, "is empty")
        for index, item in enumerate(node.items):
            yield self.at(f"{key}[{index}]"), item

    def texts(self, key: str, most: int, check: Callable[[str], object]) -> tuple[str, ...]:
        """A list of distinct texts that pass `check`, which raises InvalidInput; one text may stand alone."""
        if isinstance(node := self._nodes.get(key), Scalar):
            self._nodes[key] = Sequence(node.line, [node])
        found: list[str] = []
        for path, item in self.items(key, most):
            if not isinstance(item, Scalar):
                self._problems.add(item.line, path, "must be a single value")
            elif item.text in found:
                self._problems.add(item.line, path, f"{shorten(item.text)!r} is there twice")
            else:
                try:
                    check(item.text)
                    found.append(item.text)
                except InvalidInput as error:
                    self._problems.add(item.line, path, error.message)
        return tuple(found)

    def _passes(self, key: str, check: Callable[[], object]) -> bool:
        try:
            check()
        except InvalidInput as error:
            self.problem(key, error.message)
            return False
        return True


def is_null(node: Node) -> bool:
    """True for a plain scalar that means nothing."""
    return isinstance(node, Scalar) and node.null


def shorten(text: str) -> str:
    """Text of a definition for a message."""
    return text if len(text) <= 40 else text[:39] + "…"


def _parse_integer(text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS_MAX):
        raise InvalidInput(f"{shorten(text)!r} is not a whole number.")
    return int(text)
