#!/bin/sh
# Builds greet.wasm with componentize-py 0.25 of PyPI. About 40 MB: it brings CPython.
set -eu
cd "$(dirname "$0")"
"${COMPONENTIZE_PY:-componentize-py}" -d "${WIT:-jobicolet.wit}" -w jobicolet componentize greet -p . -p "${SDK:-.}" -o greet.wasm
