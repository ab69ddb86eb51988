"""The simulated listener: the real machine, with a shell that does what the dispatcher does, without I/O."""

import itertools
from typing import Any

from sim_checks import Checks
from sim_store import Answer, Store
from sim_world import EPOCH_MS, Executor, World

from jobico.change import Accept, AcceptResult, Change, IdempotencyKey, Replay
from jobico.clock import Now
from jobico.delivery import DeliveryMachine
from jobico.errors import NotFound, QuotaExceeded, TooLarge
from jobico.event import Event
from jobico.instruction import Abort, Commit, Greet, Resolved, Send, Step
from jobico.routes import Routes
from jobico.tenancy import Quotas

__all__ = ["Listener", "Post"]

HELLO_MS = 200
TICK_MS = 50


class Post:
    """A sender's request and what came of it."""

    def __init__(self, events: tuple[Event, ...], key: str = "", *, once: bool = False) -> None:
        self.events = events
        self.key = key
        self.answer: AcceptResult | None = None
        self.entries: tuple[Any, ...] = ()
        self.given_up = False
        self.once = once


class Listener:
    """One listener node; `crash` ends the process, `start` begins the next."""

    eager_ack = False  # a mutation: answers before the commit
    eager_commit = False  # a mutation: goes on before the commit

    def __init__(self, world: World, store: Store, checks: Checks, lease_ms: int) -> None:
        self.world = world
        self.store = store
        self.checks = checks
        self.lease_ms = lease_ms
        self.executors: dict[str, Executor] = {}
        self.routes: Routes | None = None
        self.quotas: dict[str, Quotas] = {}
        self.up = False
        self.full = False
        self.broken = False
        self.run = 0
        self._ids = itertools.count()
        self._committing = False
        self._greeting: set[str] = set()
        self._hello_ms = 0
        self._payloads: dict[int, bytes] = {}
        self.machine: DeliveryMachine

    # --- The process --------------------------------------------------------------------------------------

    def start(self) -> None:
        self.run += 1
        self.up = True
        self._committing = False
        self._greeting.clear()
        self.world.note("listener starts", "", self.store.incarnation)
        self.machine = DeliveryMachine(
            self.store.incarnation,
            self.store.next_seq,
            listener="listener",
            payload_of=self.store.payload,
            new_id=lambda: f"f{next(self._ids)}",
            rng=self.world.rng,
            lease_ms=self.lease_ms,
        )
        self.machine.set_quotas(self.quotas)
        self.machine.recover(self.store.recover(), self.now)
        if self.routes is not None:
            self.machine.set_routes(self.routes)
        for executor in self.executors.values():
            executor.connect()
            executor.connect_back()
        self._tick(self.run)

    def crash(self, restart_ms: int) -> None:
        """SIGKILL: what was not synced is gone; what was may not have been told."""
        if not self.up:
            return
        self.world.note("listener dies")
        self.up = False
        for answer in self.store.crash(synced=self.world.chance(0.3)):
            self.checks.stored(answer)
        for executor in self.executors.values():
            executor.there.cut()
            executor.back.cut()
        self.checks.listener_died()
        self.world.after(restart_ms, self._restart)

    def _restart(self) -> None:
        self.store.restart()
        self.start()

    @property
    def now(self) -> Now:
        return Now(self.world.now_ms, EPOCH_MS + self.world.now_ms)

    def set_routes(self, routes: Routes) -> None:
        self.routes = routes
        if self.up:
            self.machine.set_routes(routes)
            self.advance()

    # --- Senders ------------------------------------------------------------------------------------------

    def post(self, post: Post, retries: int = 20) -> None:
        """A sender posts, and posts again when it is told when to come back, or hears nothing."""
        if post.answer is not None:
            return
        if retries == 0:
            post.given_up = True
            return
        if not self.up:
            self.world.after(100 + self.world.rng.randrange(200), self.post, post, retries - 1)
            return
        self.carry_out()
        try:
            post.entries = self.machine.admit(post.events, self.now)
        except QuotaExceeded as error:
            self.checks.refused(post, error)
            self.world.after(round(error.retry_after_s * 1_000) + 1, self.post, post, retries - 1)
            return
        except TooLarge:
            post.given_up = True
            return
        key = IdempotencyKey(post.key, b"", self.world.wall_ms, self.world.wall_ms + 1_000_000)
        self._stage((Accept(post.entries, key if post.key else None),), post)
        if self.eager_ack:
            self.checks.told(post, AcceptResult(tuple(event.id for event in post.events), fresh=True))
        if post.key:
            self.world.after(2_000, self.post, post, retries - 1)  # no answer until then: once more

    def cancel(self, tenant: str, event_id: str) -> None:
        if self.up:
            try:
                self.machine.cancel(tenant, event_id, self.now)
            except NotFound:
                return
            self.checks.cancelled(event_id, self.machine.backlog.by_id[event_id])
            self.advance()

    def replay(self, event: Event, old_id: str) -> None:
        if self.up:
            self.carry_out()
            post = Post((event,), once=True)
            post.entries = self.machine.admit((event,), self.now, forced=True)
            self._stage((Replay(old_id, post.entries[0]),), post)

    @property
    def quiet(self) -> bool:
        """True when nothing is under way."""
        return self.up and not (self._committing or self.machine.backlog.items or self.machine.busy)

    # --- Executors ----------------------------------------------------------------------------------------

    def connected(self, executor: Executor) -> None:
        self._greeting.add(executor.name)
        executor.there.send(("hello", None))

    def disconnected(self, executor: Executor) -> None:
        if self.up:
            self.machine.leasing.disconnected(executor.name, self.now)
            self.advance()

    def hear(self, executor: Executor, message: Any) -> None:
        if not self.up:
            return
        kind, content = message
        leasing, now = self.machine.leasing, self.now
        if kind == "settlements":
            for settlement in content:
                self.machine.settled(executor.name, settlement, now)
        elif kind == "renewal":
            instance, running, held, parked = content
            leasing.renewed(executor.name, instance, running, held, now, parked=parked)
        elif kind == "returned":
            leasing.returned(executor.name, content, now)
        elif kind == "welcome":
            self._greeting.discard(executor.name)
            self.checks.welcomed(executor, content)
            leasing.welcomed(executor.name, *content, now)
        self.advance()

    def payload_sent(self, token: int) -> bytes:
        return self._payloads[token]

    # --- The shell ----------------------------------------------------------------------------------------

    def advance(self, *, quiet: bool = False) -> None:
        while self.machine.pump(self.now):
            self.carry_out()
        if self.carry_out() or not quiet:
            self.checks.step(self.machine)

    def carry_out(self) -> bool:
        did = False
        while instructions := self.machine.take():
            did = True
            for instruction in instructions:
                match instruction:
                    case Commit():
                        self._stage(instruction.changes, instruction.tag)
                    case Send():
                        self._send(instruction)
                    case Resolved():
                        self.checks.resolved(instruction.record)
                    case Abort():
                        self.executors[instruction.executor].there.send(("abort", instruction.tokens))
                    case Greet():
                        self._greeting.add(instruction.executor)
        return did

    def _send(self, send: Send) -> None:
        executor = self.executors[send.executor]
        for item in send.items:
            self._payloads[item.token] = self.store.payload(item.seq)
        if executor.there.send(("deliveries", send.items)):
            self.checks.sent(self.machine, executor, send.items)
        else:
            tokens = [item.token for item in send.items]
            self.machine.leasing.unsent(send.executor, tokens, self.now)

    def _stage(self, changes: tuple[Change, ...], tag: Any) -> None:
        self.store.stage(changes, tag)
        if not self._committing:
            self._committing = True
            self.world.after(1 + self.world.rng.randrange(4), self._commit, self.run)
        if self.eager_commit and isinstance(tag, Step):
            self.machine.committed(tag, self.now)

    def _commit(self, run: int) -> None:
        if run != self.run or not self.up:
            return
        self._committing = False
        for answer in self.store.commit(full=self.full, broken=self.broken):
            self.checks.stored(answer)
            self._answered(answer)
        self.advance()

    def _answered(self, answer: Answer) -> None:
        tag, now = answer.tag, self.now
        if isinstance(tag, Post):
            if answer.error is None and answer.results[0] not in (False,) and _fresh(answer.results[0]):
                self.machine.accepted(tag.entries, now)
            else:
                self.machine.not_accepted(tag.entries)
            if answer.error is None and isinstance(answer.results[0], AcceptResult):
                tag.answer = answer.results[0]
                self.checks.told(tag, tag.answer)
            elif answer.error is not None and not tag.once:
                self.world.after(100 + self.world.rng.randrange(100), self.post, tag)
        elif isinstance(tag, Step) and not self.eager_commit:
            if answer.error is None:
                self.machine.committed(tag, now)
            else:
                self.machine.commit_failed(tag, now)

    def _tick(self, run: int) -> None:
        if run != self.run or not self.up:
            return
        self.machine.tick(self.now)
        if self._greeting and self.world.now_ms - self._hello_ms >= HELLO_MS:
            self._hello_ms = self.world.now_ms
            for name in self._greeting:
                self.executors[name].there.send(("hello", None))
        self.advance(quiet=True)
        # Long waits (a sender's Retry-After, a store that is full) need no fine clock.
        busy = self.machine.leasing.held or self._greeting or self.world.now_ms < self.world.busy_until_ms
        self.world.after(TICK_MS if busy else 10 * TICK_MS, self._tick, run)


def _fresh(result: Any) -> bool:
    return result.fresh if isinstance(result, AcceptResult) else bool(result)
