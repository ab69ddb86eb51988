"""Asking supervisord, which speaks XML-RPC over HTTP on a socket of the file system."""

import http.client
import socket
import xmlrpc.client
from pathlib import Path
from typing import Any

__all__ = ["all_process_info"]

_TIMEOUT_S = 2.0


def all_process_info(path: Path) -> list[dict[str, Any]]:
    """What supervisord says of each process; nothing where it does not answer."""
    proxy = xmlrpc.client.ServerProxy("http://localhost", transport=_UnixTransport(str(path)))
    try:
        found: Any = proxy.supervisor.getAllProcessInfo()
    except (OSError, http.client.HTTPException, xmlrpc.client.Error):
        return []
    finally:
        proxy("close")()
    return list(found)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a socket of the file system."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        """Connects to the path."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(self._path)
        except OSError:
            self.sock.close()
            raise


class _UnixTransport(xmlrpc.client.Transport):
    """XML-RPC over a socket of the file system."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        """The connection, whatever the host; `close` of the transport ends the one that it knows of."""
        connection = _UnixConnection(self._path)
        self._connection = host, connection
        return connection
