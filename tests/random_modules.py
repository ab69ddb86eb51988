"""Random valid modules of the `command` ABI, by seed: bodies grown by type, so that every one compiles."""

import random
from typing import Final

from jobico.sandbox.bindings import wat2wasm

__all__ = ["random_module", "random_text"]

_TYPES: Final = ("i32", "i64", "f32", "f64")
_UNARY: Final = {
    "i32": ("clz", "ctz", "popcnt", "extend8_s", "extend16_s"),
    "i64": ("clz", "ctz", "popcnt", "extend8_s", "extend16_s", "extend32_s"),
    "f32": ("abs", "neg", "ceil", "floor", "trunc", "nearest", "sqrt"),
    "f64": ("abs", "neg", "ceil", "floor", "trunc", "nearest", "sqrt"),
}
_INTEGER: Final = ("add", "sub", "mul", "and", "or", "xor", "shl", "shr_s", "shr_u", "rotl", "rotr")
_TRAPPING: Final = ("div_s", "div_u", "rem_s", "rem_u")
_FLOAT: Final = ("add", "sub", "mul", "div", "min", "max", "copysign")
_COMPARE: Final = {
    "i": ("eq", "ne", "lt_s", "lt_u", "gt_s", "ge_u"),
    "f": ("eq", "ne", "lt", "gt", "le", "ge"),
}
_CONVERT: Final = {
    "i32": (("i32.wrap_i64", "i64"), ("i32.trunc_sat_f32_s", "f32"), ("i32.trunc_sat_f64_u", "f64"),
            ("i32.reinterpret_f32", "f32"), ("i64.eqz", "i64")),
    "i64": (("i64.extend_i32_s", "i32"), ("i64.trunc_sat_f64_u", "f64"), ("i64.reinterpret_f64", "f64")),
    "f32": (("f32.convert_i32_s", "i32"), ("f32.demote_f64", "f64"), ("f32.reinterpret_i32", "i32")),
    "f64": (("f64.convert_i64_u", "i64"), ("f64.promote_f32", "f32"), ("f64.reinterpret_i64", "i64")),
}  # fmt: skip
_LOADS: Final = {"i32": ("load", "load8_s", "load16_u"), "i64": ("load", "load8_u", "load32_s"), "f32": ("load",),
                 "f64": ("load",)}  # fmt: skip
_STORES: Final = {"i32": ("store", "store8", "store16"), "i64": ("store", "store8", "store32"), "f32": ("store",),
                  "f64": ("store",)}  # fmt: skip
_FUNCTIONS: Final = 6
_TRAP_CHANCE: Final = 0.002
_LOCALS_EACH: Final = 3
# Functions call one another many times over: a budget ends most modules before their time does.
_SPEND_CALL: Final = """(global.set $calls (i32.sub (global.get $calls) (i32.const 1)))
  (if (i32.lt_s (global.get $calls) (i32.const 0)) (then (return (local.get $p))))"""
_LOCALS: Final = " ".join(f"(local ${type_}_{n} {type_})" for type_ in _TYPES for n in range(_LOCALS_EACH))


