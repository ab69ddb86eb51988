"""Guests for tests, written once and wrapped for each ABI.

A guest's text is WebAssembly text that finds its event in the globals `$event` and `$event_size`, and calls
`$done(code, pointer, size)`, `$log(pointer, size)` and, where it has that, `$emit`. The wrappers below make
of it a `jobicolet`, a `command` or a `component`. Memory from 0 to 1023 is the wrapper's, from 1024 to 4095
the guest's.
"""

from collections.abc import Callable
from pathlib import Path

from jobico.definition import Abi, Engine, GuestLimits, RuntimeSpec
from jobico.ids import digest_of, new_event_id
from jobico.sandbox import Job, ModuleCache, Result, Sandbox
from jobico.sandbox.bindings import wat2wasm
from jobico.sandbox.compile_child import compile_here

ABIS = (Abi.JOBICOLET, Abi.COMMAND, Abi.COMPONENT)

_JOBICOLET = """
(module
  (import "env" "log" (func $env_log (param i32 i32 i32)))
  (import "env" "emit" (func $env_emit (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") {pages})
  (global $event (mut i32) (i32.const 0))
  (global $event_size (mut i32) (i32.const 0))
  (global $answer (mut i32) (i32.const 0))
  (global $heap (mut i32) (i32.const 4096))
  (func $alloc (param $size i32) (result i32) (local $at i32)
    (local.set $at (global.get $heap))
    (global.set $heap (i32.add (global.get $heap)
      (i32.and (i32.add (local.get $size) (i32.const 23)) (i32.const -16))))
    (if (i32.gt_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536)))
      (then (drop (memory.grow (i32.add (i32.const 1) (i32.shr_u (local.get $size) (i32.const 16)))))))
    (local.get $at))
  (func $log (param i32 i32) (call $env_log (i32.const 1) (local.get 0) (local.get 1)))
  (func $emit (param i32 i32 i32 i32) (result i32)
    (call $env_emit (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
  (func $done (param $code i32) (param $at i32) (param $size i32)
    (i64.store (global.get $answer) (i64.extend_i32_u (local.get $code)))
    (i64.store offset=8 (global.get $answer)
      (i64.or (i64.shl (i64.extend_i32_u (local.get $at)) (i64.const 32)) (i64.extend_i32_u (local.get $size)))))
  {fields}
  (func (export "init"))
  (func (export "malloc") (param i32) (result i32) (call $alloc (local.get 0)))
  (func (export "free") (param i32))
  (func (export "event") (param i32 i32 i32)
    (global.set $answer (local.get 0)) (global.set $event (local.get 1)) (global.set $event_size (local.get 2))
    (call $main))
  (func $main {main}))
"""

_COMMAND = """
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") {pages})
  (global $event (mut i32) (i32.const 4096))
  (global $event_size (mut i32) (i32.const 0))
  (func $write (param $fd i32) (param $at i32) (param $size i32)
    (loop $more
      (i32.store (i32.const 0) (local.get $at)) (i32.store (i32.const 4) (local.get $size))
      (if (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 16)) (then (return)))
      (local.set $at (i32.add (local.get $at) (i32.load (i32.const 16))))
      (local.set $size (i32.sub (local.get $size) (i32.load (i32.const 16))))
      (br_if $more (local.get $size))))
  (func $log (param i32 i32)
    (call $write (i32.const 2) (local.get 0) (local.get 1))
    (i32.store8 (i32.const 32) (i32.const 10))
    (call $write (i32.const 2) (i32.const 32) (i32.const 1)))
  (func $done (param $code i32) (param $at i32) (param $size i32)
    (call $write (i32.const 1) (local.get $at) (local.get $size))
    (if (local.get $code) (then (call $proc_exit (local.get $code)))))
  {fields}
  (func (export "_start")
    (block $read
      (loop $more
        (if (i32.lt_u (i32.sub (i32.mul (memory.size) (i32.const 65536))
              (i32.add (global.get $event) (global.get $event_size))) (i32.const 8192))
          (then (br_if $read (i32.eq (memory.grow (i32.const 1)) (i32.const -1)))))
        (i32.store (i32.const 0) (i32.add (global.get $event) (global.get $event_size)))
        (i32.store (i32.const 4) (i32.const 8192))
        (br_if $read (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16)))
        (br_if $read (i32.eqz (i32.load (i32.const 16))))
        (global.set $event_size (i32.add (global.get $event_size) (i32.load (i32.const 16))))
        (br $more)))
    (call $main))
  (func $main {main}))
"""

