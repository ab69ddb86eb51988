"""What becomes of an event after an attempt: done, tried again, or dead, and the record of it. Pure."""

import random
from typing import Final

import msgspec

from jobico import limits
from jobico.event import Outcome, Record, Settlement, State
from jobico.ordering import Pending
from jobico.retry import RetryPolicy, is_final, next_delay_ms

__all__ = ["REASONS", "Verdict", "judge", "record_of"]

REASONS: Final = {
    "attempts": "all attempts of its retry policy are used up",
    "final": "it failed with a code that its retry policy names under `never`",
    "killed": f"its executor died under it {limits.DEATHS_MAX} times",
    "loop": f"its chain is longer than {limits.HOPS_MAX} hops",
    "no-route": "no job defines its event any more",
    "corrupt": "its stored payload is damaged",
}
"""Why an event is a dead letter."""


class Verdict(msgspec.Struct, frozen=True):
    """The state of the event after the attempt; `delay_ms` with DELAYED, `reason` with DEAD."""

    state: State
    delay_ms: int = 0
    reason: str = ""


_DONE: Final = Verdict(State.DONE)
_QUEUED: Final = Verdict(State.QUEUED)


def judge(
    policy: RetryPolicy, outcome: Outcome, code: int, *, attempts: int, deaths: int, rng: random.Random
) -> Verdict:
    """Decides after an attempt; `attempts` and `deaths` count it.

    A killed event is tried again at once: that its executor died says nothing about what it waits for.
    """
    if outcome in (Outcome.OK, Outcome.CANCELLED):
        return _DONE
    if deaths >= limits.DEATHS_MAX:
        return Verdict(State.DEAD, reason="killed")
    if is_final(policy, outcome, code, attempts):
        return Verdict(State.DEAD, reason="attempts" if attempts >= policy.attempts else "final")
    if outcome is Outcome.KILLED:
        return _QUEUED
    delay_ms = next_delay_ms(policy, attempts, rng)
    return Verdict(State.DELAYED, delay_ms) if delay_ms else _QUEUED


def record_of(
    item: Pending,
    verdict: Verdict,
    settlement: Settlement,
    *,
    attempt: int,
    listener: str,
    executor: str,
    payload: bytes,
    now_wall_ms: int,
    follow_ups: tuple[str, ...],
) -> Record:
    """The record of an attempt, or of an end without one."""
    event = item.event
    return Record(
        id=event.id,
        attempt=attempt,
        tenant=event.tenant,
        job=event.job,
        event=event.event,
        queue=event.queue,
        revision=item.route.revision.number if item.route else 0,
        outcome=settlement.outcome,
        state=verdict.state,
        code=settlement.code,
        accepted_ms=event.accepted_ms,
        leased_ms=item.leased_wall_ms,
        settled_ms=now_wall_ms,
        run_us=settlement.run_us,
        listener=listener,
        executor=executor,
        error=settlement.error,
        reason=verdict.reason,
        result=settlement.result,
        report=settlement.report,
        payload=payload[: limits.RECORD_PAYLOAD_BYTES_MAX] if attempt == 1 else b"",
        payload_bytes=item.size_bytes if attempt == 1 else 0,
        next_attempt_ms=now_wall_ms + verdict.delay_ms if verdict.state is State.DELAYED else 0,
        source=event.source,
        parent=event.parent,
        hop=event.hop,
        follow_ups=follow_ups,
    )
