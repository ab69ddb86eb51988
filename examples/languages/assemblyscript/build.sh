#!/bin/sh
# Builds greet.wasm with assemblyscript 0.28 of npm.
set -eu
cd "$(dirname "$0")"
${ASC:-npx asc} greet.ts --outFile greet.wasm -O3z --noAssert --runtime stub --use abort=greet/abort
