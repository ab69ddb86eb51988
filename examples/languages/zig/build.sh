#!/bin/sh
# Builds greet.wasm with ziglang 0.17 of PyPI.
set -eu
cd "$(dirname "$0")"
${ZIG:-python3 -m ziglang} build-exe greet.zig -target wasm32-wasi -O ReleaseSmall -fstrip -femit-bin=greet.wasm
rm -f greet.wasm.o
