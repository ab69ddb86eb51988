"""How control changes its state: one transaction a request, audited, published after it is on disk.

It owns the order of what is published: that of the sequence numbers, which is that of the commits. What a
change means is up to the handlers, one file a noun beside this one.
"""

import hashlib
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

import msgspec

from jobico.clock import Clock
from jobico.storage.catalog import Catalog, CatalogChange, CatalogEdit, Update
from protocol.authorisation import Caller
from protocol.messages import Message

__all__ = ["Changes"]

_ReplyT = TypeVar("_ReplyT", bound=Message)
_T = TypeVar("_T")


class Changes:
    """Carries out requests that change something.

    Args:
        catalog: What is changed.
        clock: Stamps the audit log.
        publish: Given what each transaction changed, in order, in the thread of the catalog's writer.
    """

    def __init__(
        self, catalog: Catalog, clock: Clock, publish: Callable[[tuple[CatalogChange, ...]], None]
    ) -> None:
        self._catalog = catalog
        self._clock = clock
        self._publish = publish

    def request(
        self,
        message: Message,
        caller: Caller,
        op: Callable[[CatalogEdit], _ReplyT],
        reply: type[_ReplyT],
        *,
        urgent: bool = False,
    ) -> "Future[_ReplyT]":
        """Carries out a request; a repeat of its request id is given the first answer.

        Args:
            message: The request; it has a `request_id`.
            caller: Who asks.
            op: Runs in the transaction, maybe more than once, and has no other effect; its errors undo all.
            reply: The type of what it returns.
            urgent: It must go through on a full disk: it revokes or deletes.
        """
        # SECURITY: the caller is part of the id, so that nobody is given the answer to another's request.
        request_id: str = getattr(message, "request_id", "")
        scope = "|".join((message.TYPE, caller.tenant, caller.key, request_id)) if request_id else ""
        scope = scope and hashlib.sha256(scope.encode()).hexdigest()

        def carry_out(edit: CatalogEdit) -> bytes:
            return msgspec.msgpack.encode(op(edit))

        def answer(content: bytes) -> _ReplyT:
            return msgspec.msgpack.decode(content, type=reply)

        return self._submit(carry_out, scope, answer, urgent=urgent)

    def change(self, op: Callable[[CatalogEdit], None]) -> "Future[None]":
        """Carries out a change that nobody asked for, such as a node that is lost."""

        def carry_out(edit: CatalogEdit) -> bytes:
            op(edit)
            return b""

        return self._submit(carry_out, "", lambda _content: None, urgent=True)

    def note(
        self,
        edit: CatalogEdit,
        message: Message,
        caller: Caller,
        subject: str,
        *,
        tenant: str = "",
        detail: str = "",
    ) -> None:
        """Puts the request into the audit log, in its own transaction."""
        edit.log(
            at_ms=self._clock.wall_ms(),
            role=caller.role,
            action=message.TYPE,
            subject=subject,
            tenant=tenant,
            key=caller.key,
            detail=detail,
        )

    def _submit(
        self,
        op: Callable[[CatalogEdit], bytes],
        request_id: str,
        answer: Callable[[bytes], _T],
        *,
        urgent: bool,
    ) -> "Future[_T]":
        done: Future[_T] = Future()

        def finish(update: "Future[Update]") -> None:
            error = update.exception()
            if error is not None:
                done.set_exception(error)
                return
            self._publish(update.result().changes)
            done.set_result(answer(update.result().reply))

        self._catalog.submit(op, request_id, urgent=urgent).add_done_callback(finish)
        return done