class _Grower:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._endless = self._random.random() < 0.05  # has loops that never end
        self._labels = 0
        self._number_of_function = 0

    def text(self) -> str:
        """The text of a module."""
        functions = "\n".join(self._function(number) for number in range(_FUNCTIONS))
        start = " ".join(f"(drop (call $f{n} {self._arguments(2)}))" for n in range(_FUNCTIONS))
        return f"""(module
          (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 1) (table $t {_FUNCTIONS + 1} funcref) (type $f (func (param i32 i64) (result i32)))
          (global $calls (mut i32) (i32.const 1000)) (global $turns (mut i32) (i32.const 100))
          (elem (i32.const 0) {" ".join(f"$f{n}" for n in range(_FUNCTIONS + 1))})
          {" ".join(f"(global $g_{type_} (mut {type_}) ({type_}.const {self._number(type_)}))" for type_ in _TYPES)}
          (func $f{_FUNCTIONS} (type $f) (i32.wrap_i64 (local.get 1)))
          {functions} (func (export "_start") {_LOCALS} {start}))"""

    def _function(self, number: int) -> str:
        self._number_of_function = number
        body = " ".join(self._statement(4) for _ in range(self._random.randrange(1, 8)))
        return f"(func $f{number} (type $f) (param $p i32) (param $q i64) (result i32) {_LOCALS} {_SPEND_CALL} {body} {self._value('i32', 4)})"

    def _number(self, type_: str) -> str:
        pick = self._random
        if type_[0] == "f":
            return pick.choice(("nan", "inf", "-inf", "-0.0", "1e30", str(pick.uniform(-1e6, 1e6))))
        bits = int(type_[1:])
        return str(
            pick.choice(
                (
                    0,
                    1,
                    -1,
                    1 << (bits - 1),
                    (1 << bits) - 1,
                    pick.randrange(1 << bits),
                    pick.randrange(70_000),
                )
            )
        )

    def _arguments(self, depth: int) -> str:
        return f"{self._value('i32', depth)} {self._value('i64', depth)}"

    def _value(self, type_: str, depth: int) -> str:
        pick = self._random
        if depth <= 0 or pick.random() < 0.2:
            leaves = (f"({type_}.const {self._number(type_)})", f"(local.get ${type_}_{pick.randrange(_LOCALS_EACH)})",
                      f"(global.get $g_{type_})")  # fmt: skip
            return pick.choice(leaves)
        kind = pick.randrange(9)
        if kind == 0:
            return f"({type_}.{pick.choice(_UNARY[type_])} {self._value(type_, depth - 1)})"
        if kind == 1:
            operator, source = pick.choice(_CONVERT[type_])
            return f"({operator} {self._value(source, depth - 1)})"
        if kind == 2:
            return f"({type_}.{pick.choice(_LOADS[type_])} {self._address(depth)})"
        if kind == 3:
            condition = self._value("i32", depth - 1)
            return f"(select {self._value(type_, depth - 1)} {self._value(type_, depth - 1)} {condition})"
        if kind == 4:
            return f"(if (result {type_}) {self._value('i32', depth - 1)} (then {self._value(type_, depth - 1)}) (else {self._value(type_, depth - 1)}))"
        if kind == 5 and type_ == "i32" and pick.random() < 0.3:
            return self._call(depth)
        if kind == 6 and type_ == "i32":
            other = pick.choice(_TYPES)
            operator = pick.choice(_COMPARE[other[0]])
            return f"({other}.{operator} {self._value(other, depth - 1)} {self._value(other, depth - 1)})"
        operators = _INTEGER if type_[0] == "i" else _FLOAT
        if type_[0] == "i" and pick.random() < _TRAP_CHANCE:
            operators = _TRAPPING
        return f"({type_}.{pick.choice(operators)} {self._value(type_, depth - 1)} {self._value(type_, depth - 1)})"

    def _address(self, depth: int) -> str:
        """An offset and an address, mostly within the first page."""
        address = self._value("i32", depth - 1)
        if self._random.random() < _TRAP_CHANCE:
            return f"offset={self._random.randrange(70_000)} {address}"
        return f"offset={self._random.randrange(8)} (i32.and {address} (i32.const 0x7fff))"

    def _call(self, depth: int) -> str:
        pick = self._random
        choices = (
            lambda: f"(call $f{self._callee()} {self._arguments(depth - 1)})",
            lambda: (
                f"(call_indirect $t (type $f) {self._arguments(depth - 1)} {self._value('i32', depth - 1)})"
            ),
            lambda: f"(memory.grow (i32.const {pick.choice((0, 1, 10, 65_535))}))",
            lambda: "(memory.size)",
            lambda: f"(call $random {self._value('i32', depth - 1)} {self._value('i32', depth - 1)})",
            lambda: (
                f"(call $write (i32.const {pick.randrange(4)}) {' '.join(self._value('i32', depth - 1) for _ in range(3))})"
            ),
        )
        return pick.choice(choices)()

    def _callee(self) -> int:
        """Mostly a function further down, so that most calls end."""
        if self._random.random() < _TRAP_CHANCE or self._number_of_function + 1 >= _FUNCTIONS:
            return self._random.randrange(_FUNCTIONS) if self._random.random() < _TRAP_CHANCE else _FUNCTIONS
        return self._random.randrange(self._number_of_function + 1, _FUNCTIONS)

    def _slot(self, depth: int) -> str:
        slot = self._value("i32", depth - 1)
        return (
            slot if self._random.random() < _TRAP_CHANCE else f"(i32.rem_u {slot} (i32.const {_FUNCTIONS}))"
        )

    def _statement(self, depth: int) -> str:
        pick = self._random
        type_ = pick.choice(_TYPES)
        kind = pick.randrange(7) if depth > 0 else 0
        if kind == 1:
            return f"({type_}.{pick.choice(_STORES[type_])} {self._address(depth)} {self._value(type_, depth - 1)})"
        if kind == 2:
            return f"(if {self._value('i32', depth - 1)} (then {self._statement(depth - 1)}) (else {self._statement(depth - 1)}))"
        if kind == 3:
            self._labels += 1
            label = f"$l{self._labels}"
            again = self._value("i32", depth - 1)
            if self._endless and pick.random() < 0.1:
                return f"(loop {label} {self._statement(depth - 1)} (br_if {label} {again}))"
            spend = "(global.set $turns (i32.sub (global.get $turns) (i32.const 1)))"
            again = f"(i32.and {again} (i32.gt_s (global.get $turns) (i32.const 0)))"
            return f"(loop {label} {self._statement(depth - 1)} {spend} (br_if {label} {again}))"
        if kind == 4:
            fill = " ".join(f"(i32.and {self._value('i32', depth - 1)} (i32.const 0xff))" for _ in range(3))
            return f"({pick.choice(('memory.fill', 'memory.copy'))} {fill})"
        if kind == 5:
            return f"(global.set $g_{type_} {self._value(type_, depth - 1)})"
        if kind == 6:
            return f"(drop {self._value(type_, depth - 1)})"
        return f"(local.set ${type_}_{pick.randrange(_LOCALS_EACH)} {self._value(type_, depth - 1)})"


def random_text(seed: int) -> str:
    """The text of the module with that seed."""
    return _Grower(seed).text()


def random_module(seed: int) -> bytes:
    """The module with that seed; the same in every run."""
    return wat2wasm(random_text(seed))
