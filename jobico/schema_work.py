"""How much work a JSON Schema can ask for: an upper bound on subschemas applied to one value, by its depth.

A schema that is small on paper can apply thousands of subschemas to one value: each `allOf` of two
references to the next doubles what came before. The bound is found without any instance. A value at some
depth is described by how often each subschema is applied to it; the descriptions of its parts follow from
that, one for each name of a property and each position in a list. Each description is followed once. The
search itself is bounded: a schema that needs more of it counts as asking for the most.
"""

import heapq
from collections.abc import Iterable, Iterator
from typing import Final

from jobico import limits
from jobico.schema_graph import Node, SchemaGraph, components

__all__ = ["evaluations_by_depth", "evaluations_outside_loops"]

_LEVELS: Final = limits.JSON_DEPTH_MAX + 1  # a value of depth d has parts at levels 0 to d
_SEARCH_MAX: Final = 200_000  # entries of descriptions that are looked at: about 0.3 s

_Counts = dict[int, int]  # a description: group of nodes -> how often it is applied


def evaluations_by_depth(graph: SchemaGraph, cap: int) -> tuple[int, ...]:
    """At index k, how many subschemas may be applied to a part k levels down or less; never over `cap`."""
    groups = components([node.in_place for node in graph.nodes])[::-1]
    return tuple(_Growth(graph.nodes, groups, [False] * len(groups), cap).by_level())


def evaluations_outside_loops(graph: SchemaGraph, cap: int) -> int:
    """The last of `evaluations_by_depth` if what is recursive counts once for each way into it.

    NOTE: the compiled validator remembers, within a recursive reference, which subschema it has applied to
    which part, so a recursion that branches does not multiply its work; all else does.
    """
    edges = [list(node.edges()) for node in graph.nodes]
    groups = components(edges)[::-1]
    sticky = [len(group) > 1 or group[0] in edges[group[0]] for group in groups]
    return _Growth(graph.nodes, groups, sticky, cap).by_level()[-1]


class _Growth:
    """Follows descriptions from level to level.

    Groups of nodes come before those that they lead to; edges inside a group are not followed. A sticky group
    stays: what reached it at one level is at the next one too.
    """

    def __init__(self, nodes: list[Node], groups: list[list[int]], sticky: list[bool], cap: int) -> None:
        self._nodes = nodes
        self._groups = groups
        self._sticky = sticky
        self._cap = cap
        self._group_of = {index: number for number, group in enumerate(groups) for index in group}

    def by_level(self) -> list[int]:
        """The largest total of each level and those above it."""
        totals: list[int] = []
        worst = searched = 0
        level = seen = {frozenset({(self._group_of[0], 1)})}
        while level and worst < self._cap and len(totals) < _LEVELS:
            below = set()
            for description in level:
                counts = self._close(dict(description))
                worst = max(worst, sum(counts.values()))
                searched += len(counts)
                for part in self._parts(counts):
                    searched += len(part)
                    below.add(frozenset(part.items()))
                    if searched > _SEARCH_MAX:
                        return totals + [self._cap] * (_LEVELS - len(totals))
            totals.append(min(worst, self._cap))
            level = below - seen
            seen = seen | level
        return totals + [totals[-1]] * (_LEVELS - len(totals))

    def _close(self, counts: _Counts) -> _Counts:
        """Adds what is applied in place, in topological order."""
        waiting = list(counts)
        heapq.heapify(waiting)
        while waiting:
            number = heapq.heappop(waiting)
            for index in self._groups[number]:
                for target in self._leaving(number, self._nodes[index].in_place):
                    if target not in counts:
                        heapq.heappush(waiting, target)
                    counts[target] = min(counts.get(target, 0) + counts[number], self._cap)
        return counts

    def _leaving(self, number: int, edges: Iterable[int]) -> list[int]:
        return [self._group_of[edge] for edge in edges if self._group_of[edge] != number]

    def _parts(self, counts: _Counts) -> Iterator[_Counts]:
        """Descriptions of the parts of a value: each named property and any other, positions, names."""
        staying = {number: count for number, count in counts.items() if self._sticky[number]}
        properties, positions = _Parts(staying), _Parts(staying)
        names = dict(staying)
        for number, count in counts.items():
            for node in (self._nodes[index] for index in self._groups[number]):
                _increase(names, self._leaving(number, node.keys), count)
                properties.always(self._leaving(number, node.patterned), count)
                other = self._leaving(number, node.other)
                properties.always(other, count)
                for name, edge in node.named.items():
                    properties.instead(name, self._leaving(number, [edge]), other, count)
                positions.always(self._leaving(number, node.every), count)
                rest = self._leaving(number, node.rest)
                positions.always(rest, count)
                for position, edge in enumerate(node.prefix):
                    positions.instead(position, self._leaving(number, [edge]), rest, count)
        yield from properties.all()
        yield from positions.all()
        if names:
            yield names


class _Parts:
    """Descriptions of the parts of an object or a list, as changes from the part that nobody names."""

    def __init__(self, base: _Counts) -> None:
        self._base = dict(base)
        self._changes: dict[str | int, _Counts] = {}

    def always(self, targets: list[int], count: int) -> None:
        """Applies to all parts."""
        _increase(self._base, targets, count)

    def instead(self, name: str | int, targets: list[int], others: list[int], count: int) -> None:
        """Applies to the part of that name in place of `others`."""
        changes = self._changes.setdefault(name, {})
        _increase(changes, targets, count)
        _increase(changes, others, -count)

    def all(self) -> Iterator[_Counts]:
        """One description a name, and one for all other names; empty ones are left out."""
        if self._base:
            yield self._base
        for changes in self._changes.values():
            part = dict(self._base)
            for target, count in changes.items():
                part[target] = part.get(target, 0) + count
                if part[target] <= 0:
                    del part[target]
            if part:
                yield part


def _increase(counts: _Counts, targets: list[int], count: int) -> None:
    for target in targets:
        counts[target] = counts.get(target, 0) + count
