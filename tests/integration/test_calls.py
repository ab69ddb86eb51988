"""Calls over real sockets: answers, errors and misses reach the caller as what they are."""

import asyncio
import os
import threading
import time
from concurrent.futures import Future

import pytest
from protocol_kit import MakeWire, Serve, answering, pong

from jobico import limits
from jobico.errors import (
    DeadlineExceeded,
    Internal,
    NodeUnavailable,
    NotFound,
    ProtocolError,
    QuotaExceeded,
)
from jobico.settings import Settings
from protocol.aio import AsyncClient
from protocol.client import Client
from protocol.messages import (
    ArtifactContent,
    GetArtifact,
    GetTotals,
    ListNodes,
    ListTenants,
    Nodes,
    Ping,
    Pong,
    Tenants,
    Totals,
)
from protocol.server import Reactor
from protocol.sockets import endpoint


def test_a_call_is_answered_by_the_handler_of_its_type(
    settings: Settings, make_wire: MakeWire, serve: Serve
) -> None:
    at = endpoint(settings, "control", "rep")
    serve(make_wire(settings), answering({Ping: pong, ListNodes: lambda *_: Nodes(items=())}, at))
    client = Client(make_wire(settings), "test")
    assert client.call(at, Ping()) == Pong(node="local:", ready=True)
    assert client.call(at, ListNodes()) == Nodes(items=())
    client.close()


def test_an_error_of_the_handler_is_raised_at_the_caller_with_its_detail(
    settings: Settings, make_wire: MakeWire, serve: Serve
) -> None:
    def over_quota(*_: object) -> Tenants:
        raise QuotaExceeded("Too many.", retry_after_s=2.5, detail={"events": 7})

    def no_fit_for_a_message(*_: object) -> Totals:
        raise NotFound("Gone.", detail={"why": object()})

    at = endpoint(settings, "control", "rep")
    serve(make_wire(settings), answering({ListTenants: over_quota, GetTotals: no_fit_for_a_message}, at))
    client = Client(make_wire(settings), "test")
    with pytest.raises(QuotaExceeded, match="Too many") as caught:
        client.call(at, ListTenants())
    assert caught.value.retry_after_s == 2.5
    assert caught.value.detail["events"] == 7
    with pytest.raises(NotFound, match="Gone"):
        client.call(at, GetTotals())
    client.close()


def test_a_fault_of_the_handler_is_internal_tells_nothing_and_ends_nothing(
    settings: Settings, make_wire: MakeWire, serve: Serve
) -> None:
    def fault(*_: object) -> Tenants:
        raise ZeroDivisionError("the password is s3cret")

    at = endpoint(settings, "control", "rep")
    serve(make_wire(settings), answering({ListTenants: fault, Ping: pong}, at))
    client = Client(make_wire(settings), "test")
    with pytest.raises(Internal) as caught:
        client.call(at, ListTenants())
    assert "s3cret" not in str(caught.value)
    assert client.call(at, Ping()).ready
    client.close()


def test_a_request_that_the_socket_does_not_take_is_refused(
    settings: Settings, make_wire: MakeWire, serve: Serve
) -> None:
    at = endpoint(settings, "control", "rep")
    reactor = serve(make_wire(settings), answering({Ping: pong}, at))
    client = Client(make_wire(settings), "test")
    with pytest.raises(ProtocolError, match=r"takes no tenant\.list"):
        client.call(at, ListTenants())
    assert reactor.refused == 1
    client.close()


def test_an_answer_that_takes_long_holds_back_no_other(
    settings: Settings, make_wire: MakeWire, serve: Serve
) -> None:
    slow: Future[Nodes] = Future()
    at = endpoint(settings, "repository", "rep")
    serve(make_wire(settings), answering({Ping: pong, ListNodes: lambda *_: slow}, at))
    answers: list[object] = []
    waiting = Client(make_wire(settings), "waiting")
    thread = threading.Thread(target=lambda: answers.append(waiting.call(at, ListNodes())))
    thread.start()
    quick = Client(make_wire(settings), "quick")
    for _ in range(20):
        quick.call(at, Ping())
    assert not answers
    slow.set_result(Nodes(items=()))
    thread.join(5)
    assert answers == [Nodes(items=())]
    quick.close()
    waiting.close()


