"""What a message costs: the codec by item, a call and a batch over a socket. `python benchmarks/wire.py`."""

import logging
import tempfile
import threading
import time
import timeit
from collections.abc import Callable

import structlog

from jobico.event import Delivery, Outcome, Settlement
from jobico.settings import Settings
from protocol import codec
from protocol.client import Client
from protocol.messages import Deliveries, Message, Ping, Pong, Records, Settlements
from protocol.server import Reactor
from protocol.sockets import Wire, endpoint

ITEMS = 100
ID = "01a20da3-7773-7317-b532-5752cba3c682"


def batches() -> dict[str, Message]:
    """The three messages that every event takes part in, with small items."""
    delivery = Delivery(
        token=(3 << 32) + 1, id=ID, tenant="acme", event="customer-registration", job="customer-jobs",
        revision=3, attempt=1, runtime=bytes(150), payload=b'{"customerId": "1", "name": "x"}',
    )  # fmt: skip
    settlement = Settlement(
        token=(3 << 32) + 1, outcome=Outcome.OK, result=bytes(40), run_us=90, report=bytes(60)
    )
    return {
        "deliveries": Deliveries(listener="listener", items=(delivery,) * ITEMS),
        "settlements": Settlements(executor="executor-0", instance="a1", items=(settlement,) * ITEMS),
        "records": Records(listener="listener", first=1, last=ITEMS, items=(bytes(400),) * ITEMS),
    }


def best_us(function: Callable[[], object], number: int) -> float:
    """The best of five runs, microseconds for each call."""
    return min(timeit.repeat(function, number=number, repeat=5)) / number * 1e6


def measure_codec() -> None:
    """Encoding and decoding, by item."""
    for name, message in batches().items():
        frames = codec.encode(message)
        write = best_us(lambda m=message: codec.encode(m), 300) / ITEMS  # type: ignore[misc]
        read = best_us(lambda f=frames: codec.decode(f), 300) / ITEMS  # type: ignore[misc]
        print(f"{name:12} encode {write:5.2f} us   decode {read:5.2f} us   an item, {ITEMS} in a batch")


def measure_sockets() -> None:
    """A call, and batches through a PUSH and a PULL, between two threads of one process."""
    count, taken = 3_000, threading.Semaphore(0)
    with tempfile.TemporaryDirectory() as home, Wire(Settings(home=home), "server") as wire:
        settings = wire.settings
        reactor = Reactor(wire)
        rep, pull = endpoint(settings, "server", "rep"), endpoint(settings, "server", "deliveries")
        reactor.on_request(wire.rep(rep), {Ping: lambda *_: Pong(node="server", ready=True)})
        reactor.on_message(wire.pull(pull), {Deliveries: lambda _: taken.release()})
        thread = threading.Thread(target=reactor.run)
        thread.start()
        with Wire(settings, "client") as other:
            client = Client(other, "client")
            print(f"call         {best_us(lambda: client.call(rep, Ping()), 500):5.0f} us")
            push, frames = other.push(pull), codec.encode(batches()["deliveries"])
            begun_s = time.perf_counter()
            for _ in range(count):
                push.send_multipart(frames)
            for _ in range(count):
                taken.acquire()
            each_us = (time.perf_counter() - begun_s) / count / ITEMS * 1e6
            print(f"push to pull {each_us:5.2f} us a delivery, decoded, {ITEMS} in a batch")
            client.close()
            push.close(linger=0)
        reactor.stop()
        thread.join()


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    measure_codec()
    measure_sockets()
