"""Claims about `nodes.executor.holding`: what an executor holds, and what it hands back."""

import random
import threading
import time

from jobico.event import Delivery, Outcome, Settlement
from nodes.executor.holding import Held, Holding


def delivery(token: int) -> Delivery:
    return Delivery(
        token=token,
        id=f"id{token}",
        tenant="acme",
        event="e",
        job="j",
        revision=1,
        attempt=1,
        runtime=b"",
        payload=b"{}",
    )


def deliveries(*tokens: int) -> list[Delivery]:
    return [delivery(token) for token in tokens]


def ok(token: int) -> Settlement:
    return Settlement(token=token, outcome=Outcome.OK)


def begun(holding: Holding, now_ms: int = 0) -> Held:
    held = holding.begin(now_ms)
    assert held is not None
    return held


def test_deliveries_run_in_the_order_of_their_arrival() -> None:
    holding = Holding()
    holding.take("a", deliveries(1, 2), 0)
    holding.take("b", deliveries(1), 0)
    assert [(held.listener, held.delivery.token) for held in iter(lambda: holding.begin(0), None)] == [
        ("a", 1),
        ("a", 2),
        ("b", 1),
    ]


def test_a_delivery_that_comes_twice_is_held_once() -> None:
    holding = Holding()
    holding.take("a", deliveries(1), 0)
    holding.take("a", deliveries(1), 0)
    begun(holding)
    assert holding.begin(0) is None


def test_tokens_are_held_until_their_settlement_is_collected() -> None:
    holding = Holding()
    holding.take("a", deliveries(1, 2), 0)
    holding.finish(begun(holding), ok(1))
    assert holding.tokens() == {"a": (1, 2)}
    assert holding.collect() == {"a": [ok(1)]}
    assert holding.tokens() == {"a": (2,)}
    assert holding.collect() == {}


def test_only_the_listener_that_gave_the_running_delivery_sees_it_as_running() -> None:
    holding = Holding()
    holding.take("a", deliveries(7), 0)
    begun(holding)
    assert holding.running_token("a") == 7
    assert holding.running_token("b") == 0


def test_what_waits_behind_a_long_guest_is_handed_back() -> None:
    holding = Holding()
    holding.take("a", deliveries(1, 2), 0)
    holding.take("b", deliveries(9), 0)
    begun(holding, 0)
    assert holding.return_overdue(39, 40) == {}
    assert holding.return_overdue(40, 40) == {"a": (2,), "b": (9,)}
    assert holding.tokens() == {"a": (1,)}


def test_what_waits_behind_short_guests_is_kept_however_long_it_waits() -> None:
    holding = Holding()
    holding.take("a", deliveries(1, 2, 3), 0)
    holding.finish(begun(holding, 0), ok(1))
    begun(holding, 100)
    assert holding.return_overdue(120, 40) == {}


def test_a_delivery_that_came_a_moment_ago_is_not_handed_back_at_once() -> None:
    holding = Holding()
    holding.take("a", deliveries(1), 0)
    begun(holding, 0)
    holding.take("a", deliveries(2), 1_000)
    assert holding.return_overdue(1_039, 40) == {}
    assert holding.return_overdue(1_040, 40) == {"a": (2,)}


def test_a_returned_delivery_may_come_again() -> None:
    holding = Holding()
    holding.take("a", deliveries(1, 2), 0)
    held = begun(holding, 0)
    holding.return_overdue(50, 40)
    holding.finish(held, ok(1))
    holding.take("a", deliveries(2), 60)
    assert begun(holding, 60).delivery.token == 2


def test_drain_hands_back_all_that_has_not_begun_and_takes_no_more() -> None:
    holding = Holding()
    holding.take("a", deliveries(1, 2, 3), 0)
    begun(holding)
    assert holding.drain() == {"a": (2, 3)}
    assert holding.take("a", deliveries(4), 0) == (4,)
    assert holding.tokens() == {"a": (1,)}


