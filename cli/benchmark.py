"""What `jobico bench` does: deploys a program, posts events to it, and follows each to its record.

It owns the measurement: what is counted, from when to when. It prints nothing. Times are taken as things
happen and looked into when all is over: this process shares the machine with what it measures.
"""

import asyncio
import secrets
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from cli.deploy import deploy_file
from cli.files import examples_dir
from cli.load import LoadResult, percentile, post_request, run_load
from cli.session import Session, new_request_id
from jobico.errors import DeadlineExceeded, JobicoError
from jobico.event import Record
from protocol import codec
from protocol.messages import CreateKey, CreateTenant, DeleteTenant, Feed, GetTotals
from protocol.topics import feed_topic
from protocol.watching import watch

__all__ = ["BATCH_EVENTS", "Bench", "Figures", "Target", "deployed"]

BATCH_EVENTS = 100
"""How many events a batch has unless told otherwise."""

_EVENT = (
    b'{"orderId":"o-20391","customer":{"id":"c-1187","email":"jane@example.com"},'
    b'"items":[{"sku":"kb-401","quantity":1,"price":89.5},{"sku":"ms-112","quantity":2,"price":24.9}]}'
)
_SETTLE_S = 120.0
_LOOK_S = 0.1
_ROUTED_S = 5.0


class Target(msgspec.Struct, frozen=True):
    """Where events are posted: a tenant made for this."""

    host: str
    port: int
    tenant: str
    key: str

    @property
    def path(self) -> str:
        """The path of the event."""
        return f"/events/{self.tenant}/order"


class Figures(msgspec.Struct, frozen=True):
    """What was measured; latencies in milliseconds, CPU in microseconds for each event by node."""

    batch: int
    connections: int
    seconds: float  # from the first request to the last answer
    accepted: int
    recorded: int
    refused: dict[str, int]  # by status; "0" is a connection that broke
    accepted_per_s: float
    recorded_per_s: float  # accepted events by the time from the first request to the last record
    accept_p50_ms: float
    accept_p99_ms: float
    end_to_end_p50_ms: float
    end_to_end_p99_ms: float
    cpu_us: dict[str, float]

    @property
    def complete(self) -> bool:
        """True where every request was accepted, and every event has exactly one final record."""
        return not self.refused and self.recorded == self.accepted


@contextmanager
def deployed(session: Session) -> Iterator[Target]:
    """A tenant with the benchmark's job and a key, deleted at the end."""
    tenant = f"bench-{secrets.token_hex(4)}"
    session.control(CreateTenant(request_id=new_request_id(), name=tenant))
    try:
        with tempfile.TemporaryDirectory(prefix="jobico-bench-") as folder:
            for path in (examples_dir() / "bench").iterdir():
                shutil.copy(path, folder)
            definition = Path(folder) / "bench.yaml"
            definition.write_text(definition.read_text().replace("tenant: bench", f"tenant: {tenant}"))
            deploy_file(session, definition)
        key = session.control(CreateKey(request_id=new_request_id(), tenant=tenant, role="send")).key
        address = urlsplit(session.url())
        assert address.hostname is not None
        assert address.port is not None
        yield Target(address.hostname, address.port, tenant, key)
    finally:
        session.control(DeleteTenant(request_id=new_request_id(), name=tenant))


