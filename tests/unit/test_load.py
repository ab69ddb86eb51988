"""The load generator: every request is counted once, whatever becomes of it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from cli.load import LoadResult, percentile, post_request, run_load

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def drive(handler: Handler, requests: int, connections: int) -> LoadResult:
    """Posts `requests` to a server that does what `handler` does with a connection."""
    handling: list[asyncio.Task[None]] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handling.append(task)
        try:
            await handler(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def run() -> LoadResult:
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        left = iter(range(requests))

        def next_request() -> bytes | None:
            return post_request("x", "/p", b"{}", "key") if next(left, None) is not None else None

        async with server:
            result = await run_load("127.0.0.1", port, next_request, connections=connections)
            await asyncio.gather(*handling)
        return result

    return asyncio.run(run())


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"Authorization: Bearer key\r\n" in head
    return await reader.readexactly(2)


@pytest.mark.parametrize("name", [b"Content-Length", b"content-length"])
def test_an_answer_in_pieces_is_one_answer(name: bytes) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not reader.at_eof():
            try:
                await read_request(reader)
            except asyncio.IncompleteReadError:
                break
            for piece in (b"HTTP/1.1 202 Acc", b"epted\r\n" + name + b": 4\r\nX: y\r\n\r", b"\nbo", b"dy"):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)

    result = drive(handler, requests=20, connections=3)
    assert [(answer.status, answer.body) for answer in result.answers] == [(202, b"body")] * 20
    assert all(answer.answered_ns > answer.sent_ns for answer in result.answers)
    assert len(result.latencies_ms()) == 20


def test_a_connection_that_breaks_is_an_answer_with_status_0() -> None:
    async def handler(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await read_request(reader)

    result = drive(handler, requests=5, connections=2)
    assert [answer.status for answer in result.answers] == [0, 0]
    assert result.latencies_ms() == []


def test_fewer_requests_than_connections_end_the_run() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(1):
            writer.write(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n")
        await reader.read()

    assert [answer.status for answer in drive(handler, requests=1, connections=4).answers] == [503]


@pytest.mark.parametrize(("share", "value"), [(0.0, 1.0), (0.5, 3.0), (0.99, 4.0), (1.0, 4.0)])
def test_a_percentile_is_one_of_the_values(share: float, value: float) -> None:
    assert percentile([1.0, 2.0, 3.0, 4.0], share) == value


def test_no_values_have_no_percentile() -> None:
    assert percentile([], 0.5) == 0.0
