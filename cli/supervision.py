"""supervisord, which runs the nodes of one data directory: its configuration, its process, what it says.

It prints nothing, and leaves the nodes to say whether they are ready.

HOME/run/supervisord.conf    what the shipped file says, with the places and numbers of this platform
HOME/run/supervisord.pid     written by supervisord
HOME/run/supervisor.sock     where it answers; 0700, like the directory
HOME/run/platform.json       what `up` was told, for `status` while control is down
HOME/logs/NAME.log           of each node; supervisord.log is supervisord's own
"""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from configparser import RawConfigParser
from pathlib import Path
from typing import NamedTuple

import msgspec

from cli.ports import is_free
from jobico.errors import AlreadyExists, Internal
from jobico.settings import Settings

__all__ = ["NodeProcess", "Supervision", "expected_nodes", "last_lines"]

_STOP_MARGIN_S = 15
_KILL_WAIT_S = 5.0
_POLL_S = 0.02


class NodeProcess(NamedTuple):
    """What supervisord says of a node's process; `state` is one of its names, such as RUNNING or BACKOFF."""

    name: str
    state: str
    pid: int
    exit_code: int
    uptime_s: int
    said: str


def expected_nodes(settings: Settings) -> dict[str, str]:
    """The role of each node of a platform by its name."""
    executors = {f"executor-{number}": "executor" for number in range(settings.executors)}
    return (
        {"control": "control", "repository": "repository", "recorder": "recorder"}
        | executors
        | {"listener": "listener"}
    )


