"""One sample of every message type with every field set to something other than its default, always the same.

`python tests/protocol_samples.py` adds to the golden file what has become different. A form that is in it
stays: it is what an older peer sends.
"""

import json
import sys
from pathlib import Path
from typing import Any

from msgspec import inspect

from protocol import codec
from protocol.messages import MESSAGES, Message

GOLDEN = Path(__file__).parent / "unit" / "golden" / "protocol" / f"v{codec.PROTOCOL_VERSION}.json"
CORRELATION, SENDER = "17", "executor-0"
_NUMBERS = (7, 200, 70_000, 1_700_000_000_000, 12_884_901_899, -3)


def sample(kind: type[Message]) -> Message:
    """The sample of a message type."""
    return _value(inspect.type_info(kind), "", 0)


def samples() -> list[Message]:
    """The samples of all types, by name."""
    return [sample(MESSAGES[name]) for name in sorted(MESSAGES)]


def _struct(info: inspect.StructType) -> Any:
    values = {field.name: _value(field.type, field.name, index) for index, field in enumerate(info.fields)}
    return info.cls(**values)


def _scalar(info: Any, name: str, index: int) -> Any:
    if isinstance(info, inspect.EnumType):
        return list(info.cls)[-1]
    scalars = {
        inspect.StrType: f"{name}-é",
        inspect.BytesType: b"\x00\xff" + name.encode(),
        inspect.BoolType: True,
        inspect.IntType: _NUMBERS[index % len(_NUMBERS)],
        inspect.FloatType: 0.25,
        inspect.AnyType: {"any": [1, None, False, 2.5, "é", b"\x00"]},
        inspect.CustomType: {"any": [1, None, False, 2.5, "é", b"\x00"]},
    }
    return scalars[type(info)]


def _value(info: Any, name: str, index: int) -> Any:
    match info:
        case inspect.StructType():
            return _struct(info)
        case inspect.DictType(value_type=inner):
            return {"one": _value(inner, name, index), "two": _value(inner, name, index + 1)}
        case inspect.VarTupleType(item_type=inner):
            return (_value(inner, name, index), _value(inner, name, index + 1))
        case inspect.TupleType(item_types=inner):
            return tuple(_value(one, name, place) for place, one in enumerate(inner))
        case inspect.UnionType(types=inner):
            return _value(next(one for one in inner if not isinstance(one, inspect.NoneType)), name, index)
    return _scalar(info, name, index)


def forms() -> dict[str, list[list[str]]]:
    """The golden file: by type all forms that have been sent, oldest first, as the hex of the two frames."""
    return json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}


def main() -> None:
    """Adds the present form of each type where it is new."""
    found = forms()
    for message in samples():
        frames = [frame.hex() for frame in codec.encode(message, correlation=CORRELATION, sender=SENDER)]
        if frames not in found.setdefault(message.TYPE, []):
            found[message.TYPE].append(frames)
    GOLDEN.parent.mkdir(parents=True, exist_ok=True)
    GOLDEN.write_text(json.dumps(dict(sorted(found.items())), indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
