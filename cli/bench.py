"""`jobico bench`: how many events a second, and how fast, over HTTP."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from cli import render
from cli.options import Home, Json
from cli.session import Session, connect
from jobico.settings import Settings

if TYPE_CHECKING:
    from cli.benchmark import Figures

__all__ = ["bench"]


def bench(
    connections: Annotated[
        int, typer.Option("--connections", "-c", min=1, max=900, metavar="N", help="How many are kept busy.")
    ] = 64,
    batch: Annotated[
        int | None,
        typer.Option(
            "--batch",
            "-b",
            min=1,
            max=1_000,
            metavar="N",
            help="Events in a request.",
            show_default="1, then 100",
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", "-s", min=0.1, metavar="S", help="How long each way of posting.")
    ] = 10.0,
    executors: Annotated[
        int | None,
        typer.Option("--executors", metavar="N", help="Of a temporary platform.", show_default="2"),
    ] = None,
    temporary: Annotated[
        bool, typer.Option("--temporary", help="Start a platform for this even if one is running.")
    ] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Measure throughput and latency over HTTP.

    Drives the platform of the data directory if it is running, else one of its own that is gone afterwards.
    It posts to a program that does nothing, from a tenant of its own, and fails unless every accepted event
    was recorded exactly once.

    Example: jobico bench --connections 64 --batch 100 --seconds 20
    """
    from cli.benchmark import BATCH_EVENTS, Bench, deployed

    batches = [batch] if batch else [1, BATCH_EVENTS]
    figures = []
    with _platform(home, temporary, executors) as session, deployed(session) as target:
        for events in batches:
            what = "single events" if events == 1 else f"batches of {events}"
            render.line(f"Posting {what} on {connections} connections for {seconds:g} s")
            run = Bench(session, target, connections=connections, batch=events)
            run.warm_up(min(2.0, seconds))
            figures.append(run.measure(seconds))
    render.report(
        {"complete": all(one.complete for one in figures), "runs": [_facts(one) for one in figures]},
        lambda: _draw(figures),
    )
    if not all(one.complete for one in figures):
        raise typer.Exit(1)


@contextmanager
def _platform(home: str | None, temporary: bool, executors: int | None) -> Iterator[Session]:
    from cli.startup import start
    from cli.supervision import Supervision

    if not temporary and Supervision(Settings.from_environ(home=home)).pid() is not None:
        with connect(home) as session:
            yield session
        return
    folder = tempfile.mkdtemp(prefix="jobico-")
    render.line("Starting a platform for this")
    started = start(
        Settings.from_environ(home=folder, http_port=0, executors=executors), lambda _name, _ms: None
    )
    try:
        with connect(folder) as session:
            yield session
    finally:
        started.supervision.stop()
        started.process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _facts(figures: "Figures") -> dict[str, object]:
    return {**msgspec.to_builtins(figures), "complete": figures.complete}


def _draw(all_figures: "list[Figures]") -> None:
    for figures in all_figures:
        render.line()
        what = "Single events" if figures.batch == 1 else f"Batches of {figures.batch}"
        render.line(f"{what}, {figures.connections} connections, {figures.seconds:.1f} s", "bold")
        render.line(f"  accepted    {figures.accepted_per_s:>9,.0f} /s   {figures.accepted:>9,} in all")
        style = "green" if figures.complete else "red"
        render.line(
            f"  recorded    {figures.recorded_per_s:>9,.0f} /s   {figures.recorded:>9,} in all", style
        )
        _draw_latency("accept", figures.accept_p50_ms, figures.accept_p99_ms)
        _draw_latency("end to end", figures.end_to_end_p50_ms, figures.end_to_end_p99_ms)
        for status, count in figures.refused.items():
            render.line(f"  refused with status {status}: {count}", "red")
        used = ", ".join(f"{name} {cpu_us:.0f}" for name, cpu_us in figures.cpu_us.items())
        render.line(f"  CPU for each event, µs: {used}", "dim")


def _draw_latency(what: str, p50_ms: float, p99_ms: float) -> None:
    render.line(f"  {what:<10}  p50 {p50_ms:>7.1f} ms   p99 {p99_ms:>7.1f} ms")