def last_lines(path: Path, count: int) -> list[str]:
    """The last lines of a log file; none if there is no such file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16_384))
            return file.read().decode("utf-8", "replace").splitlines()[-count:]
    except OSError:
        return []


class Supervision:
    """The supervisord of one data directory.

    Args:
        settings: Of the platform; `home` chooses the directory.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._run = settings.run_dir
        self._conf = self._run / "supervisord.conf"
        self._socket = self._run / "supervisor.sock"
        self._pidfile = self._run / "supervisord.pid"
        self._facts = self._run / "platform.json"

    def start(self) -> "subprocess.Popen[bytes]":
        """Prepares the data directory and starts supervisord, which starts the nodes.

        Raises:
            AlreadyExists: one runs there already or is being started, or somebody else has the port.
        """
        for directory in (
            self.settings.home_dir,
            self._run,
            self.settings.logs_dir,
            self.settings.home_dir / "data",
        ):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory.chmod(0o700)
        with self._starting():
            pid = self.pid()
            if pid is not None:
                raise AlreadyExists(
                    f"A platform runs in {self.settings.home_dir} already (supervisord is process {pid}): "
                    "stop it with `jobico down`, or name another data directory with --home."
                )
            self._end(self.strays())
            host, port = self.settings.http_host, self.settings.http_port
            if not is_free(host, port):
                raise AlreadyExists(f"Port {port} of {host} is taken: choose another one with --port.")
            for path in (self._socket, self._pidfile):
                path.unlink(missing_ok=True)
            self._write(self._conf, self._configuration())
            facts = {"executors": self.settings.executors, "url": self.url()}
            self._write(self._facts, json.dumps(facts))
            process = self._launch()
            self._await_pid(process)
        return process

    def _launch(self) -> "subprocess.Popen[bytes]":
        kept = {key: value for key, value in os.environ.items() if not key.startswith("JOBICO_")}
        settings = msgspec.structs.replace(self.settings, home=str(self.settings.home_dir), log_files=True)
        command = [sys.executable, "-P", "-m", "supervisor.supervisord", "-c", str(self._conf)]
        with (self.settings.logs_dir / "supervisord.out").open("wb") as output:
            return subprocess.Popen(  # noqa: S603 - our own interpreter and configuration
                command,
                cwd=self.settings.home_dir,
                env=kept | settings.to_environ(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                umask=0o077,
                start_new_session=True,  # NOTE: Ctrl-C is for whoever started it, who then stops it in order
            )

    def _await_pid(self, process: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + 10
        while self.pid() is None:
            if process.poll() is not None or time.monotonic() > deadline:
                said = "\n".join(last_lines(self.settings.logs_dir / "supervisord.out", 5))
                raise Internal(f"supervisord did not start. {said}".strip())
            time.sleep(_POLL_S)

    @contextlib.contextmanager
    def _starting(self) -> Iterator[None]:
        with (self._run / "up.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise AlreadyExists(
                    f"A platform is being started in {self.settings.home_dir} just now: see `jobico status`."
                ) from error
            yield

    def _configuration(self) -> str:
        """The shipped file, with the places and numbers of this platform."""
        parser = RawConfigParser(interpolation=None, inline_comment_prefixes=None)
        parser.read_string(_shipped().read_text())
        python = _escaped(Path(sys.executable))
        stop_s = str(self.settings.drain_ms // 1_000 + _STOP_MARGIN_S)
        parser["unix_http_server"]["file"] = _escaped(self._socket)
        parser["supervisorctl"]["serverurl"] = f"unix://{_escaped(self._socket)}"
        parser["supervisord"]["pidfile"] = _escaped(self._pidfile)
        parser["supervisord"]["logfile"] = _escaped(self.settings.logs_dir / "supervisord.log")
        parser["supervisord"]["logfile_maxbytes"] = "10MB"
        parser["supervisord"]["silent"] = "true"
        parser["program:executor"]["numprocs"] = str(self.settings.executors)
        for name in parser.sections():
            if name.startswith("program:"):
                program = parser[name]
                program["command"] = program["command"].replace("jobico ", f'"{python}" -P -m cli ', 1)
                program["stopwaitsecs"] = stop_s
        lines = ["; Written by `jobico up` from the supervisord.conf that ships with Jobico."]
        for section in parser.sections():
            lines += ["", f"[{section}]", *(f"{key}={value}" for key, value in parser[section].items())]
        return "\n".join(lines) + "\n"

    @staticmethod
    def _write(path: Path, text: str) -> None:
        path.touch(mode=0o600)
        path.write_text(text)

    def pid(self) -> int | None:
        """The process id of the supervisord that runs there; None if none does."""
        try:
            pid = int(self._pidfile.read_text())
        except (OSError, ValueError):
            return None
        # NOTE: a pid file can outlive its process, and another process can have the number.
        return pid if str(self._conf) in _command_line(pid) else None

    def url(self) -> str:
        """Where `up` has the listener take HTTP; where `up` did not start it, where settings say."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            if not self.settings.http_port or self.pid() is not None:
                return str(json.loads(self._facts.read_text())["url"])
        host = self.settings.http_host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.settings.http_port}"

    def executors(self) -> int:
        """How many executors `up` was told to start."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            return int(json.loads(self._facts.read_text())["executors"])
        return self.settings.executors

    def processes(self) -> list[NodeProcess]:
        """What supervisord says of each node; nothing where it does not answer."""
        from cli.supervisor_rpc import all_process_info

        return [
            NodeProcess(
                item["name"],
                item["statename"],
                item["pid"],
                item["exitstatus"],
                max(0, item["now"] - item["start"]) if item["pid"] else 0,
                item["spawnerr"] or item["description"],
            )
            for item in all_process_info(self._socket)
        ]

    def stop(self) -> bool:
        """Stops supervisord and every node, draining them; False if there was nothing to stop."""
        pid = self.pid()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + self.settings.drain_ms / 1_000 + _STOP_MARGIN_S + _KILL_WAIT_S
            while self.pid() is not None and time.monotonic() < deadline:
                # PERF: supervisord looks at its children each second, or when it is asked something.
                self.processes()
                time.sleep(_POLL_S)
            if self.pid() is not None:
                self._end([pid])
        strays = self.strays()
        self._end(strays)
        for path in (self._socket, self._pidfile, self._facts):
            path.unlink(missing_ok=True)
        return pid is not None or bool(strays)

    def strays(self) -> list[int]:
        """Nodes of this data directory that a supervisord has left behind, which only its death can do."""
        if self.pid() is not None:
            return []
        home = f"JOBICO_HOME={self.settings.home_dir}"
        return [
            pid
            for pid in (int(name) for name in os.listdir("/proc") if name.isdecimal())
            if pid != os.getpid() and {home, "SUPERVISOR_ENABLED=1"} <= _environ(pid) and _command_line(pid)
        ]

    def _end(self, pids: list[int]) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + _KILL_WAIT_S
        while any(_command_line(pid) for pid in pids) and time.monotonic() < deadline:
            time.sleep(_POLL_S)


def _escaped(path: Path) -> str:
    """A path as supervisord's configuration spells it."""
    return str(path).replace("%", "%%")


def _shipped() -> Path:
    """The supervisord.conf of this installation: beside this file in a wheel, at the root of a checkout."""
    here = Path(__file__).resolve().parent
    for path in (here / "supervisord.conf", here.parent / "supervisord.conf"):
        if path.is_file():
            return path
    raise Internal(f"supervisord.conf is missing from this installation ({here}): install Jobico again.")


def _command_line(pid: int) -> str:
    """What the process was started with; empty if it is gone, or dead and not yet waited for."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


def _environ(pid: int) -> set[str]:
    try:
        return set(Path(f"/proc/{pid}/environ").read_bytes().decode("utf-8", "replace").split("\0"))
    except OSError:
        return set()
