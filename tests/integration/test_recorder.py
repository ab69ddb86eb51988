"""Claims about the recorder node, made by a listener of the test's own on real sockets."""

import threading
from collections.abc import Iterator

import msgspec
import pytest
from node_kit import StartNode
from protocol_kit import MakeWire, until

from jobico.event import Outcome, Record, State
from jobico.settings import Settings
from nodes.recorder.service import serve as serve_recorder
from protocol import codec
from protocol.client import Client
from protocol.messages import (
    Executions,
    Feed,
    GetTotals,
    ListExecutions,
    Ping,
    Recorded,
    Records,
    ShowExecution,
)
from protocol.server import Reactor
from protocol.sockets import Wire, endpoint, try_recv, try_send
from protocol.topics import feed_topic


def event_id(number: int) -> str:
    return f"01900000-0000-7000-8000-{number:012x}"


def record(number: int, **fields: object) -> bytes:
    known: dict[str, object] = {
        "id": event_id(number), "attempt": 1, "tenant": "acme", "job": "j", "event": "e", "queue": "q",
        "revision": 1, "outcome": Outcome.OK, "state": State.DONE, "code": 0, "accepted_ms": 1_000 + number,
        "leased_ms": 2_000, "settled_ms": 3_000, "run_us": 5, "listener": "listener", "executor": "x",
    }  # fmt: skip
    return msgspec.msgpack.encode(Record(**{**known, **fields}))  # type: ignore[arg-type]


class Listener:
    """A listener that only sends records and keeps what is acknowledged."""

    def __init__(self, settings: Settings, wire: Wire) -> None:
        self.pull = wire.pull(endpoint(settings, "listener", "settlements"))
        self.push = wire.push(endpoint(settings, "recorder", "records"))
        self.recorded: list[Recorded] = []

    def send(self, first: int, *items: bytes) -> None:
        message = Records(listener="listener", first=first, last=first + len(items) - 1, items=items)
        until(lambda: try_send(self.push, codec.encode(message)), 10)

    def acknowledged(self) -> list[tuple[int, int]]:
        while (frames := try_recv(self.pull)) is not None:
            message = codec.decode(frames)[1]
            assert isinstance(message, Recorded)
            self.recorded.append(message)
        return [(message.first, message.upto) for message in self.recorded]

    def close(self) -> None:
        self.pull.close(linger=0)
        self.push.close(linger=0)


@pytest.fixture
def listener(settings: Settings, make_wire: MakeWire) -> Iterator[Listener]:
    made = Listener(settings, make_wire(settings, "listener"))
    yield made
    made.close()


@pytest.fixture
def feeds(settings: Settings, make_wire: MakeWire) -> Iterator[list[Feed]]:
    """What the recorder publishes of the tenant `acme`."""
    wire = make_wire(settings, "subscriber")
    reactor, heard = Reactor(wire), list[Feed]()
    socket = wire.sub(endpoint(settings, "recorder", "pub"), [feed_topic("acme")])
    reactor.on_message(socket, {Feed: heard.append}, topics=True)
    thread = threading.Thread(target=reactor.run)
    thread.start()
    yield heard
    reactor.stop()
    thread.join(5)
    socket.close(linger=0)


def listed(client: Client, settings: Settings, **fields: object) -> Executions:
    return client.call(endpoint(settings, "recorder", "rep"), ListExecutions(**fields))  # type: ignore[arg-type]


def ids(page: Executions) -> list[str]:
    return [msgspec.msgpack.decode(content, type=Record).id for _, content in page.rows]


def test_each_message_of_records_is_acknowledged_with_its_rows(
    listener: Listener, start_node: StartNode
) -> None:
    start_node(serve_recorder, "recorder")
    listener.send(5, record(1), record(2))
    listener.send(7, record(3))
    until(lambda: listener.acknowledged() == [(5, 6), (7, 7)])


def test_a_record_that_comes_twice_is_one(
    listener: Listener, start_node: StartNode, client: Client, settings: Settings
) -> None:
    start_node(serve_recorder, "recorder")
    listener.send(1, record(1), record(2))
    listener.send(1, record(1), record(2))
    until(lambda: len(listener.acknowledged()) == 2)
    assert ids(listed(client, settings)) == [event_id(2), event_id(1)]
    totals = client.call(endpoint(settings, "recorder", "rep"), GetTotals())
    assert totals.final == {"ok": 2}
    assert totals.records == 2


def test_rows_that_no_longer_decode_are_acknowledged_so_that_they_do_not_block_the_outbox(
    listener: Listener, start_node: StartNode, client: Client, settings: Settings
) -> None:
    start_node(serve_recorder, "recorder")
    listener.send(1, b"\xc1", record(1))
    until(lambda: listener.acknowledged() == [(1, 2)])
    assert ids(listed(client, settings)) == [event_id(1)]


