"""The body of a request, read under bounds of size and time.

It owns what an unknown sender may make the listener hold: the declared length is checked before the first
byte is asked for, the size while reading, the time over all of it, and the sum over all connections.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from jobico import limits
from jobico.errors import InvalidInput, NodeUnavailable, TooLarge

__all__ = ["BodyBudget", "RequestBody", "declared_bytes"]

Receive = Callable[[], Awaitable[dict[str, Any]]]

_DISCARD_BYTES_MAX: Final = 16 * limits.BODY_BYTES_MAX
_DISCARD_S_MAX: Final = 2.0


def declared_bytes(headers: Iterable[tuple[bytes, bytes]]) -> int:
    """The Content-Length, 0 where there is none. The HTTP parser has refused repeated and malformed ones."""
    for name, value in headers:
        if name == b"content-length":
            return int(value)
    return 0


class BodyBudget:
    """The bytes of unfinished bodies that all connections hold together."""

    def __init__(self, bytes_max: int = limits.BODIES_BYTES_MAX) -> None:
        self.bytes_max = bytes_max
        self.held_bytes = 0

    def take(self, size_bytes: int) -> None:
        """Adds to what is held.

        Raises:
            NodeUnavailable: there is no room.
        """
        if self.held_bytes + size_bytes > self.bytes_max:
            raise NodeUnavailable("Too many request bodies are under way; try again.")
        self.held_bytes += size_bytes

    def give_back(self, size_bytes: int) -> None:
        """Takes from what is held."""
        self.held_bytes -= size_bytes
        assert self.held_bytes >= 0


class RequestBody:
    """One request's body. `receive` is what Falcon is given; `read` is for who wants the bytes."""

    __slots__ = ("_budget", "_first", "_receive", "_whole", "complete")

    def __init__(self, receive: Receive, budget: BodyBudget) -> None:
        self._receive = receive
        self._budget = budget
        self._first: dict[str, Any] = {}
        self._whole: bytes | None = None
        self.complete = False
        """Whether all of it has arrived here; only then is the connection fit for another request."""

    async def begin(self) -> bool:
        """Waits for the first piece; False where the sender left or took too long."""
        first = await self._receive()
        self._first = first
        if first["type"] != "http.request":
            return False
        self.complete = not first.get("more_body", False)
        return True

    async def receive(self) -> dict[str, Any]:
        """The ASGI callable for the framework, which asks once and never reads further."""
        return self._first

    async def read(self, bytes_max: int = limits.BODY_BYTES_MAX) -> bytes:
        """The whole body; once read, it is given again.

        Raises:
            TooLarge: it is over `bytes_max`; no more than that was held.
            InvalidInput: the sender left or took too long before the end.
            NodeUnavailable: all connections together hold too much.
        """
        if self._whole is not None:
            return self._whole
        body: bytes = self._first.get("body", b"")
        if len(body) > bytes_max:
            raise _too_large(bytes_max)
        # PERF: nearly every body is in the same packet as its headers.
        if self.complete:
            self._whole = body
            return body
        try:
            async with asyncio.timeout(limits.BODY_MS_MAX / 1_000):
                self._whole = await self._read_rest(body, bytes_max)
        except TimeoutError as error:
            raise InvalidInput(f"The body did not arrive within {limits.BODY_MS_MAX // 1_000} s.") from error
        return self._whole

    async def _read_rest(self, body: bytes, bytes_max: int) -> bytes:
        pieces, held_bytes = [body], 0
        try:
            size_bytes = len(body)
            while not self.complete:
                piece = await self._next()
                size_bytes += len(piece)
                if size_bytes > bytes_max:
                    raise _too_large(bytes_max)
                self._budget.take(len(piece))
                held_bytes += len(piece)
                pieces.append(piece)
        finally:
            self._budget.give_back(held_bytes)
        return b"".join(pieces)

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] != "http.request":
            # SAFETY: what came so far may be valid JSON, but it is not what the sender meant to send.
            raise InvalidInput("The body ended before its announced end.")
        self.complete = not message.get("more_body", False)
        piece: bytes = message.get("body", b"")
        return piece

    async def discard(self) -> None:
        """Reads on for a moment after an early answer.

        NOTE: closing a socket that has unread bytes resets the connection, and the sender may then never see
        why it was refused.
        """
        discarded_bytes = 0
        try:
            async with asyncio.timeout(_DISCARD_S_MAX):
                while not self.complete and discarded_bytes < _DISCARD_BYTES_MAX:
                    discarded_bytes += len(await self._next())
        except (TimeoutError, InvalidInput):
            return


def _too_large(bytes_max: int) -> TooLarge:
    return TooLarge(f"The body is over {bytes_max} bytes: send fewer events in one request, or smaller ones.")
