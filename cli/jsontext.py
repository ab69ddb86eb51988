"""Anything that a command tells, as one line of JSON. It prints nothing."""

import json
from typing import Any

__all__ = ["dumps"]


def dumps(value: Any) -> str:
    """The JSON text of a value, structs included."""
    # SECURITY: ASCII alone, so that no control or bidirectional character reaches a terminal.
    return json.dumps(value, ensure_ascii=True, separators=(", ", ": "), default=_plain)


def _plain(value: Any) -> Any:
    """What JSON has no type for; every field of a struct is there, also where it has its default."""
    import msgspec

    if isinstance(value, msgspec.Struct):
        return msgspec.structs.asdict(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    raise TypeError(f"{type(value).__name__} has no form in JSON")
