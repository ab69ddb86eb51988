"""What is no guest at all: files that `inspect` explains and the sandbox refuses, each without harm."""

import random
from pathlib import Path

import pytest
from guest_kit import ABIS, ECHO, Runner, guest, module

from jobico import limits
from jobico.definition import Abi
from jobico.event import Outcome
from jobico.sandbox import inspect
from jobico.sandbox.bindings import wat2wasm
from jobico.sandbox.compiler import CompileBounds, compile_module
from jobico.sandbox.config import Flavour

START = '(func (export "_start"))'


def refused(run: Runner, content: bytes, word: str) -> None:
    """Asserts that a file is explained with that word, and that running it is an `abi-error`."""
    report = inspect(content)
    assert not report.valid
    assert word in " ".join(report.problems), report.problems
    assert run(content).outcome is Outcome.ABI_ERROR


def test_each_abi_is_recognised(abi: Abi) -> None:
    content = guest(abi, ECHO)
    report = inspect(content)
    assert (report.valid, report.abi, report.problems) == (True, abi, ())
    assert report.size_bytes == len(content)
    assert any("host" in name or "log" in name or "wasi" in name for name in report.imports)
    assert any(name.startswith({Abi.JOBICOLET: "event:", Abi.COMMAND: "_start:", Abi.COMPONENT: "handle"}[abi])
               for name in report.exports)  # fmt: skip


@pytest.mark.parametrize("size", [0, 1, 4, 7, 8, 1_000])
def test_random_bytes_are_refused(run: Runner, size: int) -> None:
    refused(run, random.Random(size).randbytes(size), "not a WebAssembly module")


@pytest.mark.parametrize("abi", ABIS, ids=str)
@pytest.mark.parametrize("cut", [8, 9, 40, -1])
def test_a_truncated_module_is_refused(run: Runner, abi: Abi, cut: int) -> None:
    content = guest(abi, ECHO)[:cut]
    assert not inspect(content).valid
    assert run(content).outcome is Outcome.ABI_ERROR


def test_text_is_refused(run: Runner) -> None:
    refused(run, b"(module)", "not a WebAssembly module")


def test_code_that_somebody_compiled_is_refused(run: Runner, tmp_path: Path) -> None:
    """What wasmtime wrote itself for this very machine is refused like any other machine code."""
    compile_module(module(START), function="event", flavour=Flavour.PLAIN, into=tmp_path)
    code = (tmp_path / "code").read_bytes()
    assert code[:4] == b"\x7fELF"
    refused(run, code, "machine code")


def test_a_version_that_does_not_exist_is_refused(run: Runner) -> None:
    refused(run, b"\0asm\x02\0\0\0", "version")


def test_an_import_that_is_not_offered_is_named(run: Runner) -> None:
    refused(run, module(f'(import "env" "launch" (func)) {START}'), "env.launch")
    refused(run, module(f'(import "wasi_snapshot_preview1" "open" (func)) {START}'), "WASI preview 1")
    refused(run, module(f'(import "env" "memory" (memory 1)) {START}'), "env.memory")


def test_an_import_under_another_type_is_named(run: Runner) -> None:
    refused(run, module(f'(import "env" "log" (func (param i64))) {START}'), "func(i32, i32, i32)")


def test_a_component_that_wants_more_is_refused(run: Runner) -> None:
    refused(run, wat2wasm('(component (import "acme:things/door" (instance)))'), "acme:things/door")
    refused(run, wat2wasm("(component)"), "handle")
    refused(run, wat2wasm('(component (import "wasi:http/types@0.2.0" (instance)))'), "wasi:http")
    refused(run, wat2wasm('(component (import "wasi:nn/tensor@0.2.0" (instance)))'), "wasi:nn")
    refused(run, wat2wasm('(component (import "wasi:io/poll@0.3.0" (instance)))'), "wasi:io/poll@0.3.0")


