"""A JSON Schema as a graph: what it refers to, and whether applying it ends.

Nodes are the subschemas that are objects. An edge leads to a subschema that is applied to the same value (in
place) or to a part of it. From the graph follow what a validator does not say of itself: references that lead
out of the document, and loops that apply subschemas to one value for ever. Nothing here validates anything.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import referencing
import referencing.exceptions
import referencing.jsonschema

from jobico import limits
from jobico.errors import InvalidSchema

__all__ = ["Node", "SchemaGraph", "components"]

_BASE: Final = "urn:jobico:schema"
_IN_PLACE: Final = ("not", "if", "then", "else")
_IN_PLACE_LISTS: Final = ("allOf", "anyOf", "oneOf")
_IN_PLACE_MAPS: Final = ("dependentSchemas", "dependencies")
_OTHER: Final = ("additionalProperties", "unevaluatedProperties")
_REST: Final = ("additionalItems", "unevaluatedItems")
_SHELVES: Final = ("$defs", "definitions")  # hold subschemas, apply none

_Schema = dict[str, Any]
_Resolver = Any  # what `Registry.resolver` gives; its type has no public name


@dataclass(slots=True)
class Node:
    """A subschema and the indexes of those that it applies."""

    schema: _Schema
    pointer: str
    in_place: list[int] = field(default_factory=list)
    named: dict[str, int] = field(default_factory=dict)  # by property
    patterned: list[int] = field(default_factory=list)  # properties that match, named or not
    other: list[int] = field(default_factory=list)  # properties that are not named
    keys: list[int] = field(default_factory=list)  # names of properties
    prefix: list[int] = field(default_factory=list)  # by position
    rest: list[int] = field(default_factory=list)  # positions past the prefix
    every: list[int] = field(default_factory=list)  # all positions

    def edges(self) -> Iterator[int]:
        """All that it applies, in place and to parts."""
        yield from self.in_place
        yield from self.named.values()
        for parts in (self.patterned, self.other, self.keys, self.prefix, self.rest, self.every):
            yield from parts


class SchemaGraph:
    """The graph of a document that its meta-schema has already passed; node 0 is the root.

    Raises:
        InvalidSchema: a reference leads nowhere or out of the document, or there are too many subschemas.
    """

    def __init__(self, document: _Schema, specification: referencing.Specification[Any]) -> None:
        self.nodes: list[Node] = []
        self.patterns: dict[str, str] = {}  # a regular expression -> JSON Pointer of where it stands
        self._specification = specification
        self._index: dict[int, int] = {}  # id() of a subschema -> node; the document keeps them alive
        self._todo: list[tuple[int, _Resolver]] = []
        self._dynamic: list[tuple[int, str]] = []  # nodes with a dynamic reference, and its anchor
        resource = specification.create_resource(document)
        registry = referencing.Registry[Any]().with_resource(_BASE, resource).crawl()
        self._add(document, "", registry.resolver(base_uri=_BASE))
        while self._todo:
            index, resolver = self._todo.pop()
            self._walk(self.nodes[index], index, resolver)
        self._link_dynamic()

    def check_loops(self) -> None:
        """Raises InvalidSchema where subschemas are applied to one value for ever."""
        for component in components([node.in_place for node in self.nodes]):
            first = component[0]
            if len(component) > 1 or first in self.nodes[first].in_place:
                where = min(self.nodes[index].pointer for index in component)
                raise InvalidSchema(
                    f"The schema never ends: {where or 'its root'} is applied to the same value again."
                )

    def _add(self, schema: object, pointer: str, resolver: _Resolver) -> list[int]:
        """The node of a subschema, as a list: empty for `true` and `false`, which apply nothing."""
        if not isinstance(schema, dict):
            if isinstance(schema, bool):
                return []
            raise InvalidSchema(
                f"{pointer or 'The root'} is used as a schema, but is neither an object nor a boolean."
            )
        known = self._index.get(id(schema))
        if known is not None:
            return [known]
        index = self._index[id(schema)] = len(self.nodes)
        if index >= limits.SCHEMA_NODES_MAX:
            raise InvalidSchema(f"The schema has over {limits.SCHEMA_NODES_MAX} subschemas.")
        self.nodes.append(Node(schema, pointer))
        resource = self._specification.create_resource(schema)
        self._todo.append((index, resolver.in_subresource(resource)))
        return [index]

    def _walk(self, node: Node, index: int, resolver: _Resolver) -> None:
        schema, pointer = node.schema, node.pointer

        def one(keyword: str) -> list[int]:
            return self._add(schema[keyword], f"{pointer}/{keyword}", resolver) if keyword in schema else []

        def many(keyword: str) -> list[int]:
            parts = schema.get(keyword)
            numbered = enumerate(parts) if isinstance(parts, list) else ()
            return [
                found
                for i, part in numbered
                for found in self._add(part, f"{pointer}/{keyword}/{i}", resolver)
            ]

        def mapped(keyword: str) -> Iterator[tuple[str, int]]:
            parts = schema.get(keyword)
            for name, part in parts.items() if isinstance(parts, dict) else ():
                if isinstance(part, list) and keyword == "dependencies":
                    continue  # a list of names, as in `dependentRequired`
                for found in self._add(part, f"{pointer}/{keyword}/{_escape(name)}", resolver):
                    yield name, found

        node.in_place += _flat(one(keyword) for keyword in _IN_PLACE)
        node.in_place += _flat(many(keyword) for keyword in _IN_PLACE_LISTS)
        node.in_place += [found for keyword in _IN_PLACE_MAPS for _, found in mapped(keyword)]
        node.in_place += self._references(node, index, resolver)
        node.named.update(mapped("properties"))
        node.patterned += [found for _, found in mapped("patternProperties")]
        node.other += _flat(one(keyword) for keyword in _OTHER)
        node.keys += one("propertyNames")
        listed = isinstance(schema.get("items"), list)
        node.prefix += many("prefixItems") + (many("items") if listed else [])
        node.rest += _flat(one(keyword) for keyword in _REST) + ([] if listed else one("items"))
        node.every += one("contains")
        one("contentSchema")
        for keyword in _SHELVES:
            list(mapped(keyword))
        self._collect_patterns(node)

    def _references(self, node: Node, index: int, resolver: _Resolver) -> list[int]:
        found: list[int] = []
        for keyword in ("$ref", "$dynamicRef", "$recursiveRef"):
            reference = node.schema.get(keyword)
            if not isinstance(reference, str):
                continue
            where = f"{node.pointer}/{keyword}"
            try:
                resolved = resolver.lookup(reference)
            except (referencing.exceptions.Unresolvable, LookupError, TypeError, ValueError) as error:
                # SECURITY: the registry holds this document alone and fetches nothing.
                raise InvalidSchema(
                    f"{where} refers to {reference[:200]!r}, which is not in this document. "
                    "References to other documents are not followed: copy what you need under $defs."
                ) from error
            found += self._add(resolved.contents, f"{where}→{reference[:200]}", resolved.resolver)
            if keyword != "$ref":
                self._dynamic.append((index, reference.rpartition("#")[2]))
        return found

    def _link_dynamic(self) -> None:
        """Adds what a dynamic reference may mean besides the target that stands in the text."""
        anchors: dict[str, list[int]] = {}
        for index, node in enumerate(self.nodes):
            if isinstance(anchor := node.schema.get("$dynamicAnchor"), str):
                anchors.setdefault(anchor, []).append(index)
            if node.schema.get("$recursiveAnchor") is True:
                anchors.setdefault("", []).append(index)
        for index, anchor in self._dynamic:
            targets = self.nodes[index].in_place
            targets += [target for target in anchors.get(anchor, ()) if target not in targets]

    def _collect_patterns(self, node: Node) -> None:
        pattern = node.schema.get("pattern")
        if isinstance(pattern, str):
            self.patterns.setdefault(pattern, f"{node.pointer}/pattern")
        keyed = node.schema.get("patternProperties")
        for key in keyed if isinstance(keyed, dict) else ():
            self.patterns.setdefault(key, f"{node.pointer}/patternProperties/{_escape(key)}")


def components(edges: Sequence[Sequence[int]]) -> list[list[int]]:
    """The strongly connected components of a graph, each after those it leads to (Tarjan, no recursion)."""
    order: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    on_stack: set[int] = set()
    found: list[list[int]] = []
    for root in range(len(edges)):
        path = [] if root in order else [(root, iter(edges[root]))]
        while path:
            node, rest = path[-1]
            if node not in order:
                order[node] = low[node] = len(order)
                stack.append(node)
                on_stack.add(node)
            target = next(rest, None)
            if target is None:
                path.pop()
                if path:
                    parent = path[-1][0]
                    low[parent] = min(low[parent], low[node])
                if low[node] == order[node]:
                    found.append(_pop_through(stack, on_stack, node))
            elif target not in order:
                path.append((target, iter(edges[target])))
            elif target in on_stack:
                low[node] = min(low[node], order[target])
    return found


def _pop_through(stack: list[int], on_stack: set[int], node: int) -> list[int]:
    component = []
    while True:
        item = stack.pop()
        on_stack.discard(item)
        component.append(item)
        if item == node:
            return component


def _flat(lists: Iterable[list[int]]) -> list[int]:
    return [item for one in lists for item in one]


def _escape(token: str) -> str:
    return token.replace("~", "~0").replace("/", "~1")
