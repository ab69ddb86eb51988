"""Reading a body under bounds: size, sum over connections, and what a cut-off body is."""

import asyncio
from typing import Any

import pytest

from jobico import limits
from jobico.errors import InvalidInput, JobicoError, NodeUnavailable, TooLarge
from nodes.listener.body import BodyBudget, RequestBody, declared_bytes

GONE: dict[str, Any] = {"type": "http.disconnect"}


def piece(body: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def read(
    *messages: dict[str, Any], bytes_max: int = 10, budget: BodyBudget | None = None
) -> bytes | JobicoError | None:
    """What reading gives or raises; None where the body does not even begin."""
    left = iter(messages)

    async def receive() -> dict[str, Any]:
        return next(left, GONE)

    async def run() -> bytes | JobicoError | None:
        body = RequestBody(receive, budget or BodyBudget())
        if not await body.begin():
            return None
        try:
            whole = await body.read(bytes_max)
        except JobicoError as error:
            return error
        assert body.complete
        assert await body.read(bytes_max) is whole
        return whole

    return asyncio.run(run())


def test_a_body_is_read_in_one_piece_or_many() -> None:
    assert read(piece(b"", more=False)) == b""
    assert read(piece(b"0123456789", more=False)) == b"0123456789"
    assert read(piece(b"01234"), piece(b"567"), piece(b"89"), piece(b"", more=False)) == b"0123456789"


@pytest.mark.parametrize(
    "messages",
    [
        (piece(b"0123456789A", more=False),),
        (piece(b"0123456789"), piece(b"A", more=False)),
        (piece(b""), *(piece(b"01") for _ in range(100))),
    ],
)
def test_one_byte_past_the_bound_is_too_large(messages: tuple[dict[str, Any], ...]) -> None:
    assert isinstance(read(*messages), TooLarge)


def test_a_body_that_is_cut_off_is_no_body() -> None:
    assert isinstance(read(piece(b"{}"), GONE), InvalidInput)
    assert read(GONE) is None


def test_what_all_connections_hold_is_bounded_and_given_back() -> None:
    budget = BodyBudget(bytes_max=4)
    assert isinstance(read(piece(b""), piece(b"01234", more=False), budget=budget), NodeUnavailable)
    assert read(piece(b""), piece(b"0123", more=False), budget=budget) == b"0123"
    assert isinstance(read(piece(b""), piece(b"0123"), GONE, budget=budget), InvalidInput)
    assert budget.held_bytes == 0


def test_a_body_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_MS_MAX", 50)

    async def run() -> None:
        messages = iter([piece(b"{")])

        async def receive() -> dict[str, Any]:
            found = next(messages, None)
            if found is None:
                await asyncio.Event().wait()
            assert found is not None
            return found

        body = RequestBody(receive, BodyBudget())
        assert await body.begin()
        with pytest.raises(InvalidInput):
            await body.read()

    asyncio.run(run())


def test_what_is_discarded_is_bounded() -> None:
    taken = 0

    async def receive() -> dict[str, Any]:
        nonlocal taken
        taken += limits.BODY_BYTES_MAX
        return piece(b"x" * limits.BODY_BYTES_MAX)

    asyncio.run(RequestBody(receive, BodyBudget()).discard())
    assert taken <= 17 * limits.BODY_BYTES_MAX


def test_a_declared_length_is_found() -> None:
    assert declared_bytes([(b"host", b"x"), (b"content-length", b"12")]) == 12
    assert declared_bytes([(b"host", b"x")]) == 0
