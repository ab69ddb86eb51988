"""From what came of an attempt to the change that stores it: record, follow-ups, retry, dead letter. Pure."""

import random
from collections.abc import Callable, Sequence

from jobico import limits
from jobico.backlog import Backlog
from jobico.change import Bury, Change, Reschedule, Settle
from jobico.clock import Now
from jobico.event import Event, Outcome, Settlement, State
from jobico.follow_ups import FollowUps
from jobico.instruction import Step
from jobico.ordering import Pending, Phase
from jobico.retry import RetryPolicy
from jobico.routes import Route, Routes
from jobico.verdict import Verdict, judge, record_of

__all__ = ["Settling"]

_UNRUN_ERRORS = {
    "no-route": "No job of the tenant defines this event any more.",
    "loop": f"The chain of events is longer than {limits.HOPS_MAX} hops.",
    "corrupt": "The stored payload is damaged.",
}


class Settling:
    """Turns ends of attempts into steps; from then on the event is in `COMMITTING`.

    Args:
        listener: The name of the node, for records.
        backlog: Where quotas are.
        payload_of: Looks up the payload of a stored event by its sequence number.
        new_id: Makes an event id.
        rng: Where the jitter of retries comes from.
    """

    def __init__(
        self,
        listener: str,
        backlog: Backlog,
        *,
        payload_of: Callable[[int], bytes],
        new_id: Callable[[], str],
        rng: random.Random,
    ) -> None:
        self._listener = listener
        self._backlog = backlog
        self._payload_of = payload_of
        self._new_id = new_id
        self._rng = rng
        self.routes: Routes | None = None

    def after_attempt(self, item: Pending, executor: str, settlement: Settlement, now: Now) -> Step:
        """The step after an attempt that was run, or at least begun."""
        item.phase = Phase.COMMITTING
        if item.route is None:  # leased before a restart
            item.route = self.route(item.event.tenant, item.event.event)
        route = item.route
        settlement = self._as_it_counts(item, settlement)
        attempts = item.attempts + 1
        deaths = item.deaths + (settlement.outcome is Outcome.KILLED)
        verdict = judge(
            route.event.retry if route else RetryPolicy(),
            settlement.outcome,
            settlement.code,
            attempts=attempts,
            deaths=deaths,
            rng=self._rng,
        )
        payload = self._payload_of(item.seq) if attempts == 1 or verdict.state is State.DEAD else b""
        made: Sequence[Event] = ()
        # PERF: most events route nothing; they need not pay for asking.
        if route is not None and (route.event.ok or route.event.error or settlement.emitted):
            makes = FollowUps(item.event, route, self.routes, self._new_id, now.wall_ms)
            made = _follow_ups(makes, settlement, verdict, payload)
        record = record_of(
            item,
            verdict,
            settlement,
            attempt=attempts,
            listener=self._listener,
            executor=executor,
            payload=payload,
            now_wall_ms=now.wall_ms,
            follow_ups=tuple(event.id for event in made),
        )
        if verdict.state in (State.DELAYED, State.QUEUED):
            ready_at_ms = now.wall_ms + verdict.delay_ms if verdict.delay_ms else 0
            change: Change = Reschedule(item.seq, attempts, deaths, ready_at_ms, record)
            return Step(item, change, record=record, due_ms=now.ms + verdict.delay_ms)
        entries = self._backlog.number(made)
        if verdict.state is State.DONE:
            change = Settle(item.seq, record, entries)
        else:
            change = Bury(item.seq, attempts, deaths, verdict.reason, record, entries)
        return Step(item, change, record=record, follow_ups=entries, final=True)

    def cancelled(self, item: Pending, now: Now) -> Step:
        """The step of an event that was withdrawn and is not leased."""
        error = "Cancelled before its next attempt." if item.attempts else "Cancelled before it ran."
        return self._unrun(item, Outcome.CANCELLED, Verdict(State.DONE), error, now)

    def buried(self, item: Pending, reason: str, now: Now) -> Step:
        """The step of an event that cannot be run: no-route, loop or corrupt."""
        verdict = Verdict(State.DEAD, reason=reason)
        return self._unrun(item, Outcome.FAILED, verdict, _UNRUN_ERRORS[reason], now)

    def _unrun(self, item: Pending, outcome: Outcome, verdict: Verdict, error: str, now: Now) -> Step:
        """Ends an event without another attempt; the record of that has the next attempt's number."""
        item.phase = Phase.COMMITTING
        item.leased_wall_ms = 0
        record = record_of(
            item,
            verdict,
            Settlement(0, outcome, error=error),
            attempt=item.attempts + 1,
            listener=self._listener,
            executor="",
            payload=b"" if verdict.reason == "corrupt" else self._payload_of(item.seq),
            now_wall_ms=now.wall_ms,
            follow_ups=(),
        )
        change: Change = Settle(item.seq, record)
        if verdict.state is State.DEAD:
            change = Bury(item.seq, item.attempts, item.deaths, verdict.reason, record)
        return Step(item, change, record=record, final=True)

    def route(self, tenant: str, event: str) -> Route | None:
        """Where an event goes now; None where no job defines it."""
        return self.routes.find(tenant, event) if self.routes else None

    def _as_it_counts(self, item: Pending, settlement: Settlement) -> Settlement:
        """The settlement with what the listener knows better than the executor.

        A withdrawn event that did not succeed is cancelled. One that emitted more than its tenant may queue
        has failed: a chain of guests must not grow past every bound.
        """
        if settlement.outcome is not Outcome.OK:
            if not item.cancelled:
                return settlement
            return _replaced(settlement, Outcome.CANCELLED, "Cancelled while it ran.")
        if not settlement.emitted:
            return settlement
        size_bytes = sum(len(one.payload) for one in settlement.emitted)
        if self._backlog.shares[item.event.tenant].use.has_room(len(settlement.emitted), size_bytes):
            return settlement
        error = f"It emitted {len(settlement.emitted)} events, past its tenant's quota of queued events."
        return _replaced(settlement, Outcome.FAILED, error)


def _follow_ups(
    makes: FollowUps, settlement: Settlement, verdict: Verdict, payload: bytes
) -> Sequence[Event]:
    if settlement.outcome is Outcome.OK:
        return makes.of_ok(settlement.result) + makes.of_emitted(settlement.emitted)
    if verdict.state is State.DEAD:
        return makes.of_error(settlement.code, settlement.error, payload)
    return ()


def _replaced(settlement: Settlement, outcome: Outcome, error: str) -> Settlement:
    return Settlement(
        settlement.token, outcome, error=error, run_us=settlement.run_us, report=settlement.report
    )
