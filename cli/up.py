"""`jobico up` and `jobico down`: the platform of a data directory, here."""

import signal
from typing import TYPE_CHECKING, Annotated

import typer

from cli import render
from cli.options import Home, Json
from jobico.errors import Internal
from jobico.settings import Settings

if TYPE_CHECKING:
    from cli.startup import Started

__all__ = ["down", "up"]


def up(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return once every node is ready.")] = False,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", metavar="PORT", help="The HTTP port; 0 picks a free one.", show_default="7450"
        ),
    ] = None,
    executors: Annotated[
        int | None,
        typer.Option("--executors", metavar="N", help="How many guests run at once.", show_default="2"),
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Start the platform.

    supervisord runs the nodes and starts again what ends. Without --detach this waits; Ctrl-C stops them all.

    Example: jobico up --detach --port 8080
    """
    from cli.startup import start

    settings = Settings.from_environ(home=home, http_port=port, executors=executors)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # what Ctrl-C does
    render.line(f"Starting the platform in {settings.home_dir}", "bold")
    started = start(settings, lambda name, ms: render.line(f"  {name:<12} ready after {ms / 1_000:.1f} s"))
    facts = {
        "ready": True,
        "url": started.url,
        "home": str(started.settings.home_dir),
        "ready_ms": round(started.took_ms),
    }
    try:
        render.report(facts, lambda: _next_steps(started, detach))
        if not detach:
            started.process.wait()
            raise Internal(
                "supervisord ended, and with it the platform: `jobico down` did that, or see "
                f"{started.settings.logs_dir / 'supervisord.log'}."
            )
    except KeyboardInterrupt:
        if detach:
            raise
    finally:
        if not detach:
            _stop(started)


def _next_steps(started: "Started", detach: bool) -> None:
    home = started.settings.home_dir
    render.line()
    render.line(f"Ready in {started.took_ms / 1_000:.1f} s: {started.url}", "bold green")
    if home != Settings().home_dir:
        render.line(f"  export JOBICO_HOME={home}")
    render.line("  jobico status         node by node")
    render.line("  jobico deploy FILE    deploy a job definition")
    render.line("  jobico logs -f        follow executions")
    render.line("  jobico down           stop it" if detach else "  Ctrl-C                stop it")


def _stop(started: "Started") -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it is being done
    started.supervision.stop()
    started.process.wait()
    render.line("Stopped.")


def down(home: Home = None, as_json: Json = False) -> None:
    """Stop the platform.

    Every node finishes what is under way first; queued events stay queued.

    Example: jobico down
    """
    from cli.supervision import Supervision

    settings = Settings.from_environ(home=home)
    stopped = Supervision(settings).stop()
    render.report(
        {"stopped": stopped, "home": str(settings.home_dir)},
        lambda: render.styled("Stopped." if stopped else f"No platform was running in {settings.home_dir}."),
    )
