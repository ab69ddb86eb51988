"""YAML as a bounded tree that knows its lines; and the problems that are found in it.

What a job definition needs of YAML is little, so little is taken: one document of mappings, sequences and
scalars. Aliases (and with them alias bombs), tags and further documents are refused, and size, depth and
number of nodes are bounded while the text is read. Scalars stay text: `no`, `1` and `1.10` mean what their
reader makes of them.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from jobico import limits
from jobico.errors import InvalidDefinition
from jobico.units import format_size

__all__ = ["Mapping", "Node", "Problems", "Scalar", "Sequence", "read_document"]

_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass(frozen=True, slots=True)
class Scalar:
    """Text; `null` where it was written plain and means nothing."""

    line: int
    text: str
    null: bool


@dataclass(frozen=True, slots=True)
class Sequence:
    """Nodes in order."""

    line: int
    items: list["Node"]


@dataclass(frozen=True, slots=True)
class Mapping:
    """Pairs of a key and a node, as written: a key may be there twice."""

    line: int
    pairs: list[tuple[Scalar, "Node"]]


Node = Scalar | Sequence | Mapping


@dataclass(slots=True)
class Problems:
    """Problems so far; past DEFINITION_PROBLEMS_MAX they are only counted."""

    found: list[dict[str, str | int]] = field(default_factory=list)
    count: int = 0

    def add(self, line: int, path: str, message: str) -> None:
        """Notes a problem of the node at `path`, which is like `jobs[0].event.id`."""
        self.count += 1
        if self.count <= limits.DEFINITION_PROBLEMS_MAX:
            self.found.append({"line": line, "path": path, "message": message.removesuffix(".")})

    def raise_any(self) -> None:
        """Raises InvalidDefinition if there are problems, in the order of their lines."""
        if not self.count:
            return
        self.found.sort(key=lambda problem: problem["line"])
        first = self.found[0]
        where = f"line {first['line']}, {first['path']}" if first["path"] else f"line {first['line']}"
        more = f" ({self.count - 1} more)" if self.count > 1 else ""
        raise InvalidDefinition(
            f"The definition is not valid: {where}: {first['message']}{more}.",
            detail={"problems": self.found},
        )


def read_document(source: bytes | str) -> Node:
    """The tree of a YAML document.

    Raises:
        InvalidDefinition: it is not UTF-8, not YAML, or has what is refused.
    """
    if len(source) > limits.DEFINITION_BYTES_MAX:
        raise _refusal(1, f"the definition is over {format_size(limits.DEFINITION_BYTES_MAX)}")
    if isinstance(source, bytes):
        try:
            source = source.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            raise _refusal(line, "the definition is not UTF-8") from error
    try:
        return _Composer(source).compose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _refusal(mark.line + 1 if mark else 1, f"not YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a lone surrogate in a str
        raise _refusal(1, f"not YAML: {str(error).splitlines()[0]}") from error


class _Composer:
    """Builds the tree from the events of the YAML parser, which come one by one: too much stops it."""

    def __init__(self, text: str) -> None:
        self._loader = yaml.CSafeLoader(text)
        self._nodes = 0
        self._depth = 0

    def compose(self) -> Node:
        loader = self._loader
        try:
            loader.get_event()  # the stream starts
            if loader.check_event(yaml.StreamEndEvent):
                raise _refusal(1, "the definition is empty")
            loader.get_event()  # the document starts
            root = self._node()
            loader.get_event()  # the document ends
            if not loader.check_event(yaml.StreamEndEvent):
                raise _refusal(
                    _line(loader.peek_event()), "a second document begins; a definition is one document"
                )
            return root
        finally:
            loader.dispose()

    def _node(self) -> Node:
        event: Any = self._loader.get_event()
        line = _line(event)
        self._nodes += 1
        if self._nodes > limits.DEFINITION_NODES_MAX:
            raise _refusal(line, f"the definition has over {limits.DEFINITION_NODES_MAX} values")
        if isinstance(event, yaml.AliasEvent):
            raise _refusal(line, f"the alias *{event.anchor} is not taken: write out what it stands for")
        if event.tag is not None:
            raise _refusal(line, f"the tag {event.tag!r} is not taken")
        if isinstance(event, yaml.ScalarEvent):
            return Scalar(line, event.value, null=event.implicit[0] and event.value in _NULLS)
        self._depth += 1
        if self._depth > limits.DEFINITION_DEPTH_MAX:
            raise _refusal(line, f"the definition is nested over {limits.DEFINITION_DEPTH_MAX} deep")
        node = self._sequence(line) if isinstance(event, yaml.SequenceStartEvent) else self._mapping(line)
        self._depth -= 1
        return node

    def _sequence(self, line: int) -> Sequence:
        items = []
        while not self._loader.check_event(yaml.SequenceEndEvent):
            items.append(self._node())
        self._loader.get_event()
        return Sequence(line, items)

    def _mapping(self, line: int) -> Mapping:
        pairs = []
        while not self._loader.check_event(yaml.MappingEndEvent):
            key = self._node()
            if not isinstance(key, Scalar):
                raise _refusal(key.line, "a key is not text")
            pairs.append((key, self._node()))
        self._loader.get_event()
        return Mapping(line, pairs)


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _refusal(line: int, message: str) -> InvalidDefinition:
    """The error for a text of which no tree can be made."""
    return InvalidDefinition(
        f"The definition is not valid: line {line}: {message}.",
        detail={"problems": [{"line": line, "path": "", "message": message}]},
    )
