"""Job definitions: the YAML of `docs/design.md` section 3 as checked, immutable types.

`parse_definition` is the only way in; it does no I/O. Whether the files and names that a definition refers to
exist is checked at deploy, by control.
"""

from jobico.definition.parser import parse_definition
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
