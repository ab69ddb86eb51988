"""How `protocol/SPEC.md` writes types and defaults, and what it has to describe."""

from enum import EnumMeta
from typing import Any

import msgspec
from msgspec import inspect

from jobico.definition import RuntimeSpec
from jobico.event import Record, Report
from protocol.messages import MESSAGES

_SCALARS = {
    inspect.StrType: "text",
    inspect.BytesType: "bytes",
    inspect.BoolType: "bool",
    inspect.IntType: "int",
    inspect.FloatType: "float",
    inspect.NoneType: "nil",
    inspect.AnyType: "any",
    inspect.CustomType: "any",
}
_CARRIED = (Record, Report, RuntimeSpec)  # as bytes, so that no message type names them


def type_text(info: Any) -> str:
    """A type as the tables write it."""
    match info:
        case inspect.StructType(cls=cls):
            return f"[{cls.__name__}](#{cls.__name__.lower()})"
        case inspect.DictType(value_type=inner):
            return f"map of {type_text(inner)}"
        case inspect.VarTupleType(item_type=inner):
            return f"list of {type_text(inner)}"
        case inspect.TupleType(item_types=inner):
            return "list " + ", ".join(map(type_text, inner))
        case inspect.UnionType(types=inner):
            return " or ".join(map(type_text, inner))
    return info.cls.__name__ if isinstance(info, inspect.EnumType) else _SCALARS[type(info)]


def default_text(field: Any) -> str:
    """A default as the tables write it."""
    if field.required:
        return "required"
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    if isinstance(value, msgspec.Struct):
        return "all defaults"
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return str(value).lower()
    return f"`{value}`" if value or value == 0 else "empty"


def _walk(info: Any, found: dict[type, None]) -> None:
    match info:
        case inspect.StructType(cls=cls, fields=fields) if cls not in found:
            found[cls] = None
            for field in fields:
                _walk(field.type, found)
        case inspect.EnumType(cls=cls):
            found[cls] = None
        case inspect.DictType(value_type=inner):
            _walk(inner, found)
        case inspect.VarTupleType(item_type=inner):
            _walk(inner, found)
        case inspect.TupleType(item_types=inner) | inspect.UnionType(types=inner):
            for one in inner:
                _walk(one, found)


def _reached() -> list[type]:
    found: dict[type, None] = {}
    for kind in (*MESSAGES.values(), *_CARRIED):
        _walk(inspect.type_info(kind), found)
    return [one for one in found if one not in MESSAGES.values()]


def structs() -> list[type]:
    """The structures in messages, in the order in which they are met."""
    return [one for one in _reached() if not isinstance(one, EnumMeta)]


def enumerations() -> list[EnumMeta]:
    """The enumerations in messages."""
    return [one for one in _reached() if isinstance(one, EnumMeta)]
