"""Control's clock: emits events by the schedules of the current revisions.

It owns a thread, and how far each schedule has come, in the catalog. A firing has a key made of its time:
should control die between the listener's answer and its own note of it, the listener knows the key, and the
event is one. `jobico.schedule` decides when something is due.
"""

import json
import threading
from collections.abc import Callable
from typing import Final, NamedTuple

from jobico.clock import Clock
from jobico.definition import EventDefinition, Revision
from jobico.errors import JobicoError
from jobico.ids import new_instance_id
from jobico.logs import Action, get_logger
from jobico.schedule import due, stamp
from jobico.storage.catalog import Catalog
from jobico.storage.catalog_edit import CatalogEdit
from nodes.control.changes import Changes
from nodes.peers import Peers
from protocol.client import Client
from protocol.messages import EmitEvent
from protocol.sockets import Wire

__all__ = ["Schedules"]

_LOOK_S: Final = 0.5
_MINUTE_MS: Final = 60_000
_STORED_S: Final = 5.0


class _Scheduled(NamedTuple):
    """An event with a schedule, and since when it has it."""

    tenant: str
    event: EventDefinition
    since_ms: int


class Schedules:
    """Emits what is due, each time once.

    Args:
        catalog: Where revisions and the progress of schedules are.
        changes: How progress is noted.
        clock: The wall clock decides.
        wire: Where the socket to the listener comes from.
        peers: Where the listener is.
    """

    def __init__(self, catalog: Catalog, changes: Changes, clock: Clock, wire: Wire, peers: Peers) -> None:
        self._catalog = catalog
        self._changes = changes
        self._clock = clock
        self._wire = wire
        self._peers = peers
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="schedules", daemon=True)
        self._log = get_logger()

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def close(self) -> None:
        """Ends the thread; what is due then is due at the next start."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        client = Client(self._wire, self._wire.name)
        known, minute, behind = -1, -1, False
        scheduled: list[_Scheduled] = []
        try:
            while not self._stop.wait(_LOOK_S):
                seq, now_minute = self._catalog.seq, self._clock.wall_ms() // _MINUTE_MS
                if seq != known:
                    scheduled, known = self._read(), seq
                # PERF: cron has minutes, so between two of them only what failed is looked at again.
                elif now_minute == minute and not behind:
                    continue
                minute = now_minute
                behind = False
                for item in scheduled:
                    behind |= not self._fire(client, item)
        finally:
            client.close()

    def _read(self) -> list[_Scheduled]:
        with self._catalog.view() as view:
            revisions = view.current()
        return [
            _Scheduled(revision.definition.tenant, event, revision.created_ms)
            for revision in revisions
            for event in _with_schedule(revision)
        ]

    def _fire(self, client: Client, item: _Scheduled) -> bool:
        """Emits what is due of one schedule, oldest first; False where some of it must be tried again."""
        with self._catalog.view() as view:
            settled_ms = view.schedule(item.tenant, item.event.id) or item.since_ms
        found = due(item.event.schedule, settled_ms, self._clock.wall_ms(), item.event.missed)
        for at_ms in found.times_ms:
            try:
                self._emit(client, item, at_ms)
                self._changes.change(_note(item, at_ms)).result(_STORED_S)
            except (JobicoError, TimeoutError) as error:
                self._log.warning(
                    f"{item.tenant}/{item.event.id} of {stamp(at_ms)} is not emitted yet: {error}",
                    action=Action.SCHEDULE_FAILED,
                )
                return False
        return True

    def _emit(self, client: Client, item: _Scheduled, at_ms: int) -> None:
        listener = self._peers.of_role("listener", "rep")
        time = stamp(at_ms)
        answer = client.call(
            listener.endpoint,
            EmitEvent(
                request_id=new_instance_id(),
                tenant=item.tenant,
                event=item.event.id,
                payload=json.dumps({"schedule": item.event.schedule, "time": time}).encode(),
                key=time,
            ),
            server_key=listener.server_key,
        )
        self._log.info(
            "emitted by schedule",
            action=Action.SCHEDULE_FIRED,
            tenant=item.tenant,
            job_event=item.event.id,
            time=time,
            id=answer.id,
        )


def _with_schedule(revision: Revision) -> list[EventDefinition]:
    return [event for event in revision.definition.events if event.schedule]


def _note(item: _Scheduled, at_ms: int) -> Callable[[CatalogEdit], None]:
    return lambda edit: edit.put_schedule(item.tenant, item.event.id, at_ms)