def test_parked_deliveries_let_others_pass_and_go_first_when_their_module_is_here() -> None:
    holding = Holding()
    holding.take("a", deliveries(1, 2, 3, 4), 0)
    holding.park(begun(holding), "sha256:x")
    holding.park(begun(holding), "sha256:x")
    assert begun(holding).delivery.token == 3
    holding.unpark("sha256:x")
    assert [begun(holding).delivery.token for _ in range(3)] == [1, 2, 4]


def test_parked_deliveries_whose_module_cannot_be_had_are_handed_back() -> None:
    holding = Holding()
    holding.take("a", deliveries(1, 2), 0)
    holding.park(begun(holding), "sha256:x")
    assert holding.return_parked("sha256:x") == {"a": (1,)}
    assert holding.tokens() == {"a": (2,)}


def test_a_parked_delivery_is_not_running() -> None:
    holding = Holding()
    holding.take("a", deliveries(1), 0)
    holding.park(begun(holding), "sha256:x")
    assert holding.running_token("a") == 0
    assert holding.busy()


def test_cancelling_what_waits_or_is_parked_settles_it_without_a_run() -> None:
    holding = Holding()
    holding.take("a", deliveries(1, 2, 3), 0)
    holding.park(begun(holding), "sha256:x")
    holding.cancel("a", (1, 2))
    cancelled = [Settlement(token=token, outcome=Outcome.CANCELLED) for token in (1, 2)]
    assert holding.collect() == {"a": cancelled}
    assert begun(holding).delivery.token == 3


def test_cancelling_what_runs_interrupts_it_and_nothing_else() -> None:
    holding, aborted = Holding(), list[int]()
    holding.take("a", deliveries(1, 2), 0)
    held = begun(holding)
    holding.interrupt(lambda: aborted.append(1))
    assert aborted == []
    holding.cancel("a", (1,))
    holding.interrupt(lambda: aborted.append(1))
    assert aborted == [1]
    assert held.cancelled
    holding.finish(held, ok(1))
    begun(holding)
    holding.interrupt(lambda: aborted.append(2))
    assert aborted == [1]


def test_cancelling_what_is_settled_or_of_another_listener_does_nothing() -> None:
    holding = Holding()
    holding.take("a", deliveries(1, 2), 0)
    holding.finish(begun(holding), ok(1))
    holding.cancel("a", (1,))
    holding.cancel("b", (2,))
    assert holding.collect() == {"a": [ok(1)]}


def test_waiting_ends_when_a_delivery_arrives() -> None:
    holding = Holding()
    timer = threading.Timer(0.05, lambda: holding.take("a", deliveries(1), 0))
    timer.start()
    begun_s = time.monotonic()
    while holding.begin(0) is None:
        holding.wait(10)
    timer.join()
    assert time.monotonic() - begun_s < 5


def test_two_threads_lose_and_double_nothing() -> None:
    """10 000 deliveries taken, run, parked, cancelled and handed back: each token ends exactly once."""
    holding, count = Holding(), 10_000
    ended: list[int] = []
    done = threading.Event()

    def run_guests() -> None:
        rng = random.Random(1)
        while not done.is_set():
            held = holding.begin(0)
            if held is None:
                holding.wait(0.01)
            elif rng.random() < 0.05:
                holding.park(held, "sha256:x")
            else:
                holding.finish(held, ok(held.delivery.token))

    thread = threading.Thread(target=run_guests)
    thread.start()
    rng = random.Random(2)
    next_token, deadline_s = 1, time.monotonic() + 30
    while len(ended) < count and time.monotonic() < deadline_s:
        if next_token <= count:
            size = min(rng.randrange(1, 20), count + 1 - next_token)
            holding.take("a", deliveries(*range(next_token, next_token + size)), 0)
            next_token += size
        action = rng.random()
        if action < 0.1:
            holding.cancel("a", (rng.randrange(1, next_token),))
        elif action < 0.2:
            ended.extend(holding.return_overdue(100, 40).get("a", ()))
        elif action < 0.5:
            holding.unpark("sha256:x")
        ended.extend(settlement.token for settlement in holding.collect().get("a", []))
    done.set()
    thread.join()
    assert sorted(ended) == list(range(1, count + 1))
    assert not holding.busy()
