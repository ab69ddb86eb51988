"""`jobico node`: one node in the foreground; what supervisord runs. It loads nothing but that node."""

import importlib

from jobico.errors import InvalidInput, JobicoError
from jobico.settings import Settings

__all__ = ["NODES", "run_node"]

NODES = ("control", "repository", "recorder", "executor", "listener")
"""The roles that a node can have."""

_EXIT_FAILED = 1


def run_node(role: str) -> int:
    """Runs the node with the settings of the environment until it is told to stop; returns the exit code."""
    from jobico.logs import redirect_output

    try:
        if role not in NODES:
            raise InvalidInput(f"{role!r} is no node: choose {', '.join(NODES)}.")
        settings = Settings.from_environ()
        path = settings.log_path(settings.node_name or role)
        if path is not None:
            redirect_output(path)
        # NOTE: by name, because processes and faces do not import one another.
        return int(importlib.import_module(f"nodes.{role}").main(settings))
    except JobicoError as error:
        from cli import render

        render.fail(error)
        return _EXIT_FAILED
