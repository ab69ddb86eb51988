"""How gunicorn runs the listener: one master that holds the port, exactly one worker that owns the queue.

It owns the settings of gunicorn; everything that it writes is inside the data directory. The worker does not
outlive the master (an orphan would own the port and the queue), and signals that would make a second worker
are not obeyed.
"""

import contextlib
import ctypes
import json
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any, Final

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger

from jobico import limits
from jobico.settings import Settings

__all__ = ["ListenerApplication", "OneWorkerArbiter", "options"]

_PR_SET_PDEATHSIG: Final = 1
_HUNG_S: Final = 60  # the master ends a worker whose loop has not turned for this long
_STOP_MARGIN_S: Final = 10
_ANY_HOST: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - nothing is bound here
_BACKLOG: Final = 1_024


def options(settings: Settings, port: int) -> dict[str, Any]:
    """The settings of gunicorn for those of the node."""
    return {
        "bind": [f"{_bracketed(settings.http_host)}:{port}"],
        "workers": 1,
        "worker_class": "nodes.listener.worker.ListenerWorker",
        "logger_class": "nodes.listener.gunicorn_conf.NodeLog",
        "loglevel": "warning" if settings.log_level == "info" else settings.log_level,
        "asgi_loop": "asyncio",  # PERF: uvloop is within the noise here (docs/decisions/012-http-shell.md)
        "http_parser": "python",  # SECURITY: memory-safe on hostile bytes, and the one that the tests attack
        "backlog": _BACKLOG,
        "keepalive": limits.KEEPALIVE_MS // 1_000,
        "timeout": _HUNG_S,
        # A request may take its drain time, and then the dispatcher its own.
        "graceful_timeout": 2 * settings.drain_ms // 1_000 + _STOP_MARGIN_S,
        "limit_request_line": limits.REQUEST_LINE_BYTES_MAX,
        "limit_request_fields": limits.HEADERS_MAX,
        "limit_request_field_size": limits.HEADER_BYTES_MAX,
        "forwarded_allow_ips": "",
        "worker_tmp_dir": str(settings.run_dir),
        "control_socket_disable": True,
        "umask": 0o077,
        "proc_name": "jobico-listener",
        "post_fork": _die_with_master,
    }


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _die_with_master(arbiter: Arbiter, worker: Any) -> None:
    """Has the kernel kill this worker when its master is gone.

    SAFETY: a worker that outlives its master keeps the port and the queue from the next one. It is killed and
    not asked: that is what every node must survive anyhow, and the next one need not wait for a drain.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != arbiter.pid:
        os._exit(1)


class NodeLog(Logger):  # type: ignore[misc]
    """What gunicorn has to say, in the form of the node's own log lines."""

    def setup(self, cfg: Any) -> None:
        """Gives gunicorn's handlers the form of the node's lines."""
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(_JsonLines())


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "node": "listener",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


class OneWorkerArbiter(Arbiter):  # type: ignore[misc]
    """A master that never has two workers: they would open one queue twice."""

    def handle_int(self) -> None:
        """Ctrl-C in the foreground stops as gracefully as SIGTERM."""
        self.handle_term()

    handle_quit = handle_int
    handle_hup = handle_int  # the terminal is gone

    def handle_ttin(self) -> None:
        """Would add a worker."""

    handle_ttou = handle_usr2 = handle_winch = handle_ttin


class ListenerApplication(BaseApplication):  # type: ignore[misc]
    """The listener as gunicorn sees it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        super().__init__()

    def load_config(self) -> None:
        """Sets gunicorn's settings; nothing else (no file, no environment) is read."""
        for key, value in options(self.settings, _port(self.settings)).items():
            self.cfg.set(key, value)

    def load_on(self, address: Any) -> Any:
        """The application, in the worker, which was forked from the master and has bound `address`."""
        from nodes.listener.app import create_app  # noqa: PLC0415  # the master must stay small and free of threads

        host, port = address[0], address[1]
        _remember_port(self.settings, port)
        if host in _ANY_HOST:
            host = self.settings.advertise_host or "127.0.0.1"
        return create_app(self.settings, f"http://{_bracketed(host)}:{port}")

    def run(self) -> None:
        """Serves until told to stop; ends the process."""
        OneWorkerArbiter(self).run()


def _port_file(settings: Settings) -> Path:
    return settings.data_dir(settings.node_name or "listener") / "http_port"


def _remember_port(settings: Settings, port: int) -> None:
    with contextlib.suppress(OSError):
        _port_file(settings).write_text(f"{port}\n")


def _port(settings: Settings) -> int:
    """The port to bind: with 0, the one that this data directory had last, if it is free.

    NOTE: a listener that is restarted on another port would be lost to senders that know the first.
    """
    if settings.http_port:
        return settings.http_port
    try:
        port = int(_port_file(settings).read_text())
        with socket.socket(socket.AF_INET6 if ":" in settings.http_host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((settings.http_host, port))
    except (OSError, ValueError, OverflowError):
        return 0
    return port
