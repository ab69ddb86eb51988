"""`jobico check`: whether a program can run here, and how it would be called."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import render
from cli.files import read_file
from cli.options import Json
from jobico import limits
from jobico.units import format_size

if TYPE_CHECKING:
    from rich.console import RenderableType

    from jobico.artifact import ModuleReport

__all__ = ["check", "draw_report"]


def check(
    module: Annotated[Path, typer.Argument(metavar="MODULE", help="The program.", show_default=False)],
    function: Annotated[
        str, typer.Option("--function", metavar="NAME", help="Its entry point, for the ABI jobicolet.")
    ] = "event",
    as_json: Json = False,
) -> None:
    """Tell whether a program can run here, and how.

    The exit code is 1 if it cannot.

    Example: jobico check greet.wasm
    """
    from jobico.sandbox.compiler import inspect

    report = inspect(read_file(module, limits.COMPONENT_BYTES_MAX), function)
    render.report(report, lambda: draw_report(report))
    if not report.valid:
        raise typer.Exit(1)


def draw_report(report: "ModuleReport") -> "RenderableType":
    """What is known of a module, for people."""
    pairs = [
        ("Runs here", render.styled("yes", "green") if report.valid else render.styled("no", "bold red")),
        *(("Problem", render.styled(problem, "red")) for problem in report.problems),
        ("ABI", report.abi),
        ("Size", format_size(report.size_bytes)),
        ("SHA-256", report.sha256),
        ("Imports", "\n".join(report.imports) or "none"),
        ("Exports", "\n".join(report.exports) or "none"),
    ]
    return render.facts(pairs)
