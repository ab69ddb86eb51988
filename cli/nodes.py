"""`jobico node` as the help knows it."""

from typing import Annotated

import typer

from cli.node import NODES, run_node
from cli.options import Home

__all__ = ["node"]


def node(
    role: Annotated[
        str, typer.Argument(metavar="|".join(NODES), help="What the node is.", show_default=False)
    ],
    home: Home = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Its name in the registry.", show_default="its role")
    ] = None,
) -> None:
    """Run one node in the foreground, as supervisord does.

    It logs to stderr and stops on Ctrl-C once it has drained.

    Example: jobico node executor --name executor-7
    """
    import os

    for key, value in (("JOBICO_HOME", home), ("JOBICO_NODE_NAME", name)):
        if value:
            os.environ[key] = value
    raise typer.Exit(run_node(role))
