"""Job definitions: the YAML of `docs/design.md` section 3 as checked, immutable types.

`parse_definition` is the only way in; it does no I/O. Whether the files and names that a definition refers to
exist is checked at deploy, by control.
"""

from jobico.definition.types import (
    Abi,
    Engine,
    EventDefinition,
    GuestLimits,
    JobDefinition,
    ModulePin,
    Order,
    QueueDefinition,
    Revision,
    RuntimeDefinition,
    RuntimeSpec,
    SchemaReference,
    Verification,
    VerifyScheme,
)

__all__ = [
    "Abi",
    "Engine",
    "EventDefinition",
    "GuestLimits",
    "JobDefinition",
    "ModulePin",
    "Order",
    "QueueDefinition",
    "Revision",
    "RuntimeDefinition",
    "RuntimeSpec",
    "SchemaReference",
    "Verification",
    "VerifyScheme",
    "parse_definition",
]


def parse_definition(source: bytes | str) -> JobDefinition:
    """Reads a definition; `jobico.definition.parser` has the rules.

    Raises:
        InvalidDefinition: `detail["problems"]` has the line, path and message of each.
    """
    # PERF: whoever only passes definitions on (every node but control, most commands) loads no YAML: 38 ms.
    from jobico.definition.parser import parse_definition as parse  # noqa: PLC0415

    return parse(source)
