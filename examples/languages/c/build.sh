#!/bin/sh
# Builds greet.wasm with ziglang 0.17 of PyPI, which is a whole clang; any clang with lld for wasm32 will do.
set -eu
cd "$(dirname "$0")"
${ZIG:-python3 -m ziglang} cc --target=wasm32-freestanding -std=c17 -Os -nostdlib -Wall -Wextra -Werror \
    -I "${SDK:-.}" -Wl,--no-entry -Wl,--strip-all -Wl,-z,stack-size=16384 -o greet.wasm greet.c
