"""The listener's PULL: what executors and the recorder say, as inputs to the delivery machine and the outbox.

It owns the socket's reading side. It decides nothing.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from jobico.clock import Now
from jobico.delivery import DeliveryMachine
from jobico.logs import Action, get_logger
from nodes.listener.outbox import Outbox
from nodes.listener.peers import Peers
from protocol import messages as m
from protocol.gate import Gate
from protocol.sockets import Socket, Wire
from protocol.watching import Watch

__all__ = ["Mailbox"]


class Mailbox:
    """Reads what comes, all of it, before anything is leased.

    Args:
        wire: Where the socket comes from.
        socket: A PULL.
        machine: Who is told what executors say.
        peers: Who may say it.
        outbox: Who is told what the recorder says.
        now: What time it is.
        touch: Called after inputs to the machine.
    """

    def __init__(
        self,
        wire: Wire,
        socket: Socket,
        machine: DeliveryMachine,
        peers: Peers,
        outbox: Outbox,
        *,
        now: Callable[[], Now],
        touch: Callable[[], None],
    ) -> None:
        self._machine = machine
        self._peers = peers
        self._now = now
        self._touch = touch
        self._log = get_logger()
        self._takers: dict[type[m.Message], Callable[[Any], None]] = {
            m.Settlements: self._settlements,
            m.Renewal: self._renewal,
            m.Returned: self._returned,
            m.Welcome: self._welcome,
            m.Recorded: outbox.recorded,
        }
        self._gate = Gate(socket, self._takers.keys(), wire=wire)
        self._watch = Watch(asyncio.get_running_loop(), socket, self._read_one)

    @property
    def refused(self) -> int:
        """How many messages were not taken."""
        return self._gate.refused

    def close(self) -> None:
        """Reads no more."""
        self._watch.close()

    def _read_one(self) -> bool:
        received = self._gate.receive()
        if received is None:
            return False
        message = self._gate.message(*received)
        if message is not None:
            self._takers[type(message)](message)
        return True

    def _settlements(self, message: m.Settlements) -> None:
        now = self._now()
        for settlement in message.items:
            self._machine.settled(message.executor, settlement, now)
        self._touch()

    def _renewal(self, message: m.Renewal) -> None:
        self._machine.leasing.renewed(
            message.executor,
            message.instance,
            message.running,
            message.held,
            self._now(),
            parked=message.parked,
        )
        self._touch()

    def _returned(self, message: m.Returned) -> None:
        self._machine.leasing.returned(
            message.executor, message.tokens, self._now(), draining=message.draining
        )
        self._touch()

    def _welcome(self, message: m.Welcome) -> None:
        if message.executor not in self._peers.names:
            return
        self._log.info(
            "executor joined",
            action=Action.PEER_JOINED,
            executor=message.executor,
            instance=message.instance,
            held=len(message.held),
        )
        self._peers.welcomed(message.executor)
        self._machine.leasing.welcomed(message.executor, message.instance, message.held, self._now())
        self._touch()
