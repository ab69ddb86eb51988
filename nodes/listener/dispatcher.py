"""The listener's dispatcher: what the HTTP side, the executors and the recorder see of the event queue.

It owns the queue of this node (one `EventQueue`), the links to executors and recorder, and the REP socket; it
lives on one asyncio loop and is not thread-safe. It never decides anything about an event: that is
`jobico.delivery`. It never reads HTTP: that is `nodes.listener.resources`.
"""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from jobico.change import AcceptResult, IdempotencyKey
from jobico.clock import Clock
from jobico.event import Event, EventStatus
from jobico.registry import NodeInfo
from jobico.routes import Routes
from jobico.settings import Settings
from jobico.tenancy import Quotas
from protocol.sockets import Wire

__all__ = ["Dispatcher"]


class Dispatcher:
    """Takes events in, sees them through, and tells how they are doing."""

    def __init__(
        self,
        settings: Settings,
        wire: Wire,
        path: Path,
        clock: Clock,
        node_name: str,
        instance: str,
        *,
        rng: random.Random | None = None,
    ) -> None:
        raise NotImplementedError

    async def start(self) -> None:
        """Opens and recovers the queue, binds the sockets; call it once, on the loop that will run everything.

        Raises:
            StorageUnavailable, StoreVersion: the queue cannot be opened.
        """
        raise NotImplementedError

    async def drain(self) -> None:
        """Stops leasing and waits for what runs, `drain_ms` at most; accepting is the caller's to stop."""
        raise NotImplementedError

    async def close(self) -> None:
        """Closes sockets and queue; what is unsettled stays in the store."""
        raise NotImplementedError

    @property
    def endpoints(self) -> Mapping[str, str]:
        """Endpoints that this node binds by socket name (`rep`, `settlements`), for the registry; after `start`."""
        raise NotImplementedError

    def unready_reason(self) -> str:
        """Why events cannot be taken now, for people; empty when they can."""
        raise NotImplementedError

    def load(self) -> dict[str, float]:
        """What the registry shows of this node: queued, delayed, running, outbox."""
        raise NotImplementedError

    def set_routes(self, routes: Routes) -> None:
        """Replaces the routing tables; the next delivery of an event uses them."""
        raise NotImplementedError

    def set_quotas(self, quotas: Mapping[str, Quotas]) -> None:
        """Replaces what tenants may use, by tenant."""
        raise NotImplementedError

    def set_nodes(self, nodes: Sequence[NodeInfo]) -> None:
        """Replaces what is known of other nodes: executors are linked, the recorder is found."""
        raise NotImplementedError

    async def accept(self, events: Sequence[Event], idempotency: IdempotencyKey | None = None) -> AcceptResult:
        """Stores events of one tenant, all or none, and returns when they are synced to disk.

        Raises:
            QuotaExceeded: the tenant is over a quota; `retry_after_s` tells when the same call is expected to pass.
            TooLarge: the batch can never fit the tenant's quota.
            Conflict: the idempotency key was used with another body.
            StorageUnavailable: the queue cannot store now; nothing was stored.
        """
        raise NotImplementedError

    async def wait(self, id: str, timeout_s: float) -> EventStatus | None:
        """Waits for the outcome of an event; None where it does not come in time, or the event is unknown."""
        raise NotImplementedError

    async def status(self, tenant: str, id: str) -> EventStatus:
        """What is known of an event, from the queue or from the recorder.

        Raises:
            NotFound: the tenant has no such event.
            NodeUnavailable: the queue no longer has it and the recorder is away.
        """
        raise NotImplementedError

    async def cancel(self, tenant: str, id: str) -> None:
        """Withdraws an event; returns when that is stored or, where it runs, when its executor was told.

        Raises:
            NotFound: the tenant has no such event.
            Conflict: it has ended already.
        """
        raise NotImplementedError