class Bench:
    """Measures one way of posting.

    Args:
        session: With the platform.
        target: What `deployed` made.
        connections: How many are kept busy.
        batch: Events in a request; 1 posts them alone.
    """

    def __init__(self, session: Session, target: Target, *, connections: int, batch: int) -> None:
        self._session = session
        self._target = target
        self._connections = connections
        self._batch = batch
        body = _EVENT if batch == 1 else b'{"data":[' + b",".join([_EVENT] * batch) + b"]}"
        self._request = post_request(f"{target.host}:{target.port}", target.path, body, target.key)

    def warm_up(self, seconds: float) -> None:
        """Posts without measuring: caches fill, executors compile the program.

        Raises:
            DeadlineExceeded: the listener does not take the event, or what it took does not settle.
        """
        before = self._recorded()
        deadline = time.monotonic() + _ROUTED_S
        while not (accepted := _accepted(first := asyncio.run(self._post(seconds=0.0)), self._batch)):
            if time.monotonic() > deadline:
                raise DeadlineExceeded(
                    f"The listener does not take the event: {first.answers[-1].body[:300]!r}."
                )
            time.sleep(_LOOK_S)
        accepted += _accepted(asyncio.run(self._post(seconds)), self._batch)
        asyncio.run(self._settled(before + accepted))

    def measure(self, seconds: float) -> Figures:
        """Posts for so long, then waits until the recorder has a final record of each accepted event.

        Raises:
            DeadlineExceeded: records stop coming before all are there.
        """
        before, cpu_before = self._recorded(), self._cpu_s()
        result, feeds = asyncio.run(self._post_and_follow(seconds, before))
        return self._figures(result, feeds, self._recorded() - before, cpu_before)

    async def _post(self, seconds: float) -> LoadResult:
        deadline = time.perf_counter() + seconds
        first = True

        def next_request() -> bytes | None:
            nonlocal first
            if first or time.perf_counter() < deadline:
                first = False
                return self._request
            return None

        target = self._target
        return await run_load(target.host, target.port, next_request, connections=self._connections)

    async def _post_and_follow(
        self, seconds: float, before: int
    ) -> tuple[LoadResult, list[tuple[int, list[bytes]]]]:
        """Posts, and takes down when each message of the recorder's feed came."""
        feeds: list[tuple[int, list[bytes]]] = []
        address, key = self._session.address("recorder", "pub")
        socket = self._session.wire.sub(address, [feed_topic(self._target.tenant)], server_key=key)
        following = watch(
            asyncio.get_running_loop(), socket, lambda frames: feeds.append((time.perf_counter_ns(), frames))
        )
        try:
            result = await self._post(seconds)
            accepted = before + _accepted(result, self._batch)
            await self._settled(accepted)
            await asyncio.sleep(_LOOK_S)  # the feed's last message can come after the totals
        finally:
            following.close()
            socket.close(linger=0)
        return result, feeds

    async def _settled(self, count: int) -> None:
        """Returns once the recorder has `count` final records; the feed goes on being taken down."""
        deadline = time.monotonic() + _SETTLE_S
        while self._recorded() < count:
            if time.monotonic() > deadline:
                raise DeadlineExceeded(
                    f"{count - self._recorded()} accepted events have no final record after {_SETTLE_S:.0f} s"
                )
            await asyncio.sleep(_LOOK_S)

    def _recorded(self) -> int:
        final: Mapping[str, int] = self._session.ask("recorder", GetTotals(tenant=self._target.tenant)).final
        return sum(final.values())

    def _cpu_s(self) -> dict[str, float]:
        try:
            nodes = self._session.nodes(fresh=True)
        except JobicoError:
            return {}
        return {node.name: node.load.get("cpu_s", 0.0) for node in nodes if not node.lost}

    def _figures(
        self,
        result: LoadResult,
        feeds: list[tuple[int, list[bytes]]],
        recorded: int,
        cpu_before: Mapping[str, float],
    ) -> Figures:
        time.sleep(1.5)  # until each node has told control once more what it used
        accepted = _accepted(result, self._batch)
        answered = result.latencies_ms()
        spans_ms, last_ns = _end_to_end(result, feeds)
        first_ns = min(answer.sent_ns for answer in result.answers)
        whole_s = (last_ns - first_ns) / 1e9 if spans_ms else result.duration_s
        refused = Counter(str(answer.status) for answer in result.answers if answer.status != 202)
        used = {name: cpu_s - cpu_before.get(name, 0.0) for name, cpu_s in self._cpu_s().items()}
        return Figures(
            batch=self._batch,
            connections=self._connections,
            seconds=result.duration_s,
            accepted=accepted,
            recorded=recorded,
            refused=dict(refused),
            accepted_per_s=accepted / result.duration_s,
            recorded_per_s=recorded / whole_s,
            accept_p50_ms=percentile(answered, 0.50),
            accept_p99_ms=percentile(answered, 0.99),
            end_to_end_p50_ms=percentile(spans_ms, 0.50),
            end_to_end_p99_ms=percentile(spans_ms, 0.99),
            cpu_us={name: 1e6 * cpu_s / max(1, accepted) for name, cpu_s in sorted(used.items())},
        )


def _accepted(result: LoadResult, batch: int) -> int:
    return batch * sum(answer.status == 202 for answer in result.answers)


class _Answer(msgspec.Struct):
    id: str = ""
    ids: tuple[str, ...] = ()


def _end_to_end(result: LoadResult, feeds: list[tuple[int, list[bytes]]]) -> tuple[list[float], int]:
    """Milliseconds from sending to hearing of the final record, sorted; and when the last one came."""
    recorded_ns: dict[str, int] = {}
    decode = msgspec.msgpack.Decoder(Record).decode
    for came_ns, frames in feeds:
        _, message = codec.decode(frames[1:])
        if isinstance(message, Feed):
            recorded_ns |= {record.id: came_ns for item in message.items if (record := decode(item)).final}
    spans_ms = []
    read = msgspec.json.Decoder(_Answer).decode
    for answer in result.answers:
        if answer.status == 202:
            told = read(answer.body)
            ids = told.ids or (told.id,)
            spans_ms += [(recorded_ns[one] - answer.sent_ns) / 1e6 for one in ids if one in recorded_ns]
    return sorted(spans_ms), max(recorded_ns.values(), default=0)
