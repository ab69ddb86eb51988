"""The listener: takes events over HTTP and owns the queue of those it took.

`main` is what `jobico node listener` runs.
"""

import os

from jobico.settings import Settings

__all__ = ["main"]


def main(settings: Settings) -> int:
    """Runs the node in the foreground until it is told to stop; raises `SystemExit` with its status."""
    from nodes.listener.gunicorn_conf import ListenerApplication  # noqa: PLC0415  # gunicorn only where it is run

    os.umask(0o077)
    settings.data_dir(settings.node_name or "listener").mkdir(parents=True, exist_ok=True, mode=0o700)
    settings.run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    ListenerApplication(settings).run()
    return 0
