"""A dispatcher on real sockets and a real queue, with executors and a recorder that do as a test says."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec

from jobico.clock import SystemClock
from jobico.definition import (
    Abi,
    EventDefinition,
    JobDefinition,
    ModulePin,
    Order,
    QueueDefinition,
    Revision,
    RuntimeDefinition,
)
from jobico.event import Delivery, Event, Outcome, Record, Settlement
from jobico.ids import new_event_id, new_instance_id
from jobico.registry import NodeInfo
from jobico.retry import RetryPolicy
from jobico.routes import Routes
from jobico.settings import Settings
from nodes.listener.dispatcher import Dispatcher
from protocol import codec
from protocol import messages as m
from protocol.sockets import Wire, endpoint, watch

DEADLINE_S = 10.0


async def until(condition: Callable[[], object]) -> None:
    """Returns once `condition` holds; fails after DEADLINE_S."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.005)


def make_routes(
    *, order: Order = Order.NONE, retry: RetryPolicy | None = None, number: int = 1, ok: str = ""
) -> Routes:
    """One job of tenant acme with the events `e` and `then`."""
    definition = JobDefinition(
        id="job",
        tenant="acme",
        queues=(QueueDefinition(id="q", order=order),),
        runtimes=(RuntimeDefinition(id="r", module="m.wasm"),),
        events=(
            EventDefinition(id="e", queue="q", runtime="r", retry=retry or RetryPolicy(), ok=ok),
            EventDefinition(id="then", queue="q", runtime="r"),
        ),
    )
    pins = {"r": ModulePin(digest="sha256:00", abi=Abi.COMMAND)}
    return Routes.build([Revision(definition, number, 0, pins, {})])


def make_event(payload: bytes = b'{"a":1}', *, ordered: bool = False) -> Event:
    """An event `e` of tenant acme."""
    return Event(
        id=new_event_id(),
        tenant="acme",
        event="e",
        job="job",
        queue="q",
        payload=payload,
        accepted_ms=SystemClock().wall_ms(),
        ordered=ordered,
    )


def ok(delivery: Delivery) -> Settlement | None:
    """What an executor answers by default."""
    return Settlement(token=delivery.token, outcome=Outcome.OK, result=b'{"done":true}', run_us=100)


class FakeExecutor:
    """Binds as an executor does and settles each delivery as `behave` says; None keeps it."""

    def __init__(self, wire: Wire, settings: Settings, name: str, listener: str = "listener") -> None:
        self.wire = wire
        self.name = name
        self.instance = new_instance_id()
        self.behave: Callable[[Delivery], Settlement | None] = ok
        self.got: list[Delivery] = []
        self.held: dict[int, Delivery] = {}
        self.aborted: list[int] = []
        loop = asyncio.get_running_loop()
        self._pull = wire.pull(endpoint(settings, name, "deliveries"))
        self._watch = watch(loop, self._pull, self._heard)
        self._push = wire.push(endpoint(settings, listener, "settlements"), linger_ms=0)
        self._out = watch(loop, self._push, on_writable=self._flush)
        self._unsent: list[list[bytes]] = []

    def info(self, settings: Settings) -> NodeInfo:
        """What the registry would have of it."""
        return NodeInfo(
            name=self.name,
            role="executor",
            instance=self.instance,
            pid=0,
            host="",
            version="",
            endpoints={"deliveries": endpoint(settings, self.name, "deliveries")},
        )

    def settle(self, settlement: Settlement) -> None:
        self.held.pop(settlement.token, None)
        self.send(m.Settlements(executor=self.name, instance=self.instance, items=(settlement,)))

    def send(self, message: m.Message) -> None:
        self._unsent.append(codec.encode(message, sender=self.name))
        self._flush()

    def renew(self, running: int = 0) -> None:
        self.send(
            m.Renewal(executor=self.name, instance=self.instance, running=running, held=tuple(self.held))
        )

    def close(self) -> None:
        self._watch.close()
        self._out.close()
        self._pull.close(linger=0)
        self._push.close(linger=0)

    def _flush(self) -> None:
        while self._unsent and self._out.send(self._unsent[0]):
            self._unsent.pop(0)

    def _heard(self, frames: list[bytes]) -> None:
        _, message = codec.decode(frames)
        match message:
            case m.Hello():
                self.send(m.Welcome(executor=self.name, instance=self.instance, held=tuple(self.held)))
            case m.Deliveries():
                for delivery in message.items:
                    self.got.append(delivery)
                    self.held[delivery.token] = delivery
                    settlement = self.behave(delivery)
                    if settlement is not None:
                        self.settle(settlement)
            case m.Abort():
                self.aborted += message.tokens


