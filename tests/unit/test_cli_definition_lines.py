"""A problem that control found is shown with the line of the YAML that it is about."""

import pytest

from cli.definition_lines import with_lines
from jobico.definition import parse_definition
from jobico.errors import InvalidDefinition

SOURCE = b"""name: Orders
id: orders
tenant: acme
queues:
  - {id: default, name: All}
runtimes:
  - id: greet
    moduleref: greet.wasm
  - id: other
    moduleref: other-greet.wasm
jobs:
  - event:
      id: order
      schema: {id: order, schemaref: order.json}
      runtime: greet
    result:
      ok: {id: thanks, runtime: other}
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("runtimes[0].moduleref", 8),
        ("runtimes[1].moduleref", 10),
        ("runtimes[1].abi", 9),
        ("events[0].schema.schemaref", 14),
        ("events[1].id", 17),
        ("events[7].id", 0),
        ("somewhere", 0),
    ],
)
def test_the_line_is_that_of_what_is_named(path: str, line: int) -> None:
    error = InvalidDefinition("Wrong.", detail={"problems": [{"line": 0, "path": path, "message": "m"}]})
    (problem,) = with_lines(error, SOURCE, parse_definition(SOURCE)).detail["problems"]
    assert problem == {"line": line, "path": path, "message": "m"}


def test_a_line_that_is_known_stays() -> None:
    error = InvalidDefinition("Wrong.", detail={"problems": [{"line": 3, "path": "events[0].id"}]})
    assert with_lines(error, SOURCE, parse_definition(SOURCE)).detail["problems"][0]["line"] == 3
