"""The gunicorn worker of the listener: what gunicorn's own leaves open to a hostile or slow sender.

It owns connections: how many, how long one may take to say what it wants, what an unreadable request is
answered, and how they end when the node is told to stop. It knows nothing of events.
"""

import asyncio
import gc
import os
import signal
from typing import Any, Final, cast

from gunicorn.arbiter import Arbiter
from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.workers.gasgi import ASGIWorker

from jobico import limits
from nodes.listener.problems import MEDIA_TYPE, Problem, problem

__all__ = ["IntakeProtocol", "ListenerWorker"]

_UNREADABLE: Final = {
    414: problem("too-large", "The request line is too long.", status=414),
    431: problem("headers-too-large", "The headers are too many or too long."),
    500: problem("internal", "The fault is logged; the same request may go through later."),
    501: problem("not-implemented", "The transfer coding is not known here; chunked alone is."),
}
_BAD_REQUEST: Final = problem("invalid-input", "The request is not well-formed HTTP/1.1.")
_CROWDED: Final = problem("node-unavailable", "Too many connections are open; try again.")
_REASONS: Final = {
    400: "Bad Request", 414: "URI Too Long", 431: "Request Header Fields Too Large",
    500: "Internal Server Error", 501: "Not Implemented", 503: "Service Unavailable",
}  # fmt: skip


_END_ALL: Final = Arbiter.WORKER_BOOT_ERROR
"""The status with which the master ends too: the supervisor decides about another try."""

_GC_YOUNG_MAX: Final = 50_000
_GC_MIDDLE_MAX: Final = 20
_GC_OLD_MAX: Final = 50
_TICK_S: Final = 1.0
_DRAIN_POLL_S: Final = 0.02


def _response(answer: Problem) -> bytes:
    extra = "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
    head = (
        f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}\r\nContent-Type: {MEDIA_TYPE}\r\n"
        f"Content-Length: {len(answer.body)}\r\n{extra}Connection: close\r\n\r\n"
    )
    return head.encode("latin-1") + answer.body


