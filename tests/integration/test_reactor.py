"""Messages, feeds and timers on the poll loop; nothing that comes in ends it."""

import asyncio
import threading
import time

from protocol_kit import MakeWire, Serve, until

from jobico.settings import Settings
from protocol import codec
from protocol.messages import (
    Done,
    Recorded,
    Records,
)
from protocol.publishing import Publisher
from protocol.server import Reactor
from protocol.sockets import Monitor, PeerEvent, endpoint, try_recv, try_send
from protocol.subscribing import AsyncSubscriber, Subscriber
from protocol.topics import feed_topic


def test_messages_are_handled_in_order_and_garbage_between_them_is_counted(
    settings: Settings, make_wire: MakeWire, serve: Serve
) -> None:
    got: list[int] = []
    at = endpoint(settings, "recorder", "records")

    def record(message: Records) -> None:
        got.append(message.first)
        if message.first == 3:
            raise ZeroDivisionError

    reactor = serve(make_wire(settings), lambda r: r.on_message(r.wire.pull(at), {Records: record}))
    push = make_wire(settings).push(at)
    for number in range(10):
        push.send_multipart(codec.encode(Records(listener="l", first=number, last=number, items=())))
        push.send_multipart([b"garbage"])
        push.send_multipart(codec.encode(Done()))
    until(lambda: len(got) == 10 and reactor.refused == 20)
    assert got == list(range(10))
    push.close(linger=0)


def test_a_push_takes_nothing_while_its_peer_is_away(settings: Settings, make_wire: MakeWire) -> None:
    at = endpoint(settings, "executor-0", "deliveries")
    push = make_wire(settings).push(at, linger_ms=0)
    assert not try_send(push, [b"nobody"])
    pull = make_wire(settings).pull(at)
    until(lambda: try_send(push, [b"somebody"]))
    until(lambda: try_recv(pull) == [b"somebody"])
    push.close()


def test_a_monitor_tells_that_the_peer_came_and_went(settings: Settings, make_wire: MakeWire) -> None:
    at = endpoint(settings, "executor-0", "deliveries")
    push = make_wire(settings).push(at, linger_ms=0)
    monitor = Monitor(push)
    events: list[PeerEvent] = []

    def told(count: int) -> bool:
        events.extend(monitor.read())
        return len(events) >= count

    for turn in (1, 2):
        wire = make_wire(settings)
        wire.pull(at)
        until(lambda: told(2 * turn - 1))  # noqa: B023
        wire.close()
        lost_s = time.monotonic()
        until(lambda: told(2 * turn))  # noqa: B023
        assert time.monotonic() - lost_s < 1
    assert events == [PeerEvent.CONNECTED, PeerEvent.DISCONNECTED] * 2
    monitor.close()
    push.close()


def test_a_subscriber_hears_its_topics_and_no_other(
    settings: Settings, make_wire: MakeWire, serve: Serve
) -> None:
    at = endpoint(settings, "recorder", "pub")

    def setup(reactor: Reactor) -> None:
        publisher = Publisher(reactor.wire, at)
        reactor.publish_with(publisher)
        for number, tenant in enumerate(("acme", "acme-2", "other")):
            reactor.every(5, lambda n=number, t=tenant: publisher.send(feed_topic(t), Recorded(upto=n)))  # type: ignore[misc]

    serve(make_wire(settings), setup)
    subscriber = Subscriber(make_wire(settings), at, ["x/acme/"])
    heard = [subscriber.receive(2_000) for _ in range(20)]
    assert heard[0] == PeerEvent.CONNECTED
    assert heard[1:] == [Recorded(upto=0)] * 19
    subscriber.close()


def test_a_subscriber_hears_that_the_feed_broke_off_and_came_back(
    settings: Settings, make_wire: MakeWire
) -> None:
    async def follow() -> list[object]:
        at = endpoint(settings, "recorder", "pub")
        heard: list[object] = []
        subscriber = AsyncSubscriber(make_wire(settings), at, ["x/"])
        for turn in range(2):
            wire = make_wire(settings)
            reactor = Reactor(wire)
            publisher = Publisher(wire, at)
            reactor.publish_with(publisher)
            reactor.every(5, lambda p=publisher, n=turn: p.send("x/a/", Recorded(upto=n)))  # type: ignore[misc]
            thread = threading.Thread(target=reactor.run)
            thread.start()
            while Recorded(upto=turn) not in heard:
                heard.append(await asyncio.wait_for(subscriber.receive(), 5))
            reactor.stop()
            thread.join()
            wire.close()
            while heard.count(PeerEvent.DISCONNECTED) <= turn:
                heard.append(await asyncio.wait_for(subscriber.receive(), 5))
        subscriber.close()
        return heard

    heard = asyncio.run(follow())
    changes = [one for one in heard if isinstance(one, PeerEvent)]
    assert changes == [PeerEvent.CONNECTED, PeerEvent.DISCONNECTED] * 2


def test_timers_repeat_until_they_are_cancelled_and_a_fault_of_one_ends_nothing(
    settings: Settings, make_wire: MakeWire, serve: Serve
) -> None:
    ticks: list[int] = []
    once: list[int] = []

    def setup(reactor: Reactor) -> None:
        def fault() -> None:
            raise ZeroDivisionError

        def tick() -> None:
            ticks.append(1)
            if len(ticks) == 3:
                timer.cancel()

        reactor.every(5, fault)
        timer = reactor.every(10, tick)
        reactor.later(20, lambda: once.append(1))
        reactor.later(20, lambda: once.append(2)).cancel()

    reactor = serve(make_wire(settings), setup)
    until(lambda: len(ticks) == 3 and once == [1])
    after = threading.Event()
    reactor.call_soon_threadsafe(lambda: reactor.later(60, after.set) and None)
    assert after.wait(5)
    assert len(ticks) == 3
    assert once == [1]


def test_calls_from_many_threads_all_run_in_the_thread_of_the_loop(
    settings: Settings, make_wire: MakeWire, serve: Serve
) -> None:
    ran: list[int] = []
    reactor = serve(make_wire(settings), lambda _: None)

    def call() -> None:
        for _ in range(1_000):
            reactor.call_soon_threadsafe(lambda: ran.append(threading.get_ident()))

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: len(ran) == 4_000)
    assert len(set(ran)) == 1
