"""A node's heartbeat: how control knows that it is there, and how it knows what control has changed.

It owns one thread and one socket. What the node tells of itself, and what it does with the answer, is not
its part.
"""

import threading
from collections.abc import Callable
from typing import Final

from jobico.errors import JobicoError
from jobico.limits import NODE_HEARTBEAT_MS
from jobico.logs import Action, get_logger
from jobico.registry import NodeInfo
from jobico.settings import Settings
from protocol.client import Client
from protocol.messages import Goodbye, Heartbeat, HeartbeatSeen
from protocol.sockets import Wire, control_endpoint

__all__ = ["Beat"]

_BEAT_TIMEOUT_MS: Final = 2_000
_GOODBYE_TIMEOUT_MS: Final = 500
_REACH_MS: Final = 200


class Beat:
    """Tells control each NODE_HEARTBEAT_MS that the node is there; a thread that outlives control's absence.

    Args:
        settings: Where control is.
        wire: Where its socket comes from.
        describe: What to tell.
        on_seen: Given each answer, in the thread of the beat.
    """

    def __init__(
        self,
        settings: Settings,
        wire: Wire,
        describe: Callable[[], NodeInfo],
        on_seen: Callable[[HeartbeatSeen], None] | None = None,
    ) -> None:
        self._endpoint = control_endpoint(settings, "rep")
        self._wire = wire
        self._describe = describe
        self._on_seen = on_seen or (lambda _seen: None)
        self._due = threading.Event()
        self._stopping = False
        self._away = False
        self._log = get_logger()
        self._thread = threading.Thread(target=self._run, name="beat", daemon=True)

    def start(self) -> None:
        """Sends the first one now."""
        self._thread.start()

    def nudge(self) -> None:
        """Sends one now: there is news."""
        self._due.set()

    def stop(self) -> None:
        """Says goodbye, if control is there, and ends the thread."""
        self._stopping = True
        self._due.set()
        if self._thread.is_alive():
            self._thread.join(timeout=(_BEAT_TIMEOUT_MS + _GOODBYE_TIMEOUT_MS) / 1_000 + 1)

    def _run(self) -> None:
        client = Client(self._wire, self._wire.name)
        try:
            while not self._stopping:
                self._due.clear()
                self._beat(client)
                self._due.wait(NODE_HEARTBEAT_MS / 1_000)
            if not self._away:
                info = self._describe()
                client.call(
                    self._endpoint,
                    Goodbye(name=info.name, instance=info.instance),
                    timeout_ms=_GOODBYE_TIMEOUT_MS,
                )
        except JobicoError as error:
            self._log.info(error.message, action=Action.CONTROL_AWAY, code=error.code)
        finally:
            client.close()

    def _beat(self, client: Client) -> None:
        node = self._describe()
        # NOTE: where the whole platform stops, control may have stopped first, and must not hold up the rest.
        timeout_ms = _GOODBYE_TIMEOUT_MS if node.draining else _BEAT_TIMEOUT_MS
        try:
            seen = client.call(
                self._endpoint, Heartbeat(node=node), timeout_ms=timeout_ms, reach_ms=_REACH_MS
            )
        except JobicoError as error:
            if not self._away:
                self._log.warning(error.message, action=Action.CONTROL_AWAY, code=error.code)
            self._away = True
            return
        if self._away:
            self._log.info("control is back", action=Action.CONTROL_AWAY)
        self._away = False
        self._on_seen(seen)
