"""Pieces of work for a writer, and what they see of the transaction they run in.

Never touches a store: `Writer` runs ops, and each store has its own `Session`.
"""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from jobico.errors import JobicoError
from jobico.storage.transaction import Txn

__all__ = ["Op", "Refused", "S", "Session"]


class Session:
    """What ops see of one transaction; a store's own kind has its verbs."""

    def __init__(self, txn: Txn) -> None:
        self.txn = txn

    def finish(self) -> None:
        """Writes what was put off; called once, before the commit."""

    def committed(self) -> None:
        """Takes over what became true with the commit; called once, after the sync."""


S = TypeVar("S", bound=Session)
"""The kind of session that the ops of a store run in."""


class Refused:
    """The result of an op that found, before it wrote anything, that it must fail with `error`."""

    __slots__ = ("error",)

    def __init__(self, error: JobicoError) -> None:
        self.error = error


class Op(Generic[S]):
    """A piece of work for one transaction and, once `done`, what came of it.

    Attributes:
        growth: True where it may not use the reserve.
        size_bytes: About how much it stores, to bound a transaction.
    """

    __slots__ = ("done", "error", "future", "growth", "result", "run", "size_bytes")

    def __init__(
        self,
        run: Callable[[S], Any],
        *,
        growth: bool = True,
        size_bytes: int = 0,
        future: "Future[Any] | None" = None,
    ) -> None:
        self.run = run
        self.growth = growth
        self.size_bytes = size_bytes
        self.future = future
        self.result: Any = None
        self.error: JobicoError | None = None
        self.done = False

    def fail(self, error: JobicoError) -> None:
        """Marks it as done, in vain."""
        self.result = None
        self.error = error
        self.done = True
