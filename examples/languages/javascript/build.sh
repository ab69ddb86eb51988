#!/bin/sh
# Builds greet.wasm with @bytecodealliance/componentize-js 0.20 or later of npm. About 12 MB: it brings its engine.
set -eu
cd "$(dirname "$0")"
${COMPONENTIZE_JS:-npx componentize-js} greet.js -d http -d fetch-event --wit "${WIT:-jobicolet.wit}" --world-name jobicolet --out greet.wasm
