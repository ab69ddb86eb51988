"""Options and arguments that several commands share, spelt and explained once."""

from typing import Annotated

import typer

from cli import render
from cli.completion import complete_event, complete_job, complete_tenant

__all__ = ["Event", "Home", "Job", "Json", "Tenant", "Yes"]

Home = Annotated[
    str | None,
    typer.Option(
        "--home", envvar="JOBICO_HOME", metavar="DIR", help="The data directory.", show_default="~/.jobico"
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", callback=render.use_json, is_eager=True, help="Print JSON for programs to read."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]
Tenant = Annotated[
    str,
    typer.Argument(metavar="TENANT", help="The tenant.", show_default=False, autocompletion=complete_tenant),
]
Job = Annotated[
    str,
    typer.Argument(metavar="JOB", help="The id of the job.", show_default=False, autocompletion=complete_job),
]
Event = Annotated[
    str,
    typer.Argument(
        metavar="EVENT", help="The id of the event.", show_default=False, autocompletion=complete_event
    ),
]
