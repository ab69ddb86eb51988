"""Settings of a node or a command: one frozen type, read once from `JOBICO_*` variables.

Nothing else reads the environment. Every key has a default, bounds, a unit in its name and a sentence here.
"""

import hashlib
import os
import tempfile
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec

from jobico import limits
from jobico.errors import InvalidInput

__all__ = ["Settings", "Transport"]

_PREFIX = "JOBICO_"
_SOCKET_PATH_CHARS_MAX = 107  # sun_path of unix(7), less the final zero
_SOCKET_NAME_CHARS_MAX = 40


class Transport(StrEnum):
    """How nodes reach one another."""

    IPC = "ipc"
    TCP = "tcp"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a node or a command may be told; `JOBICO_HTTP_PORT=8080` sets `http_port`."""

    home: str = ""
    """The data directory; empty is `~/.jobico`."""
    http_host: str = "127.0.0.1"
    """The address that the listener's HTTP server binds."""
    http_port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 7450
    """The port of the listener's HTTP server; 0 picks a free one."""
    transport: Transport = Transport.IPC
    """`ipc` for nodes on one machine, `tcp` for nodes on several (always CURVE)."""
    bind_host: str = "127.0.0.1"
    """With `tcp`: the address that node sockets bind."""
    advertise_host: str = ""
    """With `tcp`: the address that other nodes use to reach this one; empty is `bind_host`."""
    control_host: str = "127.0.0.1"
    """With `tcp`: where control is; all other endpoints come from its registry."""
    control_port: Annotated[int, msgspec.Meta(ge=0, le=65_534)] = 7461
    """With `tcp`: control's REP port; its PUB port is the next one."""
    node_port: Annotated[int, msgspec.Meta(ge=0, le=65_500)] = 0
    """With `tcp`: first port of this node's sockets, in the order of `SOCKET_NAMES`; 0 picks free ones."""
    node_name: str = ""
    """The name of this node in the registry; empty is its role."""
    executors: Annotated[int, msgspec.Meta(ge=1, le=256)] = 2
    """How many executor processes `jobico up` starts."""
    lease_ms: Annotated[int, msgspec.Meta(ge=200, le=600_000)] = limits.LEASE_MS
    """How long an executor may hold a delivery without renewing it."""
    drain_ms: Annotated[int, msgspec.Meta(ge=0, le=600_000)] = limits.DRAIN_MS
    """How long a node that was told to stop waits for what is under way."""
    queue_map_bytes: Annotated[int, msgspec.Meta(ge=1 << 20)] = limits.QUEUE_MAP_BYTES
    """The most that the listener's queue may take on disk."""
    executions_map_bytes: Annotated[int, msgspec.Meta(ge=1 << 20)] = limits.EXECUTIONS_MAP_BYTES
    """The most that the recorder's store may take on disk."""
    retention_ms: Annotated[int, msgspec.Meta(ge=1_000)] = limits.RETENTION_MS
    """How long the recorder keeps a record."""
    retention_bytes: Annotated[int, msgspec.Meta(ge=1 << 20)] = limits.RETENTION_BYTES
    """How many bytes of records the recorder keeps, oldest dropped first."""
    log_level: str = "info"
    """`debug`, `info`, `warning` or `error`: what nodes log of themselves."""
    log_files: bool = False
    """True has a node log to a file in the data directory instead of stderr, as under supervisord."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None, **overrides: object) -> "Settings":
        """Reads the settings.

        Args:
            environ: Where `JOBICO_*` variables are; the process's own by default.
            overrides: Values that win over the environment; None is ignored.

        Raises:
            InvalidInput: a key is unknown or a value out of bounds.
        """
        source = os.environ if environ is None else environ
        values: dict[str, object] = {
            key.removeprefix(_PREFIX).lower(): value
            for key, value in source.items()
            if key.startswith(_PREFIX)
        }
        values.update({key: value for key, value in overrides.items() if value is not None})
        try:
            return msgspec.convert(values, cls, strict=False)
        except msgspec.ValidationError as error:
            raise InvalidInput(f"A JOBICO_* setting is wrong: {error}. See docs/operating.md.") from error

    def to_environ(self) -> dict[str, str]:
        """The variables that make `from_environ` give this again."""
        return {_PREFIX + key.upper(): str(value) for key, value in msgspec.to_builtins(self).items()}

    @property
    def home_dir(self) -> Path:
        """The data directory, absolute; it may not exist yet."""
        return Path(self.home or "~/.jobico").expanduser().absolute()

    def data_dir(self, node: str) -> Path:
        """Where the node of that name keeps its store; it may not exist yet."""
        return self.home_dir / "data" / node

    @property
    def keys_dir(self) -> Path:
        """Where private keys are, mode 0700."""
        return self.home_dir / "keys"

    @property
    def modules_dir(self) -> Path:
        """The cache of compiled modules, written by Jobico alone."""
        return self.home_dir / "cache" / "modules"

    @property
    def logs_dir(self) -> Path:
        """Where the logs of the nodes and of supervisord are."""
        return self.home_dir / "logs"

    def log_path(self, node: str) -> Path | None:
        """The file that the node of that name logs to; None is its stderr."""
        return self.logs_dir / f"{node}.log" if self.log_files else None

    @property
    def run_dir(self) -> Path:
        """Where `ipc://` sockets are, mode 0700.

        NOTE: unix(7) bounds a socket's path at 107 bytes; a home that is too deep for that gets a directory
        of its own under the temporary directory, named by user and home.
        """
        beside = self.home_dir / "run"
        if len(os.fsencode(beside)) + _SOCKET_NAME_CHARS_MAX <= _SOCKET_PATH_CHARS_MAX:
            return beside
        tag = hashlib.sha256(os.fsencode(self.home_dir)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"jobico-{os.getuid()}-{tag}"
