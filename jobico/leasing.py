"""Leases: which executor has which event, from when on and until when. Pure.

It gives tokens, and knows of each executor whether it is there, silent or gone. What becomes of an event that
loses its lease is not decided here: `killed` is called for the one that ran, `taken_back` for the rest.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from jobico import limits
from jobico.backlog import Backlog
from jobico.clock import Now
from jobico.crew import Crew, Executor
from jobico.instruction import Abort, Greet, Instruction, LeasesLost
from jobico.ordering import Pending, Phase

__all__ = ["Leasing"]

_TOKENS: Final = 1 << 32


class Leasing:
    """All leases of a listener.

    Args:
        incarnation: Of the queue's store, one more at each start: what makes a token unique for ever.
        lease_ms: How long an executor may hold an event without renewing it.
        backlog: Whose tenants are charged.
        out: Where instructions go.
        killed: Called with an event whose executor was lost while it ran it, and for how long it did.
        taken_back: Called with an event that lost its lease without an attempt.
        freed: Called when there may be room for slow guests.

    Attributes:
        held: The leased events by token.
        crew: The executors.
    """

    def __init__(
        self,
        incarnation: int,
        lease_ms: int,
        backlog: Backlog,
        out: Callable[[Instruction], None],
        *,
        killed: Callable[[Pending, str, int, Now], None],
        taken_back: Callable[[Pending, Now], None],
        freed: Callable[[], None],
    ) -> None:
        self._next_token = incarnation * _TOKENS + 1
        self._lease_ms = lease_ms
        self._backlog = backlog
        self._out = out
        self._killed = killed
        self._taken_back = taken_back
        self._freed = freed
        self.held: dict[int, Pending] = {}
        self.crew = Crew()

    # --- One lease ----------------------------------------------------------------------------------------

    def grant(self, item: Pending, executor: Executor, us: float, now: Now) -> None:
        """Leases an event, estimated to run for `us`, to an executor with room; it is not sent yet."""
        item.token = self._next_token
        self._next_token += 1
        item.leased_wall_ms = now.wall_ms
        self.held[item.token] = item
        self.crew.assign(executor, item, us, now.ms, now.ms + self._lease_ms)

    def recover(self, item: Pending, executor: str, instance: str, now: Now) -> None:
        """Takes up the stored lease `item.token`: its executor may be running the event; it gets time."""
        member = self.crew.member(executor)
        member.instance = member.instance or instance
        item.leased_wall_ms = now.wall_ms
        item.recovered = True
        self.held[item.token] = item
        member.reserve(item, now.ms + self._lease_ms, alone=False)
        self.sent(item, now)
        share = self._backlog.shares[item.event.tenant]
        share.runs += 1
        item.queue.runs += 1

    def sent(self, item: Pending, now: Now) -> None:
        """Notes that a leased event is on its way to its executor."""
        item.phase = Phase.LEASED
        self.crew.executors[item.executor].sent(item, now.ms)

    def find(self, executor: str, token: int) -> Pending | None:
        """The event of a lease that this executor has and that was sent to it."""
        item = self.held.get(token)
        if item is None or item.phase is not Phase.LEASED or item.executor != executor:
            return None
        return item

    def release(self, item: Pending, used_us: float, now: Now) -> None:
        """Ends a lease, whatever comes of it; its tenant pays for what it used."""
        del self.held[item.token]
        self.crew.executors[item.executor].release(item, now.ms)
        share = self._backlog.shares[item.event.tenant]
        self._backlog.fair.released(share, item.queue, item.planned_us, used_us)
        item.planned_us = 0.0
        item.recovered = False
        if item.slow:
            item.slow = False
            self._freed()

    def take_back(self, item: Pending, now: Now) -> None:
        """Ends a lease without an attempt."""
        self.release(item, 0.0, now)
        self._taken_back(item, now)

    # --- What executors say -------------------------------------------------------------------------------

    def welcomed(self, name: str, instance: str, held: Iterable[int], now: Now) -> None:
        """An executor answers Hello: it is this run of itself, and holds these of our tokens, no others."""
        executor = self.crew.member(name)
        if executor.instance not in ("", instance):
            self._lose(executor, "died", now)
        tokens = set(held)
        if not executor.joined:
            missing = [item for item in executor.has if item.token not in tokens]
            for item in missing:
                self.take_back(item, now)
            if missing:
                self._out(LeasesLost(name, "forgot", len(missing)))
        executor.instance = instance
        executor.joined = True
        executor.draining = False
        executor.suspect_ms = 0
        self._abort_stale(executor, tokens)
        self._freed()

    def renewed(
        self,
        name: str,
        instance: str,
        running: int,
        held: Sequence[int],
        now: Now,
        *,
        parked: Sequence[int] = (),
    ) -> None:
        """An executor says what it holds, which of it it runs, and which it has put aside for now."""
        executor = self.crew.executors.get(name)
        if executor is None or executor.instance != instance:
            return
        executor.renewed_ms = now.ms
        executor.says(running, parked, now.ms)
        for token in held:
            item = executor.get(token)
            if item is not None:
                item.expires_ms = now.ms + self._lease_ms
        self._abort_stale(executor, held)

    def returned(self, name: str, tokens: Iterable[int], now: Now, *, draining: bool = False) -> None:
        """An executor gives back what it has not begun: its guest takes long, or it is stopping."""
        executor = self.crew.executors.get(name)
        if executor is None:
            return
        executor.draining = executor.draining or draining
        for item in self._found(name, tokens):
            self.take_back(item, now)
        executor.stalled = bool(executor.held)

    # --- What is seen of executors ------------------------------------------------------------------------

    def unsent(self, name: str, tokens: Iterable[int], now: Now) -> None:
        """These could not be pushed: the link is full or gone. It gets no more before its next Welcome."""
        for item in self._found(name, tokens):
            self.take_back(item, now)
        self.crew.member(name).joined = False
        self._out(Greet(name))

    def disconnected(self, name: str, now: Now) -> None:
        """The connection is gone: the executor has PEER_GRACE_MS to come back as the same run of itself."""
        executor = self.crew.member(name)
        executor.joined = False
        if executor.suspect_ms == 0:
            executor.suspect_ms = now.ms + limits.PEER_GRACE_MS
        self._out(Greet(name))

    def removed(self, name: str, now: Now) -> None:
        """An executor has left the registry and is linked no more."""
        executor = self.crew.executors.get(name)
        if executor is not None:
            self._lose(executor, "died", now)
            del self.crew.executors[name]

    def tick(self, now: Now) -> None:
        """Ends the leases of executors that are gone or silent."""
        for executor in self.crew.executors.values():
            if 0 < executor.suspect_ms <= now.ms:
                self._lose(executor, "died", now)
            elif executor.expires_ms <= now.ms and (executor.held or executor.parked):
                self._expire(executor, now)

    def _found(self, name: str, tokens: Iterable[int]) -> list[Pending]:
        return [item for item in (self.find(name, token) for token in tokens) if item is not None]

    def _abort_stale(self, executor: Executor, held: Iterable[int]) -> None:
        """Has ended what cannot count any more: taken from it, or given before this listener started."""
        stale = tuple(token for token in held if executor.get(token) is None)
        executor.foreign = bool(stale)
        if stale:
            self._out(Abort(executor.name, stale))

    def _lose(self, executor: Executor, reason: str, now: Now) -> None:
        """Takes all from a lost executor; only the event that it ran is charged an attempt."""
        victim = executor.victim()
        if victim is None:
            for item in executor.suspects():
                item.suspect = True
        lost = [*executor.has, *executor.reserved.values()]
        executor.joined = False
        executor.suspect_ms = 0
        executor.running = 0
        if lost:
            self._out(LeasesLost(executor.name, reason, len(lost), victim.event.id if victim else ""))
        for item in lost:
            if item is victim:
                self._kill(item, executor, now)
            else:
                self.take_back(item, now)
        executor.stalled = False
        self._freed()

    def _kill(self, item: Pending, executor: Executor, now: Now) -> None:
        run_us = max(0, now.ms - executor.since_ms) * 1_000
        self.release(item, float(run_us), now)
        self._killed(item, executor.name, run_us, now)

    def _expire(self, executor: Executor, now: Now) -> None:
        expired = [item for item in executor.has if item.expires_ms <= now.ms]
        # NOTE: what it said may have crossed with the delivery, so it counts only some time after that.
        known_ms = executor.renewed_ms + self._lease_ms - self._lease_ms // 4
        if any(item.expires_ms >= known_ms for item in expired):
            self._lose(executor, "silent", now)
            self._out(Greet(executor.name))
            return
        # It has said what it holds without naming these: they, or what came of them, were lost on the way.
        victim = executor.victim()
        for item in expired:
            if item is victim:
                self._kill(item, executor, now)
            else:
                self.take_back(item, now)
        if expired:
            charged = victim.event.id if victim in expired and victim else ""
            self._out(LeasesLost(executor.name, "forgot", len(expired), charged))
        executor.expires_ms = min((item.expires_ms for item in executor.has), default=0)
