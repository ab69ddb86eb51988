"""What the dashboard knows: rates, latencies, outcomes and recent executions. Pure; time is an argument.

Counts are exact; what is kept of single records is bounded, so the model stays small at any rate of events.
"""

import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from jobico.event import Outcome, Record

__all__ = ["EXECUTIONS_KEPT", "SUCCESS", "WINDOW_S", "Execution", "Filter", "Model", "Second", "percentile"]

WINDOW_S: Final = 60
EXECUTIONS_KEPT: Final = 2_000
_LATENCIES_PER_S_MAX: Final = 500


class Execution(NamedTuple):
    """A record and its row number in the recorder."""

    row: int
    record: Record


class Filter(NamedTuple):
    """What the executions screen shows; empty fields match all, `text` matches ids, names and errors."""

    text: str = ""
    outcome: str = ""

    def matches(self, record: Record) -> bool:
        """True where the record is to be shown."""
        if self.outcome and record.outcome != self.outcome:
            return False
        if not self.text:
            return True
        haystack = f"{record.id} {record.tenant} {record.job} {record.event} {record.outcome} {record.error}"
        return all(word in haystack.lower() for word in self.text.lower().split())


class Second:
    """What one second brought."""

    __slots__ = ("at_s", "final", "latencies_ms", "outcomes", "records")

    def __init__(self, at_s: int) -> None:
        self.at_s = at_s
        self.records = 0
        self.final = 0
        self.outcomes: Counter[str] = Counter()
        self.latencies_ms: list[float] = []

    def add(self, record: Record) -> None:
        """Counts a record; of latencies it keeps the first `_LATENCIES_PER_S_MAX` as its sample."""
        self.records += 1
        self.outcomes[record.outcome] += 1
        if record.final:
            self.final += 1
            if len(self.latencies_ms) < _LATENCIES_PER_S_MAX:
                self.latencies_ms.append(max(0, record.settled_ms - record.accepted_ms))


class Model:
    """The state behind the screens."""

    def __init__(self) -> None:
        self.executions: deque[Execution] = deque(maxlen=EXECUTIONS_KEPT)
        self.outcomes: Counter[str] = Counter()
        self.records = 0
        self._seconds: deque[Second] = deque(maxlen=WINDOW_S + 1)

    def add(self, rows: Iterable[tuple[int, Record]], now_s: float) -> None:
        """Takes records that were just committed."""
        second = self._second(int(now_s))
        for row, record in rows:
            second.add(record)
            self.records += 1
            self.outcomes[record.outcome] += 1
            self.executions.append(Execution(row, record))

    def _second(self, at_s: int) -> Second:
        if not self._seconds or self._seconds[-1].at_s < at_s:
            self._seconds.append(Second(at_s))
        return self._seconds[-1]

    def window(self, now_s: float) -> list[Second]:
        """The last WINDOW_S whole seconds, oldest first; those without records are empty."""
        by_time = {second.at_s: second for second in self._seconds}
        last = int(now_s)
        return [by_time.get(at_s) or Second(at_s) for at_s in range(last - WINDOW_S, last)]

    def recent(self, wanted: Filter, count: int) -> Iterator[Execution]:
        """The newest executions that match, newest first, `count` at most."""
        found = 0
        for execution in reversed(self.executions):
            if wanted.matches(execution.record):
                yield execution
                found += 1
                if found == count:
                    return

    def sampled(self, now_s: float) -> bool:
        """True while records come faster than the list of executions can hold for five seconds."""
        return sum(second.records for second in self.window(now_s)[-5:]) > EXECUTIONS_KEPT


def percentile(values: list[float], fraction: float) -> float:
    """The smallest value that at least that fraction of `values` does not exceed; 0 of none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[max(0, math.ceil(fraction * len(ordered)) - 1)]


SUCCESS: Final = frozenset({Outcome.OK})
"""Outcomes that are shown as good."""
