"""Which line of a definition a problem is about, where only control could find the problem.

Control checks what a definition names (programs, schemas, events of other jobs) and answers with paths; the
text, and with it the lines, stays with who deploys.
"""

import re
from typing import Any

from jobico.definition import EventDefinition, JobDefinition, RuntimeDefinition
from jobico.errors import InvalidDefinition

__all__ = ["with_lines"]

_PLACE = re.compile(r"(runtimes|events)\[(\d+)\]\.(.+)")


def with_lines(error: InvalidDefinition, source: bytes, definition: JobDefinition) -> InvalidDefinition:
    """The error, each of its problems with its line where that can be told."""
    lines = source.decode("utf-8", "replace").splitlines()
    problems = [_placed(problem, lines, definition) for problem in error.detail.get("problems", ())]
    return InvalidDefinition(error.message, detail={**error.detail, "problems": problems})


def _placed(problem: dict[str, Any], lines: list[str], definition: JobDefinition) -> dict[str, Any]:
    match = _PLACE.fullmatch(str(problem.get("path", "")))
    if problem.get("line") or match is None:
        return problem
    items: tuple[RuntimeDefinition | EventDefinition, ...] = getattr(definition, match[1])
    if int(match[2]) >= len(items):
        return problem
    name = re.escape(_named(items[int(match[2])], match[3]))
    token = re.compile(rf"(?<![\w.-]){name}(?![\w.-])")
    line = next((number for number, text in enumerate(lines, 1) if token.search(text)), 0)
    return {**problem, "line": line}


def _named(item: RuntimeDefinition | EventDefinition, key: str) -> str:
    """What the text has where the problem is: the file that is named, or else the item's id."""
    if isinstance(item, RuntimeDefinition):
        return item.module if key == "moduleref" else item.id
    return item.schema.ref if item.schema is not None and key.startswith("schema") else item.id
