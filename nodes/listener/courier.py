"""Carrying out what the delivery machine asks for: changes to the store, deliveries to executors, log lines.

It owns no state and no socket, and decides nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from jobico import limits
from jobico.clock import Now
from jobico.delivery import DeliveryMachine
from jobico.event import Delivery, Record
from jobico.instruction import (
    Abort,
    Assignment,
    Commit,
    Greet,
    Instruction,
    LeasesLost,
    Refused,
    Resolved,
    Send,
)
from jobico.logs import Action, get_logger
from jobico.storage.queue import EventQueue
from nodes.listener.payloads import Payloads
from nodes.listener.peers import Peers
from protocol import messages as m

__all__ = ["Courier"]

_BATCH_BYTES_MAX: Final = limits.MESSAGE_BYTES_MAX // 4
_DELIVERY_OVERHEAD_BYTES: Final = 512


class Courier:
    """The hands of a machine.

    Args:
        name: Of this node.
        machine: Who asks.
        queue: The store.
        payloads: Of the events in it.
        peers: The executors.
        resolved: Called with the final record of an event that has ended.
        now: What time it is.
    """

    def __init__(
        self,
        name: str,
        machine: DeliveryMachine,
        queue: EventQueue,
        payloads: Payloads,
        peers: Peers,
        *,
        resolved: Callable[[Record], None],
        now: Callable[[], Now],
    ) -> None:
        self._name = name
        self._machine = machine
        self._queue = queue
        self._payloads = payloads
        self._peers = peers
        self._resolved = resolved
        self._now = now
        self._log = get_logger()

    def carry_out(self) -> None:
        """Does all that is asked for, and what is asked for because of that."""
        while instructions := self._machine.take():
            for instruction in instructions:
                self._do(instruction)

    def _do(self, instruction: Instruction) -> None:
        match instruction:
            case Commit():
                self._queue.apply(instruction.changes, instruction.tag)
            case Send():
                self._send(instruction)
            case Resolved():
                self._log_dead(instruction.record)
                self._resolved(instruction.record)
            case Abort():
                abort = m.Abort(listener=self._name, tokens=instruction.tokens)
                self._peers.send(instruction.executor, abort)
            case Greet():
                self._peers.greet(instruction.executor)
            case Refused() | LeasesLost():
                self._log_lost(instruction)

    def _send(self, send: Send) -> None:
        """Pushes in batches; after the first that does not go nothing follows, so order holds."""
        unsent: list[int] = []
        for batch in _batches(self._readable(send)):
            message = m.Deliveries(listener=self._name, items=tuple(batch))
            if unsent or not self._peers.send(send.executor, message):
                unsent += [delivery.token for delivery in batch]
        if unsent:
            self._machine.leasing.unsent(send.executor, unsent, self._now())

    def _readable(self, send: Send) -> Iterator[Delivery]:
        payloads = self._payloads.of_all([item.seq for item in send.items])
        for item, payload in zip(send.items, payloads, strict=True):
            if payload is None:
                self._machine.unreadable(send.executor, item.token, self._now())
            else:
                yield _delivery(item, payload)

    def _log_dead(self, record: Record) -> None:
        if record.reason:
            self._log.warning(
                "event is a dead letter",
                action=Action.EVENT_DEAD,
                tenant=record.tenant,
                event_id=record.id,
                event_name=record.event,
                reason=record.reason,
                attempts=record.attempt,
            )

    def _log_lost(self, instruction: Refused | LeasesLost) -> None:
        if isinstance(instruction, Refused):
            self._log.info(
                "settlement refused",
                action=Action.SETTLEMENT_REFUSED,
                executor=instruction.executor,
                token=instruction.token,
            )
        else:
            self._log.warning(
                "leases lost",
                action=Action.LEASE_LOST,
                executor=instruction.executor,
                reason=instruction.reason,
                leases=instruction.count,
                charged=instruction.charged,
            )


def _batches(deliveries: Iterator[Delivery]) -> Iterator[Sequence[Delivery]]:
    batch: list[Delivery] = []
    size_bytes = 0
    for delivery in deliveries:
        item_bytes = len(delivery.payload) + len(delivery.runtime) + _DELIVERY_OVERHEAD_BYTES
        full = len(batch) >= limits.DELIVERIES_BATCH_MAX or size_bytes + item_bytes > _BATCH_BYTES_MAX
        if batch and full:
            yield batch
            batch, size_bytes = [], 0
        batch.append(delivery)
        size_bytes += item_bytes
    if batch:
        yield batch


def _delivery(item: Assignment, payload: bytes) -> Delivery:
    event = item.event
    return Delivery(
        token=item.token,
        id=event.id,
        tenant=event.tenant,
        event=event.event,
        job=event.job,
        revision=item.revision,
        attempt=item.attempt,
        runtime=item.runtime,
        payload=payload,
    )
