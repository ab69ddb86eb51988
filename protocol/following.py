"""Following the recorder's feed: every record once, in order, across reconnects and restarts.

`FeedCursor` decides (pure); `follow_records` does the I/O on an asyncio loop, for both faces.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final, NamedTuple

import msgspec

from jobico import limits
from jobico.errors import JobicoError
from jobico.event import Record
from protocol import codec
from protocol.aio import AsyncClient
from protocol.messages import Executions, Feed, ListExecutions
from protocol.sockets import Wire
from protocol.topics import feed_topic
from protocol.watching import watch

__all__ = ["FeedCursor", "Notice", "follow_records"]

_CATCH_UP_S: Final = 2.0
_WAITING_MAX: Final = 10_000


class Notice(NamedTuple):
    """What a reader of a stream should be told: the recorder is away, or back."""

    text: str


class FeedCursor:
    """Which rows were seen. Feed messages may be lost or come again; row numbers are global and have no gaps.

    Args:
        start: Rows up to this one count as seen.
        tenant: The only tenant whose rows are wanted; empty is all, in which case rows must have no gaps.
    """

    def __init__(self, start: int, tenant: str = "") -> None:
        self._tenant = tenant
        self._beyond: set[int] = set()  # seen, but above a row that was not
        self.complete = start  # every wanted row up to this one was seen

    def follows(self, feed: Feed) -> bool:
        """True where nothing can have been lost before `feed`, as far as it alone can tell."""
        return not self._tenant or 0 < feed.previous <= self.complete

    @property
    def gap(self) -> bool:
        """True while a row is seen and one before it is not."""
        return bool(self._beyond)

    def take(self, rows: Sequence[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        """Those of `rows` that were not seen; from now on they are."""
        new = [row for row in rows if row[0] > self.complete and row[0] not in self._beyond]
        if self._tenant:
            self.complete = max([self.complete, *(number for number, _ in new)])
            return new
        self._beyond.update(number for number, _ in new)
        while self.complete + 1 in self._beyond:
            self.complete += 1
            self._beyond.remove(self.complete)
        return new

    def caught_up(self, upto: int) -> None:
        """Every wanted row up to `upto` was asked for and taken; those that are gone were too old to keep."""
        self.complete = max(self.complete, upto)
        self._beyond = {row for row in self._beyond if row > self.complete}
        self.take(())


async def follow_records(
    wire: Wire,
    client: AsyncClient,
    endpoints: tuple[str, str],
    *,
    tenant: str = "",
    start: int | None = None,
    server_key: str = "",
) -> AsyncIterator[list[tuple[int, Record]] | Notice]:
    """Yields records as they are committed, in lists with row numbers, and notices; never ends by itself.

    Args:
        wire: Where sockets come from.
        client: For what the feed alone cannot tell.
        endpoints: The recorder's REP and PUB.
        tenant: Only this tenant's; empty is all that the key may see.
        start: Rows up to this one were shown already; None begins with what comes next.
        server_key: The recorder's public key, with CURVE.
    """
    stream = _Stream(wire, client, endpoints, tenant, server_key)
    try:
        async for item in stream.items(start):
            yield item
    finally:
        stream.close()


class _Stream:
    """The subscription, what waits to be read of it, and the catching up."""

    def __init__(
        self, wire: Wire, client: AsyncClient, endpoints: tuple[str, str], tenant: str, server_key: str
    ) -> None:
        self._client = client
        self._rep = endpoints[0]
        self._tenant = tenant
        self._server_key = server_key
        self._socket = wire.sub(endpoints[1], [feed_topic(tenant)], server_key=server_key)
        self._feeds: asyncio.Queue[Feed] = asyncio.Queue(_WAITING_MAX)
        self._watch = watch(asyncio.get_running_loop(), self._socket, self._received)
        self._away = False

    def close(self) -> None:
        self._watch.close()
        self._socket.close(linger=0)

    def _received(self, frames: list[bytes]) -> None:
        try:
            _, message = codec.decode(frames[1:])
        except JobicoError:
            return  # a newer recorder's message; what was in it is found by the next catching up
        if isinstance(message, Feed) and not self._feeds.full():
            self._feeds.put_nowait(message)

    async def items(self, start: int | None) -> AsyncIterator[list[tuple[int, Record]] | Notice]:
        if start is None:
            async for found in self._newest():
                if isinstance(found, Notice):
                    yield found
                else:
                    start = found
        cursor = FeedCursor(start or 0, self._tenant)
        look_at = 0.0
        while True:
            now = asyncio.get_running_loop().time()
            feed = await self._next(look_at - now)
            lost = feed is not None and not cursor.follows(feed)
            if feed is None or lost:
                # NOTE: a feed message that is lost and followed by no other leaves no gap to see: so look.
                async for item in self._catch_up(cursor):
                    yield item
                look_at = asyncio.get_running_loop().time() + _CATCH_UP_S
            elif new := cursor.take(list(zip(feed.rows, feed.items, strict=False))):
                yield [(row, _record(item)) for row, item in new]

    async def _next(self, timeout_s: float) -> Feed | None:
        """The next feed message, or None when it is time to look for what was lost."""
        if timeout_s <= 0:
            return None
        try:
            return await asyncio.wait_for(self._feeds.get(), timeout_s)
        except TimeoutError:
            return None

    async def _newest(self) -> AsyncIterator[int | Notice]:
        """The newest row there is, once the recorder answers; before it a notice if that takes long."""
        while True:
            try:
                yield (await self._ask(ListExecutions(tenant=self._tenant, limit=1))).newest
            except JobicoError as error:
                if not self._away:
                    self._away = True
                    yield Notice(f"The recorder is away: {error.message}")
                await asyncio.sleep(_CATCH_UP_S / 4)
            else:
                return

    async def _catch_up(self, cursor: FeedCursor) -> AsyncIterator[list[tuple[int, Record]] | Notice]:
        """Takes all rows above the cursor; where the recorder is away they are left for the next time."""
        while True:
            request = ListExecutions(tenant=self._tenant, after=cursor.complete, limit=limits.QUERY_ROWS_MAX)
            try:
                page = await self._ask(request)
            except JobicoError as error:
                if not self._away:
                    self._away = True
                    yield Notice(f"The recorder is away: {error.message}")
                return
            if self._away:
                self._away = False
                yield Notice("The recorder is back.")
            if new := cursor.take(page.rows):
                yield [(row, _record(item)) for row, item in new]
            if not page.next or not page.rows:
                cursor.caught_up(page.newest)
                return
            cursor.caught_up(page.rows[-1][0])

    async def _ask(self, request: ListExecutions) -> Executions:
        return await self._client.call(self._rep, request, timeout_ms=2_000, server_key=self._server_key)


def _record(item: bytes) -> Record:
    return msgspec.msgpack.decode(item, type=Record)
