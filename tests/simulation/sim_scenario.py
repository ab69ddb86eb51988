"""A scenario: what is sent, what guests do and what breaks, all drawn from a seed; and how it is run."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec
from sim_checks import Breach, Checks
from sim_listener import Listener, Post
from sim_store import ModelStore, Store
from sim_world import Executor, Script, World

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
from jobico.event import Event, Source
from jobico.retry import RetryPolicy
from jobico.routes import Routes
from jobico.tenancy import Quotas

__all__ = ["ATTEMPTS_MAX", "FailedScenario", "Scenario", "make_revision", "run_scenario", "story"]

_STEPS_MAX = 60_000
_STORY_LINES_MAX = 200
_LOAD_MS = 3_000
_QUIET_MS = 600_000
_ORDERED_ATTEMPTS = 3
_PLAIN_ATTEMPTS = 5


class FailedScenario(AssertionError):
    """A breach with its seed and the story of its event."""


def make_revision(tenant: str, order: Order, *, concurrency: int = 0, number: int = 1) -> Revision:
    """A job with an ordered queue, a plain one, and follow-ups."""
    quick = RetryPolicy(attempts=_ORDERED_ATTEMPTS, initial_ms=20, max_ms=200, never=(422,))
    plain = RetryPolicy(attempts=_PLAIN_ATTEMPTS, initial_ms=20, max_ms=500, never=(422,))
    definition = JobDefinition(
        id="job",
        tenant=tenant,
        queues=(
            QueueDefinition("ordered", order=order, key="/k" if order is Order.KEY else ""),
            QueueDefinition("plain", concurrency=concurrency),
        ),
        runtimes=(RuntimeDefinition("r", "m"), RuntimeDefinition("slow", "s")),
        events=(
            EventDefinition("ordered", "ordered", "r", retry=quick, ok="after", error="oops"),
            EventDefinition("plain", "plain", "r", retry=plain, ok="after", error="oops"),
            EventDefinition("slow", "plain", "slow", retry=plain),
            EventDefinition("after", "ordered", "r", retry=quick),
            EventDefinition("oops", "plain", "r", retry=plain),
            EventDefinition("loop", "plain", "r", retry=plain, ok="loop"),
        ),
    )
    pins = {"r": ModulePin(f"{tenant}{number}", Abi.COMMAND), "slow": ModulePin(f"{tenant}s", Abi.COMMAND)}
    return Revision(definition, number, 0, pins, {})


ATTEMPTS_MAX = {
    "ordered": _ORDERED_ATTEMPTS,
    "after": _ORDERED_ATTEMPTS,
    "plain": _PLAIN_ATTEMPTS,
    "slow": _PLAIN_ATTEMPTS,
    "oops": _PLAIN_ATTEMPTS,
    "loop": _PLAIN_ATTEMPTS,
}


class Scenario:
    """A world and what happens in it.

    Args:
        seed: Of everything.
        store: The queue; a dictionary by default.
        only: The one kind of fault that there is, many of it, in a world of long runs; all by default.
    """

    def __init__(self, seed: int, store: Store | None = None, *, only: str = "") -> None:
        self.only = only
        self.world = world = World(seed)
        rng = world.rng
        self.store = store or ModelStore()
        self.checks = Checks(world, ATTEMPTS_MAX)
        self.lease_ms = rng.choice((500, 1_000, 2_000))
        self.listener = Listener(world, self.store, self.checks, self.lease_ms)
        self.tenants = [f"t{index}" for index in range(rng.choice((1, 1, 2, 3)))]
        self.orders = {tenant: rng.choice((Order.STRICT, Order.KEY, Order.KEY)) for tenant in self.tenants}
        self.number = 1
        self.concurrency = rng.choice((0, 0, 0, 1, 2))
        self._routes()
        self.listener.quotas = {tenant: self._quotas() for tenant in self.tenants}
        for index in range(rng.choice((1, 2, 2, 3))):
            name = f"x{index}"
            executor = Executor(world, name, self.listener, self.lease_ms)
            self.listener.executors[name] = self.checks.executors[name] = executor
            executor.start()
        self.sent: list[Event] = []
        self._plan_load(rng.choice((4, 8, 8, 16, 24)))
        self._plan_faults()
        self.listener.start()

    def run(self) -> None:
        """Runs until all is quiet, then checks the end."""
        world, listener = self.world, self.listener
        end_ms = world.now_ms + _LOAD_MS + _QUIET_MS
        world.busy_until_ms = quiet_from_ms = world.now_ms + _LOAD_MS
        while world.step():
            if world.steps > _STEPS_MAX or world.now_ms > end_ms:
                break
            if world.now_ms > quiet_from_ms and self._quiet():
                break
        self.checks.end(listener.machine)

    def _quiet(self) -> bool:
        """True when nothing is under way, and no sender waits for an answer."""
        if not self.listener.quiet:
            return False
        return all(post.answer is not None or post.given_up for post in self.posts)

    # --- What is sent -------------------------------------------------------------------------------------

    def _plan_load(self, count: int) -> None:
        world, rng = self.world, self.world.rng
        self.posts: list[Post] = []
        for n in range(count):
            tenant = rng.choice(self.tenants)
            at_ms = world.now_ms + rng.randrange(_LOAD_MS) // rng.choice((1, 4, 50))
            size = 3 if rng.random() < 0.1 else 1
            events = tuple(self._event(tenant, n * 10 + index) for index in range(size))
            key = f"key{n}" if rng.random() < 0.15 else ""
            post = Post(events, key)
            self.posts.append(post)
            world.at(at_ms, self.listener.post, post)
            if key and rng.random() < 0.5:  # the same request at the same time, with ids of its own
                twin = Post(tuple(self._event(tenant, n * 10 + 5 + index) for index in range(size)), key)
                self.posts.append(twin)
                world.at(at_ms + rng.randrange(20), self.listener.post, twin)
            if rng.random() < 0.15:
                victim = rng.choice(events).id
                world.at(at_ms + rng.randrange(600), self.listener.cancel, tenant, victim)

    def _event(self, tenant: str, n: int) -> Event:
        rng = self.world.rng
        kind = rng.choices(("ordered", "plain", "slow", "loop"), (10, 8, 1, 0.4))[0]
        do = tuple(
            rng.choices(("ok", "fail", "never", "kill"), (10, 3, 0.5, 1))[0]
            for _ in range(rng.choice((1, 1, 2, 3)))
        )
        if rng.random() < 0.05:
            do = ("kill",)
        ms = rng.choice((1, 1, 2, 5, 10, 30)) if kind != "slow" else rng.choice((300, 800))
        if kind == "ordered" and rng.random() < (0.5 if self.only else 0.05):
            ms = rng.choice((400, 1_500))
        script = Script(n=n, k=rng.choice("abc"), ms=ms, do=do if kind != "loop" else ("ok",))
        payload = msgspec.json.encode(script)
        ordered = kind == "ordered"
        key = script.k if ordered and self.orders[tenant] is Order.KEY else ""
        ready_at_ms = 0
        if rng.random() < 0.08:
            ready_at_ms = self.world.wall_ms + rng.randrange(2_500)
        return Event(
            id=f"e{n}",
            tenant=tenant,
            event=kind,
            job="job",
            queue="ordered" if ordered else "plain",
            payload=payload,
            accepted_ms=self.world.wall_ms,
            order_key=key,
            ordered=ordered,
            ready_at_ms=ready_at_ms,
        )

    def _quotas(self) -> Quotas:
        rng = self.world.rng
        return Quotas(
            events_per_s=rng.choice((0, 0, 0, 5, 20)),
            queued_events=rng.choice((0, 0, 0, 6)),
            concurrent_runs=rng.choice((0, 0, 1, 2)),
            weight=rng.choice((0, 1, 3)),
        )

    # --- What breaks --------------------------------------------------------------------------------------

    def _plan_faults(self) -> None:
        world, rng = self.world, self.world.rng
        executors = list(self.listener.executors.values())
        faults: dict[str, Callable[[], None]] = {
            "die": lambda: rng.choice(executors).die(100 + rng.randrange(1_500)),
            "stall": lambda: rng.choice(executors).stall(rng.choice((100, self.lease_ms, 2 * self.lease_ms))),
            "cut": lambda: rng.choice(executors).cut(),
            "cut back": lambda: rng.choice(executors).cut_back(),
            "restart": lambda: self.listener.crash(50 + rng.randrange(800)),
            "full": lambda: self._storage("full"),
            "broken": lambda: self._storage("broken"),
            "redeploy": self._redeploy,
            "undeploy": self._undeploy,
            "replay": self._replay,
        }
        names = [self.only] if self.only else list(faults)
        for _ in range(4 if self.only else rng.choice((0, 1, 2, 4, 8))):
            world.at(world.now_ms + rng.randrange(_LOAD_MS), faults[rng.choice(names)])

    def _storage(self, what: str) -> None:
        self.world.note("storage", "", what)
        setattr(self.listener, what, True)
        self.world.after(100 + self.world.rng.randrange(1_000), setattr, self.listener, what, False)

    def _routes(self, without: str = "") -> None:
        self.listener.set_routes(
            Routes.build(
                make_revision(tenant, self.orders[tenant], concurrency=self.concurrency, number=self.number)
                for tenant in self.tenants
                if tenant != without
            )
        )

    def _redeploy(self) -> None:
        self.number += 1
        self.world.note("redeploy", "", self.number)
        self._routes()

    def _undeploy(self) -> None:
        gone = self.world.rng.choice(self.tenants)
        self.world.note("undeploy", "", gone)
        self._routes(without=gone)
        self.world.after(50 + self.world.rng.randrange(500), self._redeploy)

    def _replay(self) -> None:
        dead = [
            event_id
            for event_id, record in self.checks.final.items()
            if record.reason and event_id not in self.checks.replayed
        ]
        if dead:
            old = self.checks.events[self.world.rng.choice(dead)]
            fresh = msgspec.structs.replace(
                old, id=f"r{self.world.steps}", source=Source.REPLAY, parent=old.id, hop=0, ready_at_ms=0
            )
            self.listener.replay(fresh, old.id)


def run_scenario(seed: int, store: Store | None = None, *, only: str = "") -> Scenario:
    """Runs the scenario of a seed."""
    scenario = Scenario(seed, store, only=only)
    with story(seed, scenario):
        scenario.run()
    return scenario


class Told(Protocol):
    """What has a world."""

    world: World


@contextlib.contextmanager
def story(seed: int, scenario: Told) -> Iterator[None]:
    """Tells a fault within with its seed and the story of the event that it is about."""
    try:
        yield
    except Exception as error:
        event_id = error.event_id if isinstance(error, Breach) else ""
        lines = [
            f"  {at_ms - 1_000_000:>7} ms  {what:<16} {about:<6} {detail}"
            for at_ms, what, about, detail in scenario.world.story
            if not event_id or about in ("", event_id)
        ]
        head = f"seed {seed}: {type(error).__name__}: {error}"
        raise FailedScenario("\n".join([head, *lines[-_STORY_LINES_MAX:]])) from error
