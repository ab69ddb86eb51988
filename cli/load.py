"""A load generator: many keep-alive HTTP/1.1 connections, one request at a time on each, on raw sockets.

Owns what is timed and how; never looks into a body. It shares the machine with what it measures, so it does
as little as it can for each request (`benchmarks/README.md` has its cost).
"""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["Answer", "LoadResult", "percentile", "post_request", "run_load"]

_ANSWER_HEAD_BYTES_MAX = 16_384
_CONNECT_ATTEMPTS = 3


class Answer(NamedTuple):
    """One answered request; times are of `time.perf_counter_ns`, status 0 is a broken connection."""

    sent_ns: int
    answered_ns: int
    status: int
    body: bytes


class LoadResult(NamedTuple):
    """What a run saw: every answer, in the order they came, and how long it all took."""

    answers: list[Answer]
    duration_s: float

    def latencies_ms(self) -> list[float]:
        """The time from sending to having the whole answer, of each answered request, sorted."""
        return sorted((answer.answered_ns - answer.sent_ns) / 1e6 for answer in self.answers if answer.status)


def percentile(ordered: list[float], share: float) -> float:
    """The value that `share` (0 to 1) of the sorted values do not exceed; 0 where there are none."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def post_request(host: str, path: str, body: bytes, key: str = "") -> bytes:
    """The bytes of a POST of JSON over a connection that stays open."""
    authorization = f"Authorization: Bearer {key}\r\n" if key else ""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"{authorization}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("latin-1") + body


class _Run:
    """What all connections share: the source of requests, the answers, and when to stop."""

    def __init__(self, next_request: Callable[[], bytes | None], done: "asyncio.Future[None]") -> None:
        self.next_request = next_request
        self.done = done
        self.answers: list[Answer] = []
        self.open = 0

    def closed(self) -> None:
        """Ends the run with its last connection."""
        self.open -= 1
        if self.open == 0 and not self.done.done():
            self.done.set_result(None)


class _Connection(asyncio.Protocol):
    """Sends a request, waits for its whole answer, sends the next."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._received = b""
        self._sent_ns = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins with the first request."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._run.open += 1
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        """Counts the request that is left without an answer, if one is."""
        if self._sent_ns:
            self._run.answers.append(Answer(self._sent_ns, time.perf_counter_ns(), 0, b""))
        self._run.closed()

    def _send(self) -> None:
        assert self._transport is not None
        request = self._run.next_request()
        if request is None:
            self._sent_ns = 0
            self._transport.close()
            return
        self._sent_ns = time.perf_counter_ns()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Takes the answer once it is whole; it must say its Content-Length."""
        if self._received:
            data = self._received + data
        head_end = data.find(b"\r\n\r\n")
        if head_end < 0:
            self._received = data
            assert len(data) <= _ANSWER_HEAD_BYTES_MAX
            return
        length_bytes = _content_length(data, head_end)
        if len(data) < head_end + 4 + length_bytes:
            self._received = data
            return
        self._received = b""
        body = data[head_end + 4 :]
        self._run.answers.append(Answer(self._sent_ns, time.perf_counter_ns(), int(data[9:12]), body))
        self._send()


def _content_length(data: bytes, head_end: int) -> int:
    # PERF: nearly every answer spells it one of two ways; lower-casing the head costs as much as the rest.
    for name in (b"\r\ncontent-length: ", b"\r\nContent-Length: "):
        start = data.find(name, 0, head_end)
        if start >= 0:
            end = data.find(b"\r", start + 18, head_end + 1)
            return int(data[start + 18 : end])
    raise ValueError(f"an answer without Content-Length: {data[:200]!r}")


async def run_load(
    host: str, port: int, next_request: Callable[[], bytes | None], *, connections: int
) -> LoadResult:
    """Keeps `connections` busy with what `next_request` gives, until it gives None to each.

    Raises:
        OSError: no connection could be made.
    """
    loop = asyncio.get_running_loop()
    run = _Run(next_request, loop.create_future())
    began = time.perf_counter()
    run.open += 1  # holds the run open while connections are made
    for _ in range(connections):
        await _connect(loop, run, host, port)
    run.closed()
    await run.done
    return LoadResult(run.answers, time.perf_counter() - began)


async def _connect(loop: asyncio.AbstractEventLoop, run: _Run, host: str, port: int) -> None:
    for attempt in range(1, _CONNECT_ATTEMPTS + 1):
        try:
            await loop.create_connection(lambda: _Connection(run), host, port)
        except ConnectionError:
            if attempt == _CONNECT_ATTEMPTS:
                raise
        else:
            return
