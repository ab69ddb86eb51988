"""The recorder node: execution records and logs, and the live feed of them."""

from nodes.recorder.service import main

__all__ = ["main"]
