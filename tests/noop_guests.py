"""A job with the smallest program there is, for tests of what is around it."""

import wasmtime

__all__ = ["FAILING", "JOB", "NOOP", "SCHEMA", "SPINNING", "command"]


def command(body: str, imports: str = "", data: str = "") -> bytes:
    """A module of the `command` ABI whose `_start` does `body`."""
    text = f'(module {imports} (memory (export "memory") 1) {data} (func (export "_start") {body}))'
    return bytes(wasmtime.wat2wasm(text))


_EXIT = '(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))'

NOOP = command("")
FAILING = command("(call $exit (i32.const 42))", _EXIT)
SPINNING = command("(loop (br 0))")

SCHEMA = b'{"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"}'

JOB = """\
name: Things
id: things
tenant: acme
queues:
  - id: default
runtimes:
  - id: noop
    moduleref: noop.wasm
jobs:
  - event:
      id: thing-made
      schema: {id: thing, schemaref: thing.json}
      supplierqueue: default
      runtime: noop
"""
