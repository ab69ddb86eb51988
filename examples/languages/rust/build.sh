#!/bin/sh
# Builds greet.wasm with rustc 1.63 or later and its target wasm32-unknown-unknown (Debian: libstd-rust-dev-wasm32, lld).
set -eu
cd "$(dirname "$0")"
[ -f jobicolet.rs ] || { cp "$SDK/jobicolet.rs" . && trap 'rm -f jobicolet.rs' EXIT; }
"${RUSTC:-rustc}" --edition 2021 --crate-type cdylib --target wasm32-unknown-unknown -C opt-level=z -C lto \
    -C panic=abort -C strip=symbols -o greet.wasm greet.rs
