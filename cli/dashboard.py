"""`jobico dashboard`: hands over to the dashboard, a process of its own."""

import os
import sys
from typing import Annotated

import typer

from cli.options import Home
from jobico.settings import Settings

__all__ = ["dashboard"]


def dashboard(
    tenant: Annotated[str, typer.Option("--tenant", metavar="TENANT", help="Show only this tenant's.")] = "",
    key: Annotated[
        str, typer.Option("--key", metavar="NAME", help="With tcp: the key of this machine to show.")
    ] = "operator",
    web: Annotated[
        bool, typer.Option("--web", help="Serve it to a browser on this machine instead.")
    ] = False,
    port: Annotated[int, typer.Option("--port", metavar="PORT", help="The port, with --web.")] = 7470,
    home: Home = None,
) -> None:
    """Watch the platform live in the terminal.

    Example: jobico dashboard --tenant acme
    """
    settings = Settings.from_environ(home=home)
    # NOTE: the faces never import one another (docs/design.md section 9), so this one is run, not called.
    arguments = [sys.executable, "-m", "dashboard", "--key", key]
    if tenant:
        arguments += ["--tenant", tenant]
    if web:
        arguments += ["--web", str(port)]
    os.execve(sys.executable, arguments, {**os.environ, **settings.to_environ()})  # noqa: S606 - no shell wanted
