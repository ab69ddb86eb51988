#!/bin/sh
# Builds greet.wasm with the assembler that comes with Jobico's own wasmtime.
set -eu
cd "$(dirname "$0")"
"${PYTHON:-python3}" -c 'import pathlib, wasmtime; pathlib.Path("greet.wasm").write_bytes(wasmtime.wat2wasm(pathlib.Path("greet.wat").read_text()))'