def test_a_component_whose_handle_has_another_type_is_an_abi_error(run: Runner) -> None:
    content = wat2wasm("""(component
      (core module $m (func (export "f") (result i32) (i32.const 1))) (core instance $i (instantiate $m))
      (func $f (result u32) (canon lift (core func $i "f"))) (export "handle" (func $f)))""")
    assert run(content).outcome is Outcome.ABI_ERROR


@pytest.mark.parametrize(
    ("proposal", "fields"),
    [
        ("multi-memory", "(memory 1) (memory 1)"),
        ("memory64", "(memory i64 1)"),
        ("threads", "(memory 1 1 shared)"),
        ("tail calls", "(func return_call 0)"),
        ("exceptions", "(tag)"),
        ("garbage collection", "(type (struct))"),
        ("references to host values", "(func (param externref))"),
        (
            "relaxed SIMD",
            "(func (param v128 v128) (result v128) (i8x16.relaxed_swizzle (local.get 0) (local.get 1)))",
        ),
        ("custom page sizes", "(memory 1 (pagesize 1))"),
        (
            "wide arithmetic",
            "(func (param i64 i64) (result i64 i64) (i64.mul_wide_u (local.get 0) (local.get 1)))",
        ),
    ],
)
def test_proposals_that_widen_the_surface_are_off(run: Runner, proposal: str, fields: str) -> None:
    refused(run, module(f"{fields} {START}"), "not a valid module")


def test_a_memory_past_what_can_be_given_is_refused(run: Runner) -> None:
    pages = limits.GUEST_MEMORY_BYTES_MAX // 65_536
    assert inspect(module(f'(memory (export "memory") {pages}) {START}')).valid
    refused(run, module(f'(memory (export "memory") {pages + 1}) {START}'), "memory")


def test_a_table_past_what_can_be_given_does_not_run(run: Runner) -> None:
    fits, over = (
        module(f"(table {limits.GUEST_TABLE_ELEMENTS_MAX + more} funcref) {START}") for more in (0, 1)
    )
    assert run(fits).outcome is Outcome.OK
    assert run(over).outcome is Outcome.ABI_ERROR


def test_a_table_grows_to_its_bound_and_no_further(run: Runner) -> None:
    grow = "(table.grow (ref.null func) (i32.const {}))"
    body = f"""(if (i32.eq (table.grow (ref.null func) (i32.const {limits.GUEST_TABLE_ELEMENTS_MAX - 1})) (i32.const -1))
        (then unreachable))
      (if (i32.ne {grow.format(1)} (i32.const -1)) (then unreachable))"""
    assert run(module(f'(table 1 funcref) (func (export "_start") {body})')).outcome is Outcome.OK


def test_a_module_past_its_size_is_refused_unread() -> None:
    content = b"\0asm\x01\0\0\0" + bytes(limits.MODULE_BYTES_MAX)
    assert "at most" in inspect(content).problems[0]


def _bomb() -> bytes:
    """A module that is small to upload and long to compile: one function with a great many live values."""
    locals_ = "(local " + "i64 " * 1_000 + ")"
    body = "".join(
        f"(local.set {n % 1000} (i64.add (local.get {n * 7 % 1000}) (local.get {n * 13 % 1000})))"
        f"(br_if 0 (i64.eqz (local.get {n % 997})))"
        for n in range(40_000)
    )
    return module(f'(func (export "_start") {locals_} (loop {body}))')


@pytest.mark.parametrize(
    ("bounds", "of_what"),
    [
        (CompileBounds(cpu_s=1), "CPU time"),
        (CompileBounds(wall_s=1.5), "1.5 s"),
        (CompileBounds(memory_bytes=300 * limits.MIB), "memory"),
    ],
)
def test_a_compile_bomb_ends_at_the_bound(tmp_path: Path, bounds: CompileBounds, of_what: str) -> None:
    report = compile_module(_bomb(), function="event", flavour=Flavour.PLAIN, into=tmp_path, bounds=bounds)
    assert not report.valid
    assert "did not compile within" in report.problems[0]
    assert of_what in report.problems[0]
    assert not (tmp_path / "code").exists()
