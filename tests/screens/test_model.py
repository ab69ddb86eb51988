"""What the dashboard counts is exact, and what it keeps is bounded."""

from dashboard.model import EXECUTIONS_KEPT, Filter, Model, percentile
from jobico.event import Outcome
from tests.screens.fixed_feed import record


def test_a_window_has_a_place_for_every_second() -> None:
    model = Model()
    model.add([(1, record(1))], 1_000.5)
    window = model.window(1_003.0)
    assert [second.records for second in window[-3:]] == [1, 0, 0]
    assert len(window) == 60


def test_counts_go_on_past_what_is_kept() -> None:
    model = Model()
    model.add(((row, record(row)) for row in range(EXECUTIONS_KEPT + 10)), 1_000.0)
    assert model.records == EXECUTIONS_KEPT + 10
    assert len(model.executions) == EXECUTIONS_KEPT


def test_a_flood_is_called_a_sample() -> None:
    model = Model()
    model.add(((row, record(row)) for row in range(EXECUTIONS_KEPT + 1)), 1_000.0)
    assert model.sampled(1_001.0)
    assert not model.sampled(1_010.0)


def test_the_filter_wants_every_word_in_any_field() -> None:
    item = record(8, outcome=Outcome.FAILED, error="no such customer")
    assert Filter("ACME such").matches(item)
    assert not Filter("globex such").matches(item)
    assert not Filter(outcome="ok").matches(item)


def test_percentiles_are_values_that_were_seen() -> None:
    values = [float(value) for value in range(1, 101)]
    assert percentile(values, 0.5) == 50
    assert percentile(values, 0.99) == 99
    assert percentile([], 0.99) == 0
