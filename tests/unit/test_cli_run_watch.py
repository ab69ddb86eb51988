"""`jobico run --watch` runs a program again when it changes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import wasmtime


def _says(text: str) -> bytes:
    return bytes(
        wasmtime.wat2wasm(f"""
        (module
          (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 1)
          (data (i32.const 64) "{text}")
          (func (export "_start")
            (i32.store (i32.const 0) (i32.const 64))
            (i32.store (i32.const 4) (i32.const {len(text)}))
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 20)))))
        """)
    )


def test_a_program_that_is_written_anew_runs_again(tmp_path: Path) -> None:
    module = tmp_path / "program.wasm"
    module.write_bytes(_says("one"))
    command = [sys.executable, "-m", "cli", "run", str(module), "--watch", "--json", "--home", str(tmp_path)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        assert _next(process)["result"] == "one"
        beside = tmp_path / "beside.wasm"
        beside.write_bytes(_says("two"))
        beside.replace(module)
        assert _next(process)["result"] == "two"
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _next(process: "subprocess.Popen[str]") -> dict[str, object]:
    assert process.stdout is not None
    text = process.stdout.readline()
    while True:
        try:
            return dict(json.loads(text))
        except ValueError:
            more = process.stdout.readline()
            assert more, text
            text += more