def _tune_gc() -> None:
    """Has the collector of cycles run less often, and not look at what the imports have made.

    PERF: a hundred thousand queued events are looked through again and again by a collector that finds
    nothing: 75 µs of CPU an event in the dispatcher with Python's thresholds, 62 with these (batches of 100).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_YOUNG_MAX, _GC_MIDDLE_MAX, _GC_OLD_MAX)


class IntakeProtocol(ASGIProtocol):  # type: ignore[misc]
    """One connection. gunicorn parses and frames; the bounds it does not have are here."""

    def __init__(self, worker: "ListenerWorker") -> None:
        super().__init__(worker)
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Gives the connection a deadline for its first headers; past the bound one that waits makes room.

        NOTE: were new ones refused instead, whoever opens many and sends nothing would shut everybody out.
        """
        worker = self.worker
        if worker.nr_conns >= limits.CONNECTIONS_MAX and not worker.make_room():
            worker.nr_conns += 1  # connection_lost takes it back
            self.transport, self._closed = transport, True
            cast("asyncio.Transport", transport).write(_response(_CROWDED))
            transport.close()
            return
        super().connection_made(transport)
        worker.connections[self] = None
        # NOTE: gunicorn has no bound on the first headers; its timer between requests bounds all later ones.
        self._keepalive_handle = worker.loop.call_later(limits.HEAD_MS_MAX / 1_000, self._keepalive_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the connection."""
        self.worker.connections.pop(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bounds the bytes of headers that are not complete yet."""
        if self._closed:
            return
        super().data_received(data)
        if self._current_request is not None:
            self._head_bytes = 0
            return
        self._head_bytes += len(data)
        if self._head_bytes > limits.HEAD_BYTES_MAX and not self._closed:
            self._send_error_response(431, "")
            self._close_transport()
            self._request_ready.set()

    def close_if_idle(self) -> bool:
        """Closes the connection unless a request is being served on it; tells whether it did."""
        idle = self._awaiting_request and not self._finishing_calls and not self._closed
        if idle:
            self._keepalive_timeout()
        return bool(idle)

    def close_if_owed(self) -> bool:
        """Closes the connection if its sender owes us the rest of a body; tells whether it did."""
        receiver = self._body_receiver
        # NOTE: gunicorn's protocol looks at these too; nothing public tells.
        owed = receiver is not None and receiver._waiter is not None and not receiver._complete  # noqa: SLF001
        if owed and not self._closed:
            self._close_transport()
            return True
        return False

    async def _serve_http_request(self, request: Any, sockname: Any, peername: Any) -> bool:
        # PERF: gunicorn gives each request a task, for applications that go on after their answer. Ours does
        # not, so the task of the connection serves it: 20 to 50 µs less for each request.
        keepalive: bool = await self._handle_http_request(request, sockname, peername)
        return keepalive

    def _is_websocket_upgrade(self, request: Any) -> bool:
        return False

    def _send_error_response(self, status: int, message: str, extra_headers: Any = ()) -> None:
        # SECURITY: gunicorn's message quotes the request; what cannot be read is not repeated.
        self._safe_write(_response(_UNREADABLE.get(status, _BAD_REQUEST)))


class ListenerWorker(ASGIWorker):  # type: ignore[misc]
    """The one worker. SIGTERM and SIGINT both mean: take no more, finish what is under way, stop.

    `asgi` is a `nodes.listener.app.Edge`: it is started and stopped here and not by ASGI's lifespan messages,
    which gunicorn gives 30 s, and a large queue may take longer than that to recover.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.connections: dict[IntakeProtocol, None] = {}  # oldest first
        self._stopping = asyncio.Event()

    def load_wsgi(self) -> None:
        """Builds the application, which learns here at what address it is served."""
        self.asgi = self.app.load_on(self.sockets[0].sock.getsockname())

    def init_signals(self) -> None:
        """Has the loop handle signals; SIGHUP is for the master."""
        super().init_signals()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def handle_exit_signal(self) -> None:
        """SIGTERM."""
        self.alive = False  # from now on answers say `Connection: close`
        self._stopping.set()

    def handle_quit_signal(self) -> None:
        """SIGINT and SIGQUIT."""
        self.handle_exit_signal()

    def make_room(self) -> bool:
        """Closes the connection that has been open longest of those that wait for their sender.

        Idle ones go first, then those whose body has not come; False where all are served just now.
        """
        connections = tuple(self.connections)
        return any(connection.close_if_idle() for connection in connections) or any(
            connection.close_if_owed() for connection in connections
        )

    async def _serve(self) -> None:
        ticking = asyncio.create_task(self._tick())
        try:
            await self.asgi.start(self.handle_exit_signal)
        except Exception:
            self.log.exception("The listener cannot start.")
            raise SystemExit(_END_ALL) from None
        _tune_gc()
        server = await self.loop.create_server(
            lambda: IntakeProtocol(self), sock=self.sockets[0].sock, backlog=self.cfg.backlog
        )
        self.servers.append(server)
        await self._stopping.wait()
        await self._shutdown()
        ticking.cancel()
        if self.asgi.failed:
            raise SystemExit(_END_ALL)

    async def _tick(self) -> None:
        while True:
            self.notify()  # the master ends a worker that does not say so in time
            if self.ppid != os.getppid():
                self.handle_exit_signal()
            await asyncio.sleep(_TICK_S)

    async def _shutdown(self) -> None:
        self.servers[0].close()
        self.asgi.begin_drain()
        for connection in tuple(self.connections):
            connection.close_if_idle()
        deadline_s = self.loop.time() + self.app.settings.drain_ms / 1_000
        while self.nr_conns and self.loop.time() < deadline_s:
            await asyncio.sleep(_DRAIN_POLL_S)
        await self.asgi.stop()
