"""The listener's ASGI application: Falcon inside, and around it what must hold before and after any route.

It owns the outermost bounds of a request (declared size, first byte) and the answer to every error; the
routes are in `resources`, what they ask is in `intake` and `service`.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import falcon
import falcon.asgi
from falcon.asgi import Request, Response

from jobico import limits
from jobico.errors import JobicoError, Unauthenticated
from jobico.logs import Action, get_logger
from jobico.settings import Settings
from nodes.listener.body import BodyBudget, RequestBody, declared_bytes
from nodes.listener.problems import MEDIA_TYPE, STATUSES, Problem, problem, problem_of
from nodes.listener.resources import SCOPE_BODY, add_routes, answer_problem
from nodes.listener.service import Service

__all__ = ["Edge", "create_app"]

Scope = dict[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]

_TOO_LARGE: Final = problem("too-large", f"The body is over {limits.BODY_BYTES_MAX} bytes.")
_NO_ROUTE: Final = problem("not-found", "A name has no slash in it, escaped or not.")
_LATE: Final = problem("timeout", "The body did not begin in time.")
_REFUSALS_LOGGED_PER_S: Final = 20
_BY_STATUS: Final = {404: "not-found", 405: "method-not-allowed"}
"""The problems that Falcon itself finds; any other is a malformed request."""


def create_app(settings: Settings, url: str) -> "Edge":
    """The application of a node that is served at `url`; it does nothing before `start`."""
    return Edge(Service(settings, url))


class Edge:
    """What the worker calls: an ASGI application with a life."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._budget = BodyBudget()
        self._refusals = _Sampled(_REFUSALS_LOGGED_PER_S)
        self._falcon = falcon.asgi.App()
        self._falcon.req_options.strip_url_path_trailing_slash = False
        self._falcon.req_options.auto_parse_qs_csv = False
        self._falcon.req_options.keep_blank_qs_values = True
        self._falcon.add_error_handler(JobicoError, self._answer_error)
        self._falcon.add_error_handler(falcon.HTTPError, self._answer_http_error)
        self._falcon.add_error_handler(Exception, self._answer_fault)
        add_routes(self._falcon, service)

    async def start(self, stop: Callable[[], None]) -> None:
        """Starts the node, on the loop that serves; `stop` is called there when a part of it has died."""
        await self.service.start(stop)

    @property
    def failed(self) -> bool:
        """True where it stops because a part of it has died."""
        return self.service.failed

    def begin_drain(self) -> None:
        """Answers those who wait for an outcome now, and says that it is not ready."""
        self.service.begin_drain()

    async def stop(self) -> None:
        """Drains and closes the node."""
        await self.service.stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            return
        raw_path: bytes = scope["raw_path"]
        if b"%" in raw_path and b"%2f" in raw_path.lower():
            # SECURITY: once decoded it would be another route than the one that a proxy in front has judged.
            await self._refuse(send, _NO_ROUTE)
            return
        body = RequestBody(receive, self._budget)
        if declared_bytes(scope["headers"]) > limits.BODY_BYTES_MAX:
            # NOTE: before the first receive, which has `100 Continue` sent to a sender that waits for it.
            await self._refuse(send, _TOO_LARGE)
            await body.discard()
            return
        if not await body.begin():
            await self._refuse(send, _LATE)
            return
        scope[SCOPE_BODY] = body
        answered = self.service.metrics.answered

        async def send_counted(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                answered(message["status"])
                if not body.complete:
                    message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        await self._falcon(scope, body.receive, send_counted)
        if not body.complete:
            await body.discard()

    async def _refuse(self, send: Send, answer: Problem) -> None:
        self.service.metrics.answered(answer.status)
        headers: Sequence[tuple[bytes, bytes]] = (
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(answer.body)).encode()),
            (b"connection", b"close"),
        )
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer_error(
        self, request: Request, response: Response, error: JobicoError, _params: Any
    ) -> None:
        answer = problem_of(error)
        answer_problem(response, answer)
        if answer.status >= 500:
            get_logger().error(
                error.message,
                action=Action.REQUEST_FAILED,
                code=error.code,
                path=request.path,
                status=answer.status,
            )
        else:
            self._log_refusal(request, error, answer.status)

    async def _answer_http_error(
        self, request: Request, response: Response, error: falcon.HTTPError, _params: Any
    ) -> None:
        code = _BY_STATUS.get(error.status_code, "invalid-input")
        detail = error.description or "See /openapi.json for what there is."
        answer_problem(
            response, problem(code, detail, status=error.status_code if code != "invalid-input" else 400)
        )
        for name, value in (error.headers or {}).items() if isinstance(error.headers, dict) else ():
            response.set_header(name, value)

    async def _answer_fault(
        self, request: Request, response: Response, error: Exception, _params: Any
    ) -> None:
        get_logger().error("request failed", action=Action.REQUEST_FAILED, path=request.path, exc_info=error)
        answer_problem(
            response, problem("internal", "The fault is logged; the same request may go through later.")
        )

    def _log_refusal(self, request: Request, error: JobicoError, status: int) -> None:
        skipped = self._refusals.due(time.monotonic())
        if skipped is None:
            return
        unknown = isinstance(error, Unauthenticated)
        get_logger().info(
            "request refused",
            action=Action.AUTHENTICATION_FAILED if unknown else Action.REQUEST,
            method=request.method, path=request.path, status=status, code=error.code,
            why=error.detail.get("why", ""), more_not_logged=skipped,
        )  # fmt: skip


class _Sampled:
    """Lets so many a second pass: a flood of bad requests must not become a flood of log lines."""

    def __init__(self, per_s: int) -> None:
        self._per_s = per_s
        self._second = 0
        self._passed = 0
        self._skipped = 0

    def due(self, now_s: float) -> int | None:
        """How many were skipped since the last that passed; None where this one is skipped too."""
        if int(now_s) != self._second:
            self._second, self._passed = int(now_s), 0
        if self._passed >= self._per_s:
            self._skipped += 1
            return None
        self._passed += 1
        skipped, self._skipped = self._skipped, 0
        return skipped


assert set(_BY_STATUS.values()) <= STATUSES.keys()
