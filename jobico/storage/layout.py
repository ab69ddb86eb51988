"""What a store is made of: its kind, the version of its layout, and the form of the values in each table.

Never touches a store; `environment` opens by it and `backup` checks by it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

__all__ = ["QUARANTINE", "Form", "Layout"]

QUARANTINE = "quarantine"
"""The table that damaged rows are moved to: table name, a zero byte and key -> the row as it was found."""


class Form(Enum):
    """How the values of a table are protected (`jobico.storage.values`)."""

    PARTS = "checksum, in parts of a page"
    SEALED = "checksum in front"
    PLAIN = "none: made again from what it points to"


@dataclass(frozen=True)
class Layout:
    """One kind of store. `schema` grows by one with each change that older code cannot read."""

    kind: str
    schema: int
    tables: Mapping[str, Form]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its tables, the quarantine included."""
        return (*self.tables, QUARANTINE)
