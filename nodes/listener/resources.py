"""The routes of the listener over HTTP, one class each; thin: they read a request, ask, and write an answer.

PERF: no Falcon media handler, hook or middleware is on the way of a POST; the answer's bytes are made here.
"""

import time
from typing import Final

import falcon
import msgspec
from falcon.asgi import Request, Response

from jobico.errors import Conflict, InvalidInput, NotFound, UnsupportedMedia
from jobico.event import EventStatus
from jobico.ids import parse_event_id
from nodes.listener import openapi, problems
from nodes.listener.body import RequestBody
from nodes.listener.cloudevents import is_json, mode_of, read_message
from nodes.listener.intake import Accepted, Intake, Sender
from nodes.listener.query import parse_idempotency_key, parse_post_query
from nodes.listener.service import Service
from nodes.metrics import CONTENT_TYPE

__all__ = ["SCOPE_BODY", "Events", "Health", "Metrics", "OpenApi", "Ready", "add_routes", "answer_problem"]

SCOPE_BODY: Final = "jobico.body"
"""Where the ASGI scope has the `RequestBody`."""

_JSON: Final = "application/json"
_encode: Final = msgspec.json.Encoder().encode


def answer_problem(response: Response, problem: problems.Problem) -> None:
    """Writes a problem document as the answer."""
    response.status = problem.status
    response.content_type = problems.MEDIA_TYPE
    response.data = problem.body
    for name, value in problem.headers:
        response.set_header(name, value)


class Events:
    """`POST /events/{tenant}/{event}` takes events; `GET`, `DELETE /events/{tenant}/{id}` are about one."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._intake: Intake = service.intake

    async def on_post(self, request: Request, response: Response, tenant: str, name: str) -> None:
        """Stores one event or a batch; answers 202, or with `wait` 200 when the outcome came in time."""
        begun_s = time.perf_counter()
        body: RequestBody = request.scope[SCOPE_BODY]
        header = request.get_header
        sender = Sender(header("authorization"), lambda: request.headers_lower, body.read)
        admission = await self._intake.admit(tenant, name, sender)
        mode = mode_of(request.content_type, header("ce-specversion"))
        _check_media(request.content_type, header("content-encoding"))
        query = parse_post_query(request.params)
        idempotency_key = parse_idempotency_key(header("idempotency-key"))
        content = await body.read()
        if mode is None:
            accepted = await self._intake.take(admission, content, query, idempotency_key)
        else:
            message = read_message(mode, request.headers_lower, content)
            accepted = await self._intake.take_cloud_events(admission, message, content, query)
        self._service.metrics.accepted(len(accepted.ids), time.perf_counter() - begun_s)
        if query.wait_ms and (status := await self._service.wait(accepted.ids[0], query.wait_ms)) is not None:
            _answer_status(response, status)
            return
        response.status = 202
        response.content_type = _JSON
        response.data = _accepted_bytes(tenant, accepted)
        if not accepted.fresh:
            response.set_header("idempotency-replayed", "true")

    async def on_get(self, request: Request, response: Response, tenant: str, name: str) -> None:
        """Tells how an event is doing."""
        self._intake.reader(tenant, request.get_header("authorization"))
        _answer_status(response, await self._service.status(tenant, _event_id(name)))

    async def on_delete(self, request: Request, response: Response, tenant: str, name: str) -> None:
        """Withdraws an event that has not ended."""
        self._intake.canceller(tenant, request.get_header("authorization"))
        try:
            await self._service.cancel(tenant, _event_id(name))
        except Conflict as error:
            answer_problem(response, problems.problem("ended", error.message))
            return
        response.status = 204


class Health:
    """`GET /healthz`: the process turns."""

    async def on_get(self, _request: Request, response: Response) -> None:
        """Answers."""
        response.content_type = _JSON
        response.data = b'{"status":"ok"}'


class Ready:
    """`GET /readyz`: events can be taken now."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def on_get(self, _request: Request, response: Response) -> None:
        """Answers 200, or 503 with the reason."""
        reason = self._service.unready_reason()
        if reason:
            answer_problem(response, problems.problem("node-unavailable", reason))
            return
        response.content_type = _JSON
        response.data = b'{"status":"ready"}'


class Metrics:
    """`GET /metrics`: counts and times for Prometheus; nothing in it names a tenant."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def on_get(self, _request: Request, response: Response) -> None:
        """Answers in Prometheus' text format."""
        response.content_type = CONTENT_TYPE
        response.data = self._service.metrics.text()


class OpenApi:
    """`GET /openapi.json`: this interface; with a tenant's key, its events and their schemas."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def on_get(self, request: Request, response: Response) -> None:
        """Answers with an OpenAPI 3.1 document."""
        info = self._service.intake.key_of(request.get_header("authorization"))
        events = self._service.schemas_of(info.tenant) if info is not None else {}
        response.content_type = _JSON
        response.data = _encode(openapi.document(self._service.url, info.tenant if info else "", events))


def _event_id(text: str) -> str:
    try:
        return parse_event_id(text)
    except InvalidInput:
        raise NotFound("There is no such event, or it is not yours.") from None


def _answer_status(response: Response, status: EventStatus) -> None:
    response.status = 200
    response.content_type = _JSON
    response.data = _encode(status)


def _accepted_bytes(tenant: str, accepted: Accepted) -> bytes:
    # PERF: ids and names have no character that JSON or a URL would escape, so the answer is joined as text.
    if accepted.batch:
        return ('{"ids":["' + '","'.join(accepted.ids) + '"]}').encode()
    event_id = accepted.ids[0]
    return f'{{"id":"{event_id}","status_url":"/events/{tenant}/{event_id}"}}'.encode()


def _check_media(content_type: str | None, content_encoding: str | None) -> None:
    """Lets JSON in UTF-8 pass, not compressed.

    SECURITY: a compressed body could be a thousand times its size once read; and a type that a browser sends
    to other sites without asking (form, text/plain) is refused.

    Raises:
        UnsupportedMedia: it is something else.
    """
    if content_type != _JSON:
        parameters = (content_type or "").partition(";")[2]
        charset = parameters.strip().lower().removeprefix("charset=").strip('"')
        if not is_json(content_type or ""):
            raise UnsupportedMedia("Send JSON, with 'Content-Type: application/json'.")
        if parameters.strip().lower().startswith("charset=") and charset not in ("utf-8", "utf8"):
            raise UnsupportedMedia("Send JSON in UTF-8; there is no other charset for it.")
    if content_encoding is not None and content_encoding.strip().lower() not in ("", "identity"):
        raise UnsupportedMedia("Send the body as it is, without Content-Encoding.")


def add_routes(app: "falcon.asgi.App[Request, Response]", service: Service) -> None:
    """Puts every route into the application."""
    app.add_route("/events/{tenant}/{name}", Events(service))
    app.add_route("/healthz", Health())
    app.add_route("/readyz", Ready(service))
    app.add_route("/metrics", Metrics(service))
    app.add_route("/openapi.json", OpenApi(service))
