"""A component in Python: wraps the event in a greeting."""

from typing import Any

from jobicolet import WitWorld, fail, handler, log

__all__ = ["WitWorld"]  # what componentize-py looks for in this module


@handler
def handle(event: dict[str, Any]) -> dict[str, Any]:
    """Greets whom the event is about."""
    log("info", "greeting somebody")
    if event.get("fail"):
        fail(7, "asked to fail")
    return {"greeting": "Hello from Python", "event": event}
