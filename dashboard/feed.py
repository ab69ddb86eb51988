"""All I/O of the dashboard: the recorder's feed, and what is asked of control, repository and listener.

It owns its sockets and tasks on the app's loop. Nothing here blocks: a node that is away becomes a notice.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Protocol, TypeVar

import msgspec

from jobico.artifact import ArtifactInfo
from jobico.change import DeadLetter
from jobico.definition import Revision
from jobico.errors import JobicoError, NodeUnavailable
from jobico.event import Record
from jobico.ids import new_instance_id
from jobico.registry import NodeInfo
from jobico.settings import Settings, Transport
from protocol.aio import AsyncClient
from protocol.following import Notice, follow_records
from protocol.messages import (
    GetArtifact,
    ListArtifacts,
    ListDeadLetters,
    ListJobs,
    ListNodes,
    ListQueues,
    Message,
    PurgeDeadLetters,
    Queues,
    ReplayDeadLetters,
    Request,
    ShowExecution,
    ShowJob,
)
from protocol.sockets import Wire, control_endpoint, endpoint

__all__ = ["Feed", "LiveFeed"]

_ReplyT = TypeVar("_ReplyT", bound=Message)
_REFRESH_S: Final = 1.0
_TIMEOUT_MS: Final = 2_000


class Feed(Protocol):
    """What the screens are fed from. Calls raise `JobicoError` where a node is away."""

    notices: dict[str, str]
    nodes: tuple[NodeInfo, ...]
    queues: Queues

    def start(self, on_records: Callable[[list[tuple[int, Record]]], None]) -> None:
        """Begins; `on_records` is called on the loop with records as they are committed."""

    async def jobs(self) -> tuple[Revision, ...]:
        """The current revision of every job."""

    async def job(self, tenant: str, job: str, number: int) -> tuple[Revision, tuple[int, ...]]:
        """A revision of a job, and the numbers of all that are kept."""

    async def artifacts(self) -> tuple[ArtifactInfo, ...]:
        """All modules and schemas."""

    async def content(self, tenant: str, digest: str) -> bytes:
        """The bytes of an artifact."""

    async def attempts(self, tenant: str, event_id: str) -> list[Record]:
        """The records of one event, by attempt."""

    async def dead_letters(self) -> tuple[tuple[DeadLetter, ...], int]:
        """The newest dead letters, and how many there are."""

    async def replay(self, letter: DeadLetter) -> int:
        """Puts a dead letter back into its queue."""

    async def purge(self, letter: DeadLetter) -> int:
        """Deletes a dead letter."""

    async def close(self) -> None:
        """Ends all tasks and closes all sockets."""


class LiveFeed:
    """A feed from a running platform.

    Args:
        settings: Where it is.
        tenant: Show only this tenant's; empty is all that the key may see.
        key_name: With `tcp`, which key of `keys_dir` to show; a tenant's read key sees its own things alone.
    """

    def __init__(self, settings: Settings, tenant: str = "", key_name: str = "operator") -> None:
        self._settings = settings
        self._tenant = tenant
        self._wire = Wire(settings, key_name)
        self._client = AsyncClient(self._wire, "dashboard")
        self._tasks: list[asyncio.Task[None]] = []
        self.notices: dict[str, str] = {}
        self.nodes: tuple[NodeInfo, ...] = ()
        self.queues = Queues(items=())

    def start(self, on_records: Callable[[list[tuple[int, Record]]], None]) -> None:
        """Begins to follow the recorder and to ask for nodes and queues each second."""
        self._tasks = [
            asyncio.create_task(self._follow(on_records), name="feed-records"),
            asyncio.create_task(self._refresh(), name="feed-refresh"),
        ]

    async def close(self) -> None:
        """Ends all tasks and closes all sockets."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._client.close()
        self._wire.close()

    async def _follow(self, on_records: Callable[[list[tuple[int, Record]]], None]) -> None:
        while not ((rep := self._reach("recorder", "rep")) and (pub := self._reach("recorder", "pub"))):
            await asyncio.sleep(_REFRESH_S / 4)
        stream: AsyncIterator[list[tuple[int, Record]] | Notice] = follow_records(
            self._wire, self._client, (rep[0], pub[0]), tenant=self._tenant, server_key=rep[1]
        )
        async for item in stream:
            if isinstance(item, Notice):
                self._note("recorder", item.text if "away" in item.text else "")
            else:
                on_records(item)

    async def _refresh(self) -> None:
        while True:
            await asyncio.gather(self._refresh_nodes(), self._refresh_queues())
            await asyncio.sleep(_REFRESH_S)

    async def _refresh_nodes(self) -> None:
        try:
            self.nodes = (await self._control(ListNodes())).items
        except JobicoError as error:
            self._note("control", f"Control is away: {error.message}")
        else:
            self._note("control", "")

    async def _refresh_queues(self) -> None:
        rows: list[dict[str, Any]] = []
        outbox = 0
        try:
            for name in self._names("listener"):
                answer = await self._ask(name, ListQueues(tenant=self._tenant))
                rows += answer.items
                outbox += answer.outbox
        except JobicoError as error:
            self._note("listener", f"A listener is away: {error.message}")
        else:
            self.queues = Queues(items=tuple(rows), outbox=outbox)
            self._note("listener", "")

    async def jobs(self) -> tuple[Revision, ...]:
        """The current revision of every job."""
        return (await self._control(ListJobs(tenant=self._tenant))).items

    async def job(self, tenant: str, job: str, number: int) -> tuple[Revision, tuple[int, ...]]:
        """A revision of a job, and the numbers of all that are kept."""
        shown = await self._control(ShowJob(tenant=tenant, job=job, number=number))
        return shown.revision, shown.kept

    async def artifacts(self) -> tuple[ArtifactInfo, ...]:
        """All modules and schemas."""
        return (await self._ask("repository", ListArtifacts(tenant=self._tenant))).items

    async def content(self, tenant: str, digest: str) -> bytes:
        """The bytes of an artifact."""
        return (await self._ask("repository", GetArtifact(digest=digest, tenant=tenant))).content

    async def attempts(self, tenant: str, event_id: str) -> list[Record]:
        """The records of one event, by attempt."""
        answer = await self._ask("recorder", ShowExecution(tenant=tenant, id=event_id))
        return [msgspec.msgpack.decode(item, type=Record) for item in answer.items]

    async def dead_letters(self) -> tuple[tuple[DeadLetter, ...], int]:
        """The newest dead letters of every listener, and how many there are."""
        letters: list[DeadLetter] = []
        total = 0
        for name in self._names("listener"):
            answer = await self._ask(name, ListDeadLetters(tenant=self._tenant, limit=200))
            letters += answer.items
            total += answer.total
        return tuple(letters), total

    async def replay(self, letter: DeadLetter) -> int:
        """Puts a dead letter back into its queue; how many that were."""
        event = letter.event
        return await self._count(
            ReplayDeadLetters(request_id=new_instance_id(), tenant=event.tenant, ids=(event.id,))
        )

    async def purge(self, letter: DeadLetter) -> int:
        """Deletes a dead letter; how many that were."""
        event = letter.event
        return await self._count(
            PurgeDeadLetters(request_id=new_instance_id(), tenant=event.tenant, ids=(event.id,))
        )

    async def _count(self, request: ReplayDeadLetters | PurgeDeadLetters) -> int:
        counts = [(await self._ask(name, request)).count for name in self._names("listener")]
        return sum(counts)

    def _note(self, node: str, text: str) -> None:
        if text:
            self.notices[node] = text
        else:
            self.notices.pop(node, None)

    def _names(self, role: str) -> list[str]:
        return [node.name for node in self.nodes if node.role == role and not node.lost] or [role]

    def _reach(self, name: str, socket: str) -> tuple[str, str] | None:
        """Endpoint and public key of a node's socket; None where it is not known (yet)."""
        for node in self.nodes:
            if node.name == name and socket in node.endpoints:
                return node.endpoints[socket], node.public_key
        if self._settings.transport is Transport.IPC:
            return endpoint(self._settings, name, socket), ""
        return None

    async def _control(self, request: Request[_ReplyT]) -> _ReplyT:
        return await self._client.call(
            control_endpoint(self._settings, "rep"), request, timeout_ms=_TIMEOUT_MS
        )

    async def _ask(self, name: str, request: Request[_ReplyT]) -> _ReplyT:
        reach = self._reach(name, "rep")
        if reach is None:
            raise NodeUnavailable(f"The address of {name} is not known: is it running? See `jobico status`.")
        return await self._client.call(reach[0], request, timeout_ms=_TIMEOUT_MS, server_key=reach[1])