class FakeRecorder:
    """Binds as a recorder does and acknowledges while `answers` is true."""

    def __init__(self, wire: Wire, settings: Settings, listener: str = "listener") -> None:
        self.records: dict[tuple[str, int], Record] = {}
        self.batches: list[tuple[int, int]] = []
        self.answers = True
        loop = asyncio.get_running_loop()
        self._pull = wire.pull(endpoint(settings, "recorder", "records"))
        self._watch = watch(loop, self._pull, self._heard)
        self._push = wire.push(endpoint(settings, listener, "settlements"), linger_ms=0)
        self._out = watch(loop, self._push, on_writable=self._flush)
        self._unsent: list[list[bytes]] = []

    def finals(self) -> dict[str, list[Record]]:
        found: dict[str, list[Record]] = {}
        for record in self.records.values():
            if record.final:
                found.setdefault(record.id, []).append(record)
        return found

    def close(self) -> None:
        self._watch.close()
        self._out.close()
        self._pull.close(linger=0)
        self._push.close(linger=0)

    def _flush(self) -> None:
        while self._unsent and self._out.send(self._unsent[0]):
            self._unsent.pop(0)

    def _heard(self, frames: list[bytes]) -> None:
        _, message = codec.decode(frames)
        assert isinstance(message, m.Records)
        self.batches.append((message.first, message.last))
        if not self.answers:
            return
        for item in message.items:
            record = msgspec.msgpack.decode(item, type=Record)
            self.records.setdefault((record.id, record.attempt), record)
        self._unsent.append(codec.encode(m.Recorded(first=message.first, upto=message.last)))
        self._flush()


class Stage:
    """A dispatcher and those around it."""

    def __init__(self, settings: Settings, path: Path) -> None:
        self.settings = settings
        self.path = path
        self.executors: dict[str, FakeExecutor] = {}
        self.wires: list[Wire] = []
        self.routes = make_routes()
        self.recorder: FakeRecorder | None = None

    def wire(self, name: str) -> Wire:
        self.wires.append(Wire(self.settings, name))
        return self.wires[-1]

    async def open(self) -> None:
        """Starts the dispatcher, anew after `shut`."""
        self.own_wire = Wire(self.settings, "listener")
        self.dispatcher = Dispatcher(
            self.settings, self.own_wire, self.path, SystemClock(), "listener", new_instance_id()
        )
        await self.dispatcher.start()
        self.dispatcher.set_routes(self.routes)
        self.announce()

    async def shut(self) -> None:
        """Ends the dispatcher."""
        await self.dispatcher.close()
        self.own_wire.close()

    def announce(self) -> None:
        self.dispatcher.set_nodes([one.info(self.settings) for one in self.executors.values()])

    def executor(self, name: str = "executor-0") -> FakeExecutor:
        self.executors[name] = FakeExecutor(self.wire(name), self.settings, name)
        self.announce()
        return self.executors[name]

    def kill(self, name: str) -> FakeExecutor:
        """Ends an executor without a word."""
        gone = self.executors[name]
        gone.close()
        gone.wire.close()
        self.wires.remove(gone.wire)
        return gone

    def record(self) -> FakeRecorder:
        self.recorder = FakeRecorder(self.wire("recorder"), self.settings)
        return self.recorder

    async def joined(self, *names: str) -> None:
        crew = self.dispatcher.machine.leasing.crew
        await until(lambda: all(crew.member(name).joined for name in names or self.executors))


@contextlib.asynccontextmanager
async def staged(settings: Settings) -> AsyncIterator[Stage]:
    """A stage with an open dispatcher; everything is closed at the end."""
    stage = Stage(settings, settings.home_dir / "queue")
    await stage.open()
    try:
        yield stage
    finally:
        await stage.shut()
        for executor in stage.executors.values():
            executor.close()
        if stage.recorder is not None:
            stage.recorder.close()
        for wire in stage.wires:
            wire.close()


def play(settings: Settings, scene: Callable[[Stage], Awaitable[None]]) -> None:
    """Runs a scene on a stage."""

    async def run() -> None:
        async with asyncio.timeout(30), staged(settings) as stage:
            await scene(stage)

    asyncio.run(run())
