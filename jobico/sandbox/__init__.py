"""Where guests run; the only code that imports wasmtime."""