def test_a_call_that_nobody_takes_was_not_carried_out(settings: Settings, make_wire: MakeWire) -> None:
    client = Client(make_wire(settings), "test")
    begun_s = time.monotonic()
    with pytest.raises(NodeUnavailable, match="Nobody answers"):
        client.call(endpoint(settings, "control", "rep"), Ping(), timeout_ms=150)
    assert 0.1 < time.monotonic() - begun_s < 1.0
    client.close()


def test_a_call_without_an_answer_ends_at_its_deadline_and_the_next_one_works(
    settings: Settings, make_wire: MakeWire, serve: Serve
) -> None:
    never: Future[Nodes] = Future()
    at = endpoint(settings, "control", "rep")
    serve(make_wire(settings), answering({Ping: pong, ListNodes: lambda *_: never}, at))
    client = Client(make_wire(settings), "test")
    for _ in range(3):
        with pytest.raises(DeadlineExceeded, match=r"node\.list within 80 ms"):
            client.call(at, ListNodes(), timeout_ms=80)
        assert client.call(at, Ping()).ready
    client.close()


def test_a_late_answer_is_never_taken_for_that_of_the_next_call(
    settings: Settings, make_wire: MakeWire, serve: Serve
) -> None:
    late: Future[Nodes] = Future()
    at = endpoint(settings, "control", "rep")
    serve(make_wire(settings), answering({Ping: pong, ListNodes: lambda *_: late}, at))

    async def calls() -> None:
        client = AsyncClient(make_wire(settings), "test")
        with pytest.raises(DeadlineExceeded):
            await client.call(at, ListNodes(), timeout_ms=50)
        late.set_result(Nodes(items=()))
        for _ in range(5):
            assert (await client.call(at, Ping())).ready
        client.close()

    asyncio.run(calls())


def test_a_client_finds_a_server_that_comes_back(settings: Settings, make_wire: MakeWire) -> None:
    at = endpoint(settings, "control", "rep")
    client = Client(make_wire(settings), "test")
    for _ in range(3):
        wire = make_wire(settings)
        reactor = Reactor(wire)
        reactor.on_request(wire.rep(at), {Ping: pong})
        thread = threading.Thread(target=reactor.run)
        thread.start()
        assert client.call(at, Ping()).ready
        reactor.stop()
        thread.join(5)
        wire.close()
    client.close()


def test_a_stopping_reactor_answers_what_is_under_way(
    settings: Settings, make_wire: MakeWire, serve: Serve
) -> None:
    answer: Future[Nodes] = Future()
    begun = threading.Event()

    def slow(*_: object) -> Future[Nodes]:
        begun.set()
        return answer

    at = endpoint(settings, "control", "rep")
    reactor = serve(make_wire(settings), answering({ListNodes: slow}, at))
    answers: list[object] = []
    client = Client(make_wire(settings), "test")
    thread = threading.Thread(target=lambda: answers.append(client.call(at, ListNodes())))
    thread.start()
    assert begun.wait(5)
    reactor.stop(drain_ms=5_000)
    answer.set_result(Nodes(items=()))
    thread.join(5)
    assert answers == [Nodes(items=())]
    client.close()


def test_a_large_upload_passes_where_the_socket_allows_it_and_only_there(
    settings: Settings, make_wire: MakeWire, serve: Serve
) -> None:
    content = os.urandom(limits.MESSAGE_BYTES_MAX + 1)
    at = endpoint(settings, "repository", "rep")
    serve(make_wire(settings), answering({GetArtifact: lambda *_: ArtifactContent(content=content)}, at))
    client = Client(make_wire(settings), "test")
    assert client.call(at, GetArtifact(digest="d")).content == content
    client.close()