def test_the_feed_has_new_records_by_tenant_and_names_the_row_before(
    listener: Listener, start_node: StartNode, feeds: list[Feed]
) -> None:
    start_node(serve_recorder, "recorder")
    number = 0
    while not feeds:  # until the subscription has reached the recorder
        number += 1
        listener.send(number, record(number))
        until(lambda sent=number: len(listener.acknowledged()) == sent)  # type: ignore[misc]
    listener.send(number + 1, record(1_001), record(1_002, tenant="other"), record(1_003))
    until(lambda: feeds[-1].items[-1] == record(1_003))
    last = feeds[-1]
    assert last.tenant == "acme"
    assert last.items == (record(1_001), record(1_003))
    assert last.previous == feeds[-2].rows[-1]
    listener.send(1, record(1))  # an old one again is no news
    listener.send(number + 4, record(1_004))
    until(lambda: feeds[-1].items == (record(1_004),))


def test_records_are_found_by_what_they_are_of(
    listener: Listener, start_node: StartNode, client: Client, settings: Settings
) -> None:
    start_node(serve_recorder, "recorder")
    listener.send(
        1,
        record(1),
        record(2, tenant="other"),
        record(3, event="f", outcome=Outcome.TRAP, state=State.DEAD),
        record(4, job="k"),
    )
    until(listener.acknowledged)
    assert ids(listed(client, settings, tenant="other")) == [event_id(2)]
    assert ids(listed(client, settings, event="f")) == [event_id(3)]
    assert ids(listed(client, settings, outcome="trap")) == [event_id(3)]
    assert ids(listed(client, settings, tenant="acme", job="k")) == [event_id(4)]
    first = listed(client, settings, limit=3)
    assert ids(first) == [event_id(4), event_id(3), event_id(2)]
    assert ids(listed(client, settings, limit=3, before=first.next)) == [event_id(1)]
    caught_up = listed(client, settings, after=first.rows[-1][0])
    assert ids(caught_up) == [event_id(3), event_id(4)]


def test_all_attempts_of_an_event_are_shown_in_their_order(
    listener: Listener, start_node: StartNode, client: Client, settings: Settings
) -> None:
    start_node(serve_recorder, "recorder")
    listener.send(1, record(1, state=State.DELAYED, outcome=Outcome.FAILED), record(1, attempt=2))
    until(listener.acknowledged)
    rep = endpoint(settings, "recorder", "rep")
    shown = client.call(rep, ShowExecution(tenant="acme", id=event_id(1)))
    assert [msgspec.msgpack.decode(item, type=Record).attempt for item in shown.items] == [1, 2]
    assert client.call(rep, ShowExecution(tenant="other", id=event_id(1))).items == ()


def test_what_it_has_acknowledged_survives_its_restart(
    listener: Listener, start_node: StartNode, client: Client, settings: Settings
) -> None:
    node = start_node(serve_recorder, "recorder")
    listener.send(1, record(1))
    until(listener.acknowledged)
    node.drain()
    until(lambda: node.wire._context.closed, 10)
    start_node(serve_recorder, "recorder")
    assert ids(listed(client, settings)) == [event_id(1)]
    listener.send(2, record(2))
    until(lambda: listener.acknowledged()[-1] == (2, 2), 10)


def test_records_over_the_age_that_is_kept_are_dropped(
    listener: Listener,
    start_node: StartNode,
    client: Client,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nodes.recorder.service._TRIM_MS", 50)
    start_node(serve_recorder, "recorder", retention_ms=1_000)
    listener.send(1, record(1))  # settled in 1970
    until(listener.acknowledged)
    until(lambda: listed(client, settings).rows == ())


def test_garbage_on_its_sockets_harms_nobody(
    listener: Listener, start_node: StartNode, client: Client, settings: Settings
) -> None:
    node = start_node(serve_recorder, "recorder")
    until(lambda: try_send(listener.push, [b"\x00", b"nonsense"]))
    until(lambda: node.load()["refused"] == 1)
    assert client.call(endpoint(settings, "recorder", "rep"), Ping()).ready


def test_a_full_store_is_not_ready_and_acknowledges_nothing_that_it_did_not_keep(
    listener: Listener, start_node: StartNode, client: Client, settings: Settings
) -> None:
    node = start_node(serve_recorder, "recorder", executions_map_bytes=4 << 20)
    number = 0
    while node.ready:
        number += 1
        listener.send(number, record(number, result=b"x" * 100_000))
        until(lambda sent=number: len(listener.acknowledged()) == sent or not node.ready)  # type: ignore[misc]
        assert number < 200
    kept = len(listener.acknowledged())
    assert kept < number
    rep = endpoint(settings, "recorder", "rep")
    assert not client.call(rep, Ping()).ready
    assert client.call(rep, GetTotals()).records == kept, "it still answers"
    node.drain()
    until(lambda: node.wire._context.closed, 10)
    start_node(serve_recorder, "recorder")
    listener.send(number, record(number))
    until(lambda: listener.acknowledged()[-1] == (number, number), 10)
    assert client.call(rep, GetTotals()).records == kept + 1
