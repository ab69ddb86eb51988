"""Ports of this machine. It prints nothing."""

import errno
import os
import socket

from jobico.errors import Internal

__all__ = ["free_port", "is_free"]

_PORTS = range(20_000, 32_000)  # below what Linux gives to outgoing connections


def free_port(host: str) -> int:
    """A port of `host` that nobody has now.

    NOTE: not one of those that the kernel gives to outgoing connections, or one of these could take it while
    the listener restarts.
    """
    start = int.from_bytes(os.urandom(4)) % len(_PORTS)
    for offset in range(len(_PORTS)):
        port = _PORTS[(start + offset) % len(_PORTS)]
        if is_free(host, port):
            return port
    raise Internal(f"No port between {_PORTS.start} and {_PORTS.stop} of {host} is free.")


def is_free(host: str, port: int) -> bool:
    """True unless somebody listens there."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.errno != errno.EADDRINUSE
    return True
