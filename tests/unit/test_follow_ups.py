"""What follow-ups are made of."""

import json

import pytest
from machine_kit import make_revision

from jobico.definition import Order
from jobico.event import Event
from jobico.follow_ups import FollowUps, as_json
from jobico.routes import Routes

PARENT = Event("parent", "acme", "e", "job", "q", b"", 1, hop=3)


def makes(routes: Routes | None = None, **fields: str) -> FollowUps:
    own = Routes.build([make_revision(ok="then", error="oops", **fields)])  # type: ignore[arg-type]
    route = own.find("acme", "e")
    assert route is not None
    return FollowUps(PARENT, route, routes or own, lambda: "made", 99)


@pytest.mark.parametrize("text", [b"1", b'"a"', b"null", b' {"a": [1, 2]} ', b"1.5e3", '"é"'.encode()])
def test_json_passes_as_it_is(text: bytes) -> None:
    assert as_json(text) == text


@pytest.mark.parametrize("text", [b"", b"hello", b"{", b"NaN", b"1 2", b"{'a': 1}", b"\xff\xfe", b'"\x00"'])
def test_what_is_not_json_becomes_a_json_string(text: bytes) -> None:
    assert json.loads(as_json(text)) == text.decode(errors="replace")


def test_a_follow_up_knows_its_parent_and_is_one_hop_further() -> None:
    (event,) = makes().of_ok(b"1")
    assert (event.id, event.parent, event.hop, event.accepted_ms) == ("made", "parent", 4, 99)


def test_an_error_whose_event_is_damaged_carries_null() -> None:
    (event,) = makes().of_error(1, "x", b"")
    assert json.loads(event.payload) == {"code": 1, "error": "x", "event": None}


def test_a_follow_up_goes_where_its_event_goes_now() -> None:
    moved = Routes.build([make_revision(order=Order.STRICT, ok="then")])
    (event,) = makes(moved).of_ok(b"1")
    assert (event.queue, event.ordered) == ("side", False)


def test_a_follow_up_of_a_keyed_queue_has_the_key_that_its_result_names() -> None:
    routes = Routes.build([make_revision(order=Order.KEY, key="/k", ok="e", error="e")])
    route = routes.find("acme", "e")
    assert route is not None
    made = FollowUps(PARENT, route, routes, lambda: "made", 99)
    (keyed,) = made.of_ok(b'{"k":"a"}')
    assert (keyed.ordered, keyed.order_key) == (True, "a")
    (without,) = made.of_ok(b"17")
    assert (without.ordered, without.order_key) == (True, "")


def test_a_follow_up_whose_event_is_gone_is_made_all_the_same() -> None:
    (event,) = makes(Routes.build([])).of_ok(b"1")
    assert (event.event, event.job, event.queue, event.ordered) == ("then", "job", "q", False)
