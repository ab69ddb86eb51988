"""The protocol on an asyncio loop: many calls at once, and no wake-up is ever lost."""

import asyncio
import threading
import time

import pytest
from protocol_kit import MakeWire

from jobico.errors import (
    NodeUnavailable,
    NotFound,
    ProtocolError,
)
from jobico.settings import Settings
from protocol.aio import AsyncClient, AsyncServer
from protocol.authorisation import Caller
from protocol.messages import (
    Ping,
    Pong,
    ShowTenant,
    Tenant,
    TenantInfo,
)
from protocol.sockets import endpoint, watch


def test_many_calls_at_once_on_asyncio_each_get_their_own_answer(
    settings: Settings, make_wire: MakeWire
) -> None:
    async def show(message: ShowTenant, _caller: Caller) -> Tenant:
        number = int(message.name)
        await asyncio.sleep(0.001 * (number % 7))
        if number % 5 == 0:
            raise NotFound(f"There is no {number}.")
        return Tenant(tenant=TenantInfo(name=message.name, created_ms=number))

    async def calls() -> None:
        at = endpoint(settings, "listener", "rep")
        wire = make_wire(settings)
        server = AsyncServer(wire, wire.rep(at), {ShowTenant: show})
        client = AsyncClient(make_wire(settings), "test")
        wanted = (client.call(at, ShowTenant(name=str(number))) for number in range(100))
        answers = await asyncio.gather(*wanted, return_exceptions=True)
        for number, answer in enumerate(answers):
            if isinstance(answer, NotFound):
                assert answer.message == f"There is no {number}."
            else:
                assert isinstance(answer, Tenant)
                assert answer.tenant.created_ms == number
        assert sum(isinstance(answer, NotFound) for answer in answers) == 20
        client.close()
        await server.close()

    asyncio.run(calls())


def test_an_answer_of_another_type_than_the_requests_is_refused(
    settings: Settings, make_wire: MakeWire
) -> None:
    async def wrong(_message: ShowTenant, _caller: Caller) -> Pong:
        return Pong(node="x", ready=True)

    async def calls() -> None:
        at = endpoint(settings, "listener", "rep")
        wire = make_wire(settings)
        server = AsyncServer(wire, wire.rep(at), {ShowTenant: wrong})
        client = AsyncClient(make_wire(settings), "test")
        with pytest.raises(ProtocolError, match="is a pong"):
            await client.call(at, ShowTenant(name="1"))
        client.close()
        await server.close()

    asyncio.run(calls())


def test_two_hundred_calls_at_once_take_as_long_as_the_slowest(
    settings: Settings, make_wire: MakeWire
) -> None:
    async def slow(_message: Ping, _caller: Caller) -> Pong:
        await asyncio.sleep(0.1)
        return Pong(node="l", ready=True)

    async def calls() -> None:
        at = endpoint(settings, "listener", "rep")
        wire = make_wire(settings)
        server = AsyncServer(wire, wire.rep(at), {Ping: slow})
        client = AsyncClient(make_wire(settings), "test")
        begun_s = time.monotonic()
        assert len(await asyncio.gather(*(client.call(at, Ping()) for _ in range(200)))) == 200
        assert time.monotonic() - begun_s < 3
        client.close()
        await server.close()

    asyncio.run(calls())


def test_an_asyncio_call_that_nobody_takes_was_not_carried_out(
    settings: Settings, make_wire: MakeWire
) -> None:
    async def calls() -> None:
        client = AsyncClient(make_wire(settings), "test")
        with pytest.raises(NodeUnavailable):
            await client.call(endpoint(settings, "control", "rep"), Ping(), timeout_ms=100)
        client.close()

    asyncio.run(calls())


def test_a_watched_socket_misses_no_message_however_they_come(
    settings: Settings, make_wire: MakeWire
) -> None:
    """Bursts, pauses, and sends on the same loop between them: the edge of the descriptor is never lost."""
    count = 3_000

    async def listen() -> None:
        at = endpoint(settings, "listener", "settlements")
        pull = make_wire(settings).pull(at)
        got: list[int] = []
        whole = asyncio.Event()

        def received(frames: list[bytes]) -> None:
            got.append(int(frames[0]))
            if len(got) == count:
                whole.set()

        watching = watch(asyncio.get_running_loop(), pull, received)
        wire = make_wire(settings)

        def send() -> None:
            push = wire.push(at)
            for number in range(count):
                push.send(str(number).encode())
                if number % 97 == 0:
                    time.sleep(0.001)
            push.close(linger=5_000)

        thread = threading.Thread(target=send)
        thread.start()
        await asyncio.wait_for(whole.wait(), 20)
        thread.join()
        assert got == list(range(count))
        watching.close()

    asyncio.run(listen())


def test_a_watch_goes_on_after_a_handler_failed(settings: Settings, make_wire: MakeWire) -> None:
    async def listen() -> None:
        loop = asyncio.get_running_loop()
        faults: list[object] = []
        loop.set_exception_handler(lambda _, context: faults.append(context["exception"]))
        at = endpoint(settings, "listener", "settlements")
        pull = make_wire(settings).pull(at)
        got: list[bytes] = []
        whole = asyncio.Event()

        def received(frames: list[bytes]) -> None:
            if frames[0] == b"1":
                raise ZeroDivisionError
            got.append(frames[0])
            if len(got) == 3:
                whole.set()

        watching = watch(loop, pull, received)
        push = make_wire(settings).push(at)
        for part in (b"0", b"1", b"2", b"3"):
            push.send(part)
        await asyncio.wait_for(whole.wait(), 5)
        assert got == [b"0", b"2", b"3"]
        assert len(faults) == 1
        watching.close()
        push.close(linger=0)

    asyncio.run(listen())


def test_a_watched_push_says_when_it_can_send_again(settings: Settings, make_wire: MakeWire) -> None:
    async def send() -> None:
        at = endpoint(settings, "executor-0", "deliveries")
        push = make_wire(settings).push(at)
        writable = asyncio.Event()
        watching = watch(asyncio.get_running_loop(), push, on_writable=writable.set)
        assert not watching.send([b"nobody is there yet"])
        pull = make_wire(settings).pull(at)
        await asyncio.wait_for(writable.wait(), 5)
        assert watching.send([b"hello"])
        assert await asyncio.to_thread(pull.poll, 5_000)
        assert pull.recv() == b"hello"
        watching.close()
        push.close(linger=0)

    asyncio.run(send())


def test_an_idle_watch_costs_no_turns_of_the_loop(settings: Settings, make_wire: MakeWire) -> None:
    async def idle() -> None:
        wire = make_wire(settings)
        at = endpoint(settings, "executor-0", "deliveries")
        pull = wire.pull(at)
        push = make_wire(settings).push(at)
        loop = asyncio.get_running_loop()
        watching = [watch(loop, pull, lambda _: None), watch(loop, push)]
        await asyncio.sleep(0.2)
        spent_s = time.thread_time()
        await asyncio.sleep(0.3)
        assert time.thread_time() - spent_s < 0.05
        for one in watching:
            one.close()
        push.close(linger=0)

    asyncio.run(idle())