_COMPONENT = """
(component
  (import "jobico:jobicolet/types@0.1.0" (instance $types
    (type $event' (record (field "id" string) (field "name" string) (field "tenant" string)
      (field "attempt" u32) (field "payload" (list u8))))
    (export "event" (type (eq $event')))
    (type $failure' (record (field "code" u32) (field "message" string)))
    (export "failure" (type (eq $failure')))))
  (alias export $types "event" (type $event))
  (alias export $types "failure" (type $failure))
  (import "jobico:jobicolet/host@0.1.0" (instance $host
    (type $level' (enum "debug" "info" "warning" "error" "fatal" "panic" "none"))
    (export "level" (type $level (eq $level')))
    (type $emit-error' (enum "denied" "too-many" "not-json"))
    (export "emit-error" (type $emit-error (eq $emit-error')))
    (export "log" (func (param "level" $level) (param "message" string)))
    (export "emit" (func (param "event" string) (param "payload" (list u8)) (result (result (error $emit-error)))))))
  (core module $memory_module
    (memory (export "memory") {pages})
    (global $heap (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
      (local.set $at (global.get $heap))
      (global.set $heap (i32.add (global.get $heap)
        (i32.and (i32.add (local.get 3) (i32.const 23)) (i32.const -16))))
      (if (i32.gt_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536)))
        (then (drop (memory.grow (i32.add (i32.const 1) (i32.shr_u (local.get 3) (i32.const 16)))))))
      (local.get $at)))
  (core instance $memory (instantiate $memory_module))
  (core func $log (canon lower (func $host "log") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core func $emit (canon lower (func $host "emit") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core module $guest_module
    (import "host" "log" (func $host_log (param i32 i32 i32)))
    (import "host" "emit" (func $host_emit (param i32 i32 i32 i32 i32)))
    (import "memory" "memory" (memory 0))
    (global $event (mut i32) (i32.const 0))
    (global $event_size (mut i32) (i32.const 0))
    (func $log (param i32 i32) (call $host_log (i32.const 1) (local.get 0) (local.get 1)))
    (func $emit (param i32 i32 i32 i32) (result i32)
      (call $host_emit (local.get 0) (local.get 1) (local.get 2) (local.get 3) (i32.const 96))
      (if (result i32) (i32.load8_u (i32.const 96))
        (then (i32.add (i32.const 1) (i32.load8_u (i32.const 97)))) (else (i32.const 0))))
    (func $done (param $code i32) (param $at i32) (param $size i32)
      (i32.store8 (i32.const 64) (i32.ne (local.get $code) (i32.const 0)))
      (if (local.get $code)
        (then (i32.store (i32.const 68) (local.get $code))
          (i32.store (i32.const 72) (local.get $at)) (i32.store (i32.const 76) (local.get $size)))
        (else (i32.store (i32.const 68) (local.get $at)) (i32.store (i32.const 72) (local.get $size)))))
    {fields}
    (func (export "handle") (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
      (global.set $event (local.get 7)) (global.set $event_size (local.get 8))
      (call $main)
      (i32.const 64))
    (func $main {main}))
  (core instance $guest (instantiate $guest_module
    (with "host" (instance (export "log" (func $log)) (export "emit" (func $emit))))
    (with "memory" (instance $memory))))
  (func $handle (param "event" $event) (result (result (list u8) (error $failure)))
    (canon lift (core func $guest "handle") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (export "handle" (func $handle)))
"""

_WRAPPERS = {Abi.JOBICOLET: _JOBICOLET, Abi.COMMAND: _COMMAND, Abi.COMPONENT: _COMPONENT}


def guest(abi: Abi, main: str, *, fields: str = "", pages: int = 1) -> bytes:
    """A guest of that ABI whose main function is `main`; `fields` are other fields of its core module."""
    return wat2wasm(_WRAPPERS[abi].format(main=main, fields=fields, pages=pages))


def module(text: str) -> bytes:
    """A core module from the fields of its text."""
    return wat2wasm(f"(module {text})")


SAY_HELLO = "(call $done (i32.const 0) (i32.const 1024) (i32.const 5))"
HELLO = '(data (i32.const 1024) "hello")'
ECHO = "(call $done (i32.const 0) (global.get $event) (global.get $event_size))"


class Runner:
    """Runs modules in a sandbox of its own, with limits that keep tests short."""

    def __init__(self, directory: Path, engine: Engine = Engine.WASMTIME) -> None:
        # Compiling in a child takes a quarter of a second a module; tests of that are in `test_modules`.
        self.sandbox = Sandbox(ModuleCache(directory, compile_here))
        self.engine = engine

    def __call__(
        self,
        content: bytes,
        abi: Abi = Abi.AUTO,
        payload: bytes = b"{}",
        *,
        tenant: str = "acme",
        event_id: str = "",
        function: str = "event",
        env: dict[str, str] | None = None,
        secrets: dict[str, str] | None = None,
        emits: tuple[str, ...] = (),
        **limits: int,
    ) -> Result:
        """Runs one attempt; `limits` are fields of `GuestLimits`."""
        spec = RuntimeSpec(
            name="guest.wasm",
            digest=digest_of(content),
            abi=abi,
            function=function,
            engine=self.engine,
            limits=GuestLimits(**{"time_ms": 2_000, **limits}),
            env=env or {},
            secrets=tuple(secrets or ()),
            emits=emits,
        )
        job = Job(event_id or new_event_id(), tenant, "greeting", 1, payload, secrets or {})
        return self.sandbox.run(spec, job, lambda _digest: content)


MakeGuest = Callable[..., bytes]
