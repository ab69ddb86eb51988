"""`python -m dashboard [--tenant TENANT] [--key NAME] [--web PORT]`: what `jobico dashboard` runs."""

import argparse
import shlex
import sys

from dashboard.app import run_dashboard
from jobico.settings import Settings

__all__ = ["main"]


def main() -> None:
    """Runs the dashboard on this terminal, or serves it to browsers on loopback."""
    parser = argparse.ArgumentParser(prog="jobico dashboard")
    parser.add_argument("--tenant", default="")
    parser.add_argument("--key", default="operator")
    parser.add_argument("--web", type=int, metavar="PORT")
    arguments = parser.parse_args()
    if arguments.web is None:
        run_dashboard(Settings.from_environ(), arguments.tenant, arguments.key)
        return
    from textual_serve.server import Server  # noqa: PLC0415 - heavy, and seldom wanted

    command = [sys.executable, "-m", "dashboard", "--tenant", arguments.tenant, "--key", arguments.key]
    # SECURITY: whoever reaches the port sees what the key of this process sees, so it is loopback alone.
    Server(shlex.join(command), host="127.0.0.1", port=arguments.web, title="Jobico").serve()


if __name__ == "__main__":
    main()
