"""Helpers of tests that run nodes on threads."""

from collections.abc import Callable

from nodes.lifecycle import Node

__all__ = ["StartNode"]

StartNode = Callable[..., Node]
"""`start_node(serve, role, name="", **settings)`."""
