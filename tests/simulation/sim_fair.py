"""Scenarios about fairness: no faults, so that what a tenant gets is decided by the machine alone."""

from collections import defaultdict

import msgspec
from sim_checks import Breach, Checks
from sim_listener import Listener, Post
from sim_scenario import ATTEMPTS_MAX, make_revision, story
from sim_store import ModelStore
from sim_world import Executor, Script, World

from jobico import limits
from jobico.change import AcceptResult
from jobico.definition import Order
from jobico.delivery import DeliveryMachine
from jobico.event import Event, Record
from jobico.routes import Routes
from jobico.tenancy import Quotas

__all__ = [
    "FairScenario",
    "FloodScenario",
    "IsolationScenario",
    "SlowGuestScenario",
    "run_fair",
    "run_isolation",
]

_FLOOD = 120
_SLOW_FLOOD = 30
_TRICKLE = 15
LATENCY_MS_MAX = 250
"""How long an event of a quick tenant may take beside a tenant whose slow guests flood the platform."""


class _Calm:
    """A world without faults."""

    def __init__(self, seed: int, executors: int, tenants: int) -> None:
        self.world = world = World(seed)
        self.store = ModelStore()
        self.checks = Checks(world, ATTEMPTS_MAX)
        self.listener = Listener(world, self.store, self.checks, 10_000)
        self.tenants = [f"t{index}" for index in range(tenants)]
        self.listener.routes = Routes.build(make_revision(tenant, Order.STRICT) for tenant in self.tenants)
        for index in range(executors):
            executor = Executor(world, f"x{index}", self.listener, 10_000)
            executor.prepared = True
            self.listener.executors[executor.name] = self.checks.executors[executor.name] = executor
            executor.start()

    def post(self, at_ms: int, tenant: str, n: int, ms: int, kind: str = "plain") -> str:
        event = Event(
            id=f"{tenant}-{n}",
            tenant=tenant,
            event=kind,
            job="job",
            queue="plain",
            payload=msgspec.json.encode(Script(n=n, ms=ms, then=("ok",))),
            accepted_ms=self.world.wall_ms,
        )
        self.world.at(self.world.now_ms + at_ms, self.listener.post, Post((event,)))
        return event.id

    def run(self, until_ms: int) -> None:
        end_ms = self.world.now_ms + until_ms
        while self.world.step() and self.world.now_ms < end_ms:
            pass


class FairScenario(_Calm):
    """Tenants that always have work get run time by their weights."""

    def __init__(self, seed: int) -> None:
        rng = World(seed).rng
        self.size = rng.choice((1, 2, 3))
        super().__init__(seed, self.size, rng.choice((2, 3)))
        self.weights = {tenant: rng.choice((1, 1, 2, 4)) for tenant in self.tenants}
        self.listener.quotas = {tenant: Quotas(weight=weight) for tenant, weight in self.weights.items()}
        self.run_ms = {tenant: rng.choice((1, 3, 8, 15, 30)) for tenant in self.tenants}
        self.used_ms: dict[str, float] = defaultdict(float)
        self.worst = 0.0
        for tenant in self.tenants:
            for n in range(_FLOOD):
                self.post(0, tenant, n, max(1, self.run_ms[tenant] + rng.choice((-1, 0, 1))), "slow")
        self.listener.start()
        self.checks.fairness = self._compare
        self.bound = self.size * (limits.HELD_AHEAD_MS + max(self.run_ms.values()))

    def _compare(self, machine: DeliveryMachine) -> None:
        """While all have work, what they used, over their weights, differs by no more than the bound."""
        shares = machine.backlog.shares
        if len(shares) < len(self.tenants) or not all(share.turns for share in shares.values()):
            return
        used = [share.used_us / 1_000 / self.weights[tenant] for tenant, share in shares.items()]
        self.worst = max(self.worst, max(used) - min(used))
        if self.worst > self.bound:
            raise Breach("tenants share run time by weight", "", (used, self.bound))


class IsolationScenario(_Calm):
    """A tenant with one quick event a second beside one whose slow guests would fill every executor."""

    def __init__(self, seed: int) -> None:
        rng = World(seed).rng
        super().__init__(seed, rng.choice((2, 3, 4)), 2)
        self.ended: dict[str, int] = {}
        self.began: dict[str, int] = {}
        heavy, light = self.tenants
        for n in range(_SLOW_FLOOD):
            self.post(1_000 + n, heavy, n, rng.choice((1_000, 3_000, 5_000)), "slow")
        for n in range(_TRICKLE):
            self.post(n * 1_000 + rng.randrange(300), light, n, rng.choice((1, 5, 20)))
        self.light = light
        self.checks.told = self._told  # type: ignore[method-assign]
        self.checks.resolved = self._resolved  # type: ignore[method-assign]
        self.listener.start()

    def _told(self, _post: Post, answer: AcceptResult) -> None:
        for event_id in answer.ids:
            self.began[event_id] = self.world.now_ms

    def _resolved(self, record: Record) -> None:
        if record.id.startswith(self.light):
            took_ms = self.world.now_ms - self.began[record.id]
            self.ended[record.id] = took_ms
            if took_ms > LATENCY_MS_MAX:
                raise Breach("slow guests do not delay another tenant", record.id, took_ms)

    def finish(self) -> None:
        if len(self.ended) < _TRICKLE:
            raise Breach("slow guests do not stop another tenant", "", len(self.ended))


def run_fair(seed: int) -> FairScenario:
    """Runs the fairness scenario of a seed."""
    scenario = FairScenario(seed)
    with story(seed, scenario):
        scenario.run(60_000)
    return scenario


def run_isolation(seed: int) -> IsolationScenario:
    """Runs the isolation scenario of a seed."""
    scenario = IsolationScenario(seed)
    with story(seed, scenario):
        scenario.run((_TRICKLE + 5) * 1_000)
        scenario.finish()
    return scenario


class FloodScenario(_Calm):
    """A tenant that sends a hundred times what the executors can do, and one that sends an event a second."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, 2, 2)
        rng = self.world.rng
        self.took_ms: list[int] = []
        flood, light = self.tenants
        for n in range(_FLOOD * 20):
            self.post(n // 4, flood, n, rng.choice((5, 10, 20)))
        for n in range(_TRICKLE):
            self.post(500 + n * 1_000 + rng.randrange(300), light, n, 5)
        self.checks.resolved = self._resolved  # type: ignore[method-assign]
        self.light = light
        self.listener.start()

    def _resolved(self, record: Record) -> None:
        if record.id.startswith(self.light):
            self.took_ms.append(self.world.now_ms - self.checks.answered[record.id])


class SlowGuestScenario(_Calm):
    """One guest of five seconds and a thousand of five milliseconds, of one tenant, on two executors."""

    def __init__(self, seed: int, *, slow: bool) -> None:
        super().__init__(seed, 2, 1)
        (tenant,) = self.tenants
        self.took_ms: list[int] = []
        if slow:
            self.post(10, tenant, 0, 5_000)  # of the same runtime: nobody knows before that it is slow
        for n in range(1, 1_001):
            self.post(n * 12, tenant, n, 5)
        self.checks.resolved = self._resolved  # type: ignore[method-assign]
        self.listener.start()

    def _resolved(self, record: Record) -> None:
        if not record.parent and not record.id.endswith("-0"):
            self.took_ms.append(self.world.now_ms - self.checks.answered[record.id])
