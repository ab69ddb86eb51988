"""The control node: tenants, keys, job definitions, the node registry, the audit log."""

from nodes.control.service import main

__all__ = ["main"]
