"""The simulated world: time, links that lose what is under way, executors that die and stall."""

import itertools
import random
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from jobico import limits
from jobico.event import Event, Outcome, Settlement
from jobico.instruction import Assignment

if TYPE_CHECKING:
    from sim_listener import Listener

__all__ = ["Executor", "Link", "Script", "World", "script_of"]

EPOCH_MS = 1_700_000_000_000


class Script(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a guest does with an event, by attempt (the last for all after); it is the event's payload."""

    n: int = 0
    k: str = ""
    ms: int = 1
    do: tuple[str, ...] = ("ok",)  # ok | fail | never | kill | emit
    then: tuple[str, ...] = ("ok",)  # what the follow-up does


_decode = msgspec.json.Decoder(Script).decode
_scripts: dict[bytes, Script] = {}


def script_of(payload: bytes) -> Script:
    """The script in a payload; one that is not a script asks for nothing special."""
    found = _scripts.get(payload)
    if found is None:
        if len(_scripts) > 10_000:
            _scripts.clear()
        found = _scripts[payload] = _decode(payload)
    return found


class World:
    """Time, chance and the story of what happened."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.now_ms = 1_000_000
        self.steps = 0
        self.busy_until_ms = 0  # until then something is planned to happen
        self.story: list[tuple[int, str, str, Any]] = []
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._numbers = itertools.count()

    @property
    def wall_ms(self) -> int:
        return EPOCH_MS + self.now_ms

    def at(self, at_ms: int, do: Callable[..., None], *args: Any) -> None:
        heappush(self._heap, (at_ms, next(self._numbers), do, args))

    def after(self, delay_ms: int, do: Callable[..., None], *args: Any) -> None:
        heappush(self._heap, (self.now_ms + delay_ms, next(self._numbers), do, args))

    def step(self) -> bool:
        if not self._heap:
            return False
        at_ms, _, do, args = heappop(self._heap)
        self.now_ms = max(self.now_ms, at_ms)
        self.steps += 1
        do(*args)
        return True

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def note(self, what: str, event_id: str = "", detail: Any = "") -> None:
        self.story.append((self.now_ms, what, event_id, detail))


class Link:
    """One direction of a connection: in order, with delay; a cut loses what is under way."""

    def __init__(self, world: World, arrive: Callable[[Any], None], *, doubles: float = 0.0) -> None:
        self.up = False
        self._world = world
        self._arrive = arrive
        self._doubles = doubles
        self._epoch = 0
        self._last_ms = 0

    def send(self, message: Any) -> bool:
        if not self.up:
            return False
        world = self._world
        delay_ms = world.rng.randrange(4) if world.rng.random() < 0.9 else world.rng.randrange(40)
        self._last_ms = max(self._last_ms, world.now_ms + delay_ms)
        world.at(self._last_ms, self._deliver, self._epoch, message)
        return True

    def cut(self) -> None:
        self.up = False
        self._epoch += 1

    def _deliver(self, epoch: int, message: Any) -> None:
        if epoch != self._epoch:
            return
        self._arrive(message)
        if self._doubles and self._world.chance(self._doubles):
            self._arrive(message)


class Running(NamedTuple):
    token: int
    event: Event
    began_ms: int


class Executor:
    """An executor process: one guest at a time, first in first out."""

    def __init__(self, world: World, name: str, listener: "Listener", lease_ms: int) -> None:
        self.world = world
        self.name = name
        self.listener = listener
        self.lease_ms = lease_ms
        self.run = 0  # which run of the process this is
        self.alive = False
        self.stalled_until = 0
        self.excused_ms = -1  # when it was last cut off or stalled, so that its lease may have gone elsewhere
        self.held: dict[int, Assignment] = {}
        self.parked: dict[int, Assignment] = {}
        self.modules: set[bytes] = set()
        self.prepared = False  # every module is here from the start
        self.waiting: deque[Assignment] = deque()
        self.running: Running | None = None
        self.outbox: deque[Any] = deque()
        self.there = Link(world, self.hear)
        self.back = Link(world, self.tell, doubles=0.02)
        self._mail: list[Any] = []

    @property
    def instance(self) -> str:
        return f"{self.name}#{self.run}"

    # --- The process --------------------------------------------------------------------------------------

    def start(self) -> None:
        self.run += 1
        self.alive = True
        self.world.note("starts", "", self.instance)
        self.world.after(self.lease_ms // 5, self._renew, self.run)
        self.connect()
        self.connect_back()

    def die(self, restart_ms: int) -> None:
        """SIGKILL: all that it had is gone; what it had sent may or may not arrive."""
        if not self.alive:
            return
        self.world.note("dies", self.running.event.id if self.running else "", self.instance)
        self.listener.checks.died(self)
        self.alive = False
        self.stalled_until = 0
        self.running = None
        self.held.clear()
        self.parked.clear()
        self.modules.clear()
        self.waiting.clear()
        self.outbox.clear()
        self._mail.clear()
        if self.world.chance(0.5):
            self.back.cut()
        self.back.up = False
        self.cut(excused=False)
        self.world.after(restart_ms, self.start)

    def stall(self, stall_ms: int) -> None:
        """SIGSTOP, and SIGCONT later."""
        if self.alive:
            self.world.note("stalls", "", (self.instance, stall_ms))
            self.stalled_until = self.world.now_ms + stall_ms
            self.excused_ms = max(self.excused_ms, self.stalled_until)
            self.world.after(stall_ms, self._resume, self.run)

    def _resume(self, run: int) -> None:
        if run == self.run and self.alive and self.world.now_ms >= self.stalled_until:
            mail, self._mail = self._mail, []
            for message in mail:
                self._take(message)

    # --- Connections --------------------------------------------------------------------------------------

    def connect(self) -> None:
        if self.alive and self.listener.up and not self.there.up:
            self.there.up = True
            self.listener.connected(self)

    def cut(self, *, excused: bool = True) -> None:
        """The connection to it breaks."""
        if excused:
            self.excused_ms = max(self.excused_ms, self.world.now_ms)
        if self.there.up:
            self.there.cut()
            self.world.after(self.world.rng.randrange(5), self.listener.disconnected, self)
        self.world.after(10 + self.world.rng.randrange(300), self.connect)

    def cut_back(self) -> None:
        """The connection from it breaks; it does not notice what was lost."""
        self.excused_ms = max(self.excused_ms, self.world.now_ms)
        self.back.cut()
        self.world.after(10 + self.world.rng.randrange(300), self.connect_back)

    def connect_back(self) -> None:
        if self.alive and self.listener.up:
            self.back.up = True
            while self.outbox:
                self.back.send(self.outbox.popleft())

    def tell(self, message: Any) -> None:
        self.listener.hear(self, message)

    def send(self, message: Any) -> None:
        if not self.back.send(message):
            self.outbox.append(message)

    # --- Work ---------------------------------------------------------------------------------------------

    def hear(self, message: Any) -> None:
        if not self.alive:
            return
        if self.world.now_ms < self.stalled_until:
            self._mail.append(message)
        else:
            self._take(message)

    def _take(self, message: Any) -> None:
        kind, content = message
        if kind == "hello":
            self.send(("welcome", (self.instance, tuple(self.held))))
        elif kind == "deliveries":
            for item in content:
                if item.token not in self.held:
                    self.held[item.token] = item
                    self.waiting.append(item)
            self._begin()
        elif kind == "abort":
            self._abort(content)

    def _begin(self) -> None:
        while self.running is None and self.waiting:
            item = self.waiting.popleft()
            if item.runtime not in self.modules and not self.prepared:
                self._park(item)
                continue
            self.running = Running(item.token, item.event, self.world.now_ms)
            self.listener.checks.began(self, item)
            script = script_of(self.listener.payload_sent(item.token))
            self.world.after(script.ms, self._end, self.run, item, script)
            if script.ms > limits.RETURN_AFTER_MS:
                self.world.after(limits.RETURN_AFTER_MS, self._return, self.run, item.token)

    def _park(self, item: Assignment) -> None:
        """Its module is on the way: others pass it."""
        self.parked[item.token] = item
        self.listener.checks.parked_tokens.add(item.token)
        self.world.note("parks", item.event.id, (self.instance, item.token))
        self._tell_held()
        delay_ms = self.world.rng.choice((1, 5, 50, 800))
        self.world.after(delay_ms, self._unpark, self.run, item.runtime)

    def _unpark(self, run: int, runtime: bytes) -> None:
        if run != self.run or not self.alive:
            return
        if self.world.now_ms < self.stalled_until:
            self.world.at(self.stalled_until + 1, self._unpark, run, runtime)
            return
        self.modules.add(runtime)
        here = [item for item in self.parked.values() if item.runtime == runtime]
        for item in reversed(here):
            del self.parked[item.token]
            self.waiting.appendleft(item)
        self._tell_held()
        self._begin()

    def _end(self, run: int, item: Assignment, script: Script) -> None:
        if run != self.run or not self.alive or self.running is None or self.running.token != item.token:
            return
        if self.world.now_ms < self.stalled_until:
            self.world.at(self.stalled_until + 1, self._end, run, item, script)
            return
        do = script.do[min(item.attempt, len(script.do)) - 1]
        if do == "kill":
            self.die(200 + self.world.rng.randrange(500))
            return
        self._settle(item.token, do, script)
        self._begin()

    def _settle(self, token: int, do: str, script: Script) -> None:
        self.running = None
        del self.held[token]
        run_us = script.ms * 1_000
        if do in ("ok", "emit"):
            result = msgspec.json.encode(Script(n=script.n, k=script.k, do=script.then, ms=1))
            settlement = Settlement(token, Outcome.OK, result=result, error=str(token), run_us=run_us)
        else:
            code = 422 if do == "never" else 7
            settlement = Settlement(token, Outcome.FAILED, code, error=str(token), run_us=run_us)
        self.send(("settlements", (settlement,)))

    def _abort(self, tokens: tuple[int, ...]) -> None:
        for token in tokens:
            if token not in self.held:
                continue
            if self.running is not None and self.running.token == token:
                self.running = None
            else:
                self.waiting = deque(item for item in self.waiting if item.token != token)
                self.parked.pop(token, None)
            del self.held[token]
            self.send(("settlements", (Settlement(token, Outcome.CANCELLED),)))
        self._begin()

    def _return(self, run: int, token: int) -> None:
        if run != self.run or self.running is None or self.running.token != token or not self.waiting:
            return
        if self.world.now_ms >= self.stalled_until:
            tokens = tuple(item.token for item in self.waiting)
            self.waiting.clear()
            for one in tokens:
                del self.held[one]
            self.send(("returned", tokens))

    def _renew(self, run: int) -> None:
        if run != self.run or not self.alive:
            return
        if self.held and self.world.now_ms >= self.stalled_until:
            self._tell_held()
        self.world.after(self.lease_ms // 5, self._renew, run)

    def _tell_held(self) -> None:
        running = self.running.token if self.running else 0
        self.send(("renewal", (self.instance, running, tuple(self.held), tuple(self.parked))))
