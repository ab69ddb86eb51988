"""Following single events to their end: who waits for one, and what is known of one that has ended.

It reads the queue and asks the recorder; it changes nothing.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import msgspec

from jobico.delivery import DeliveryMachine
from jobico.errors import JobicoError, NodeUnavailable, NotFound
from jobico.event import EventStatus, Record
from jobico.storage.queue import EventQueue
from nodes.listener import statuses
from nodes.peers import Peer
from protocol.aio import AsyncClient
from protocol.messages import ShowExecution

__all__ = ["Tracker"]

_RECENT_MAX: Final = 4_096
_RECENT_BYTES_MAX: Final = 16 << 20
_RECENT_RECORD_BYTES: Final = 512  # what a record takes besides its result and report
_RECORDER_TIMEOUT_MS: Final = 2_000

_decode_record = msgspec.msgpack.Decoder(Record).decode


class Tracker:
    """Knows of single events.

    Args:
        machine: The events that have not ended.
        queue: Their payloads, and the records that the recorder does not have yet.
        client: Asks the recorder.
        recorder: Where that is; raises NodeUnavailable where nobody has said.
    """

    def __init__(
        self,
        machine: DeliveryMachine,
        queue: EventQueue,
        client: AsyncClient,
        recorder: Callable[[], Peer],
    ) -> None:
        self._machine = machine
        self._queue = queue
        self._client = client
        self._recorder = recorder
        self._waiting: dict[str, list[asyncio.Future[Record]]] = {}
        self._recent: OrderedDict[str, Record] = OrderedDict()
        self._recent_bytes = 0

    def resolved(self, record: Record) -> None:
        """An event has ended."""
        for future in self._waiting.pop(record.id, ()):
            if not future.done():
                future.set_result(record)
        # NOTE: a sender that waits asks after its event was accepted; that may be after its end.
        self._recent[record.id] = record
        self._recent_bytes += _size_bytes(record)
        while len(self._recent) > _RECENT_MAX or self._recent_bytes > _RECENT_BYTES_MAX:
            _, dropped = self._recent.popitem(last=False)
            self._recent_bytes -= _size_bytes(dropped)

    async def end_of(self, event_id: str, timeout_s: float) -> Record | None:
        """The final record of an event; None where it does not come in time, or the event is unknown."""
        known = self._recent.get(event_id) or self._final_in_outbox(event_id)
        if known is not None or event_id not in self._machine.backlog.by_id:
            return known
        future: asyncio.Future[Record] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(event_id, [])
        waiting.append(future)
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            return None
        finally:
            waiting.remove(future)
            if not waiting:
                self._waiting.pop(event_id, None)

    async def wait(self, event_id: str, timeout_s: float) -> EventStatus | None:
        """The status of an event once it has ended; None where that does not come in time."""
        record = await self.end_of(event_id, timeout_s)
        if record is None:
            return None
        earlier = [] if record.attempt == 1 else await self._recorded_if_there(record.tenant, event_id)
        return statuses.of_records(statuses.merged(earlier, [record]))

    async def status(self, tenant: str, event_id: str) -> EventStatus:
        """What is known of an event.

        Raises:
            NotFound: the tenant has no such event.
            NodeUnavailable: it has left the queue, and the recorder is away.
        """
        item = self._machine.backlog.by_id.get(event_id)
        if item is not None:
            if item.event.tenant != tenant:
                raise _not_found(tenant, event_id)
            payload = self._queue.payload(item.seq)
            records = await self._recorded_if_there(tenant, event_id) if item.attempts else []
            return statuses.of_pending(item, records, payload)
        ended = self._recent.get(event_id) or self._queue.outbox_record(event_id)
        if ended is not None:
            if ended.tenant != tenant:
                raise _not_found(tenant, event_id)
            earlier = [] if ended.attempt == 1 else await self._recorded_if_there(tenant, event_id)
            return statuses.of_records(statuses.merged(earlier, [ended]))
        records = await self._recorded(tenant, event_id)
        if not records:
            raise _not_found(tenant, event_id)
        return statuses.of_records(records)

    def _final_in_outbox(self, event_id: str) -> Record | None:
        record = self._queue.outbox_record(event_id)
        return record if record is not None and record.final else None

    async def _recorded_if_there(self, tenant: str, event_id: str) -> list[Record]:
        """What the recorder and the outbox know of an event; without the recorder, what the outbox knows."""
        try:
            records = await self._recorded(tenant, event_id)
        except JobicoError:
            records = []
        waiting = self._queue.outbox_record(event_id)
        return statuses.merged(records, [waiting] if waiting is not None else [])

    async def _recorded(self, tenant: str, event_id: str) -> list[Record]:
        peer = self._recorder()
        try:
            reply = await self._client.call(
                peer.endpoint,
                ShowExecution(tenant=tenant, id=event_id),
                timeout_ms=_RECORDER_TIMEOUT_MS,
                server_key=peer.server_key,
            )
        except NotFound:
            return []
        except JobicoError as error:
            raise NodeUnavailable(
                f"The recorder, which knows ended events, is away: {error.message}"
            ) from error
        return statuses.merged(_decode_record(item) for item in reply.items)


def _size_bytes(record: Record) -> int:
    return _RECENT_RECORD_BYTES + len(record.result) + len(record.report) + len(record.payload)


def _not_found(tenant: str, event_id: str) -> NotFound:
    return NotFound(f"Tenant {tenant} has no event {event_id}.")
