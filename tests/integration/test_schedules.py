"""A schedule fires once for each of its times, whoever is away or restarted meanwhile."""

from collections.abc import Iterator

import msgspec
import pytest
from protocol_kit import MakeWire, Serve, until

from jobico.clock import ManualClock
from jobico.definition import Revision, parse_definition
from jobico.settings import Settings
from jobico.storage.catalog import Catalog
from nodes.control.changes import Changes
from nodes.control.schedules import Schedules
from nodes.peers import Peers
from protocol.messages import EmitEvent, EventAccepted
from protocol.sockets import Wire, endpoint

_NOON = 1_700_049_600_000
_MINUTE = 60_000
_JOB = """
id: clockwork
tenant: acme
runtimes: [{id: tick, moduleref: tick.wasm}]
jobs:
  - event: {id: tick, runtime: tick, schedule: "* * * * *", missed: all}
"""


class Listener:
    """A peer that answers EmitEvent, once for each key, and remembers the keys."""

    def __init__(self, settings: Settings, serve: Serve, wire: Wire) -> None:
        self.times: list[str] = []
        self.asked = 0
        rep = wire.rep(endpoint(settings, "listener", "rep"))
        serve(wire, lambda reactor: reactor.on_request(rep, {EmitEvent: self._emit}))

    def _emit(self, request: EmitEvent, _caller: object) -> EventAccepted:
        self.asked += 1
        if request.key not in self.times:
            self.times.append(request.key)
        return EventAccepted(id=f"id-{request.key}")


@pytest.fixture
def catalog(settings: Settings) -> Iterator[Catalog]:
    opened = Catalog.open(settings.data_dir("control"), map_bytes=16 << 20)
    revision = Revision(parse_definition(_JOB), 1, _NOON, {}, {})

    def deploy(edit) -> bytes:  # type: ignore[no-untyped-def]
        edit.put_revision(msgspec.structs.replace(revision, number=edit.next_number("acme", "clockwork")))
        return b""

    opened.submit(deploy).result(5)
    yield opened
    opened.close()


def _schedules(settings: Settings, catalog: Catalog, clock: ManualClock, wire: Wire) -> Schedules:
    changes = Changes(catalog, clock, lambda _changes: None)
    made = Schedules(catalog, changes, clock, wire, Peers(settings))
    made.start()
    return made


def test_each_minute_fires_once_across_a_restart_of_control(
    settings: Settings, catalog: Catalog, make_wire: MakeWire, serve: Serve
) -> None:
    listener = Listener(settings, serve, make_wire(settings, "listener"))
    clock = ManualClock(_NOON + 1)
    first = _schedules(settings, catalog, clock, make_wire(settings, "control"))
    clock.advance(_MINUTE)
    until(lambda: listener.times == ["2023-11-15T12:01:00Z"], 5)
    first.close()
    clock.advance(2 * _MINUTE)
    second = _schedules(settings, catalog, clock, make_wire(settings, "control"))
    until(lambda: len(listener.times) == 3, 5)
    second.close()
    assert listener.times == [f"2023-11-15T12:0{minute}:00Z" for minute in (1, 2, 3)]
    assert listener.asked == 3


def test_a_listener_that_is_away_is_asked_until_it_answers(
    settings: Settings, catalog: Catalog, make_wire: MakeWire, serve: Serve
) -> None:
    clock = ManualClock(_NOON + 1)
    schedules = _schedules(settings, catalog, clock, make_wire(settings, "control"))
    clock.advance(_MINUTE)
    listener = Listener(settings, serve, make_wire(settings, "listener"))
    until(lambda: listener.times == ["2023-11-15T12:01:00Z"], 15)
    schedules.close()


def test_an_undeployed_job_begins_anew(settings: Settings, catalog: Catalog) -> None:
    def fired(edit) -> bytes:  # type: ignore[no-untyped-def]
        edit.put_schedule("acme", "tick", _NOON)
        return b""

    def undeploy(edit) -> bytes:  # type: ignore[no-untyped-def]
        edit.delete_job("acme", "clockwork")
        return b""

    catalog.submit(fired).result(5)
    catalog.submit(undeploy).result(5)
    with catalog.view() as view:
        assert view.schedule("acme", "tick") == 0
