"""The executor node: runs guests, one at a time, in a sandbox."""

from nodes.executor.service import main

__all__ = ["main"]
