"""What the listener answers on its REP socket."""

from collections.abc import Awaitable, Callable

import pytest
from dispatcher_kit import Stage, make_event, make_routes, play, until

from jobico.clock import SystemClock
from jobico.definition import Order
from jobico.errors import JobicoError, NotFound
from jobico.event import Delivery, Outcome, Settlement, Source, State
from jobico.retry import RetryPolicy
from jobico.settings import Settings
from nodes.listener.requests import RequestHandlers
from protocol import messages as m
from protocol.aio import AsyncClient
from protocol.authorisation import Caller, Role

Ask = Callable[[m.Message], Awaitable[m.Message]]


def asked(settings: Settings, scene: Callable[[Stage, Ask], Awaitable[None]]) -> None:
    """Runs a scene with a caller beside the stage."""

    async def run(stage: Stage) -> None:
        client = AsyncClient(stage.wire("cli"), "cli")

        async def ask(message: m.Message) -> m.Message:
            reply = await client.call(stage.dispatcher.endpoints["rep"], message)  # type: ignore[arg-type]
            assert isinstance(reply, m.Message)
            return reply

        try:
            await scene(stage, ask)
        finally:
            client.close()

    play(settings, run)


def fail(delivery: Delivery) -> Settlement:
    return Settlement(token=delivery.token, outcome=Outcome.FAILED, code=9)


async def make_dead(stage: Stage, count: int) -> list[str]:
    stage.dispatcher.set_routes(make_routes(retry=RetryPolicy(attempts=1)))
    executor = stage.executor()
    executor.behave = fail
    events = [make_event(b'{"n":%d}' % n) for n in range(count)]
    await stage.dispatcher.accept(events)
    await until(lambda: stage.dispatcher.load()["dead"] == count)
    return [event.id for event in events]


def test_an_event_is_shown_and_listed_with_its_state(settings: Settings) -> None:
    async def scene(stage: Stage, ask: Ask) -> None:
        event = make_event()
        await stage.dispatcher.accept([event])
        shown = await ask(m.ShowEvent(tenant="acme", id=event.id))
        assert isinstance(shown, m.EventShown)
        assert (shown.status.state, shown.status.payload) == (State.QUEUED, {"a": 1})
        listed = await ask(m.ListEvents(tenant="acme"))
        assert isinstance(listed, m.Events)
        assert [(row["id"], row["state"]) for row in listed.items] == [(event.id, "queued")]
        assert listed.total == 1
        none = await ask(m.ListEvents(tenant="other"))
        assert isinstance(none, m.Events)
        assert none.total == 0

    asked(settings, scene)


def test_another_tenants_event_is_not_found(settings: Settings) -> None:
    async def scene(stage: Stage, ask: Ask) -> None:
        event = make_event()
        await stage.dispatcher.accept([event])
        with pytest.raises(NotFound):
            await ask(m.ShowEvent(tenant="other", id=event.id))
        with pytest.raises(JobicoError):
            await ask(m.CancelEvent(request_id="1", tenant="other", id=event.id))

    asked(settings, scene)


def test_a_replay_is_a_new_event_with_the_old_one_as_its_parent(settings: Settings) -> None:
    async def scene(stage: Stage, ask: Ask) -> None:
        (old,) = await make_dead(stage, 1)
        executor = stage.executors["executor-0"]
        executor.behave = lambda _: None
        counted = await ask(m.ReplayDeadLetters(request_id="1", tenant="acme", ids=(old,)))
        assert counted == m.Counted(count=1)
        await until(lambda: len(executor.got) == 2)
        replayed = executor.got[1]
        assert replayed.id != old
        assert (replayed.attempt, replayed.payload) == (1, b'{"n":0}')
        item = stage.dispatcher.machine.backlog.by_id[replayed.id]
        assert (item.event.parent, item.event.source) == (old, Source.REPLAY)
        assert stage.dispatcher.load()["dead"] == 0
        ended = await stage.dispatcher.status("acme", old)
        assert ended.state is State.DEAD

    asked(settings, scene)


def test_dead_letters_are_listed_replayed_and_purged_by_filter(settings: Settings) -> None:
    async def scene(stage: Stage, ask: Ask) -> None:
        await make_dead(stage, 5)
        listed = await ask(m.ListDeadLetters(tenant="acme", reason="attempts", limit=2))
        assert isinstance(listed, m.DeadLetters)
        assert (len(listed.items), listed.total) == (2, 5)
        assert listed.items[0].code == 9
        stage.executors["executor-0"].behave = lambda _: None
        counted = await ask(m.ReplayDeadLetters(request_id="1", tenant="acme", event="e", limit=2))
        assert counted == m.Counted(count=2, more=True)
        counted = await ask(m.PurgeDeadLetters(request_id="2", tenant="acme"))
        assert counted == m.Counted(count=3)
        assert stage.dispatcher.load()["dead"] == 0
        assert len(stage.dispatcher.machine.backlog.items) == 2

    asked(settings, scene)


def test_a_dead_letter_of_another_tenant_is_neither_replayed_nor_purged(settings: Settings) -> None:
    async def scene(stage: Stage, ask: Ask) -> None:
        ids = tuple(await make_dead(stage, 1))
        for request in (
            m.ReplayDeadLetters(request_id="1", tenant="other", ids=ids),
            m.PurgeDeadLetters(request_id="2", tenant="other", ids=ids),
        ):
            with pytest.raises(NotFound):
                await ask(request)
        assert stage.dispatcher.load()["dead"] == 1

    asked(settings, scene)


def test_the_clocks_event_is_accepted_once_for_each_key(settings: Settings) -> None:
    async def scene(stage: Stage, ask: Ask) -> None:
        one = m.EmitEvent(request_id="1", tenant="acme", event="e", payload=b"{}", key="12:00")
        first, second = await ask(one), await ask(one)
        assert first == second
        other = await ask(m.EmitEvent(request_id="2", tenant="acme", event="e", payload=b"{}", key="12:05"))
        assert other != first
        (item, _) = stage.dispatcher.machine.backlog.items.values()
        assert item.event.source is Source.SCHEDULE
        with pytest.raises(NotFound):
            await ask(m.EmitEvent(request_id="3", tenant="acme", event="none", payload=b"{}", key="x"))

    asked(settings, scene)


def test_queues_tell_their_depth(settings: Settings) -> None:
    async def scene(stage: Stage, ask: Ask) -> None:
        stage.dispatcher.set_routes(make_routes(order=Order.NONE))
        await stage.dispatcher.accept([make_event() for _ in range(3)])
        queues = await ask(m.ListQueues(tenant="acme"))
        assert isinstance(queues, m.Queues)
        (row,) = queues.items
        assert (row["queue"], row["ready"], row["running"], row["bytes"]) == ("q", 3, 0, 21)
        assert row["oldest_ms"] > 0

    asked(settings, scene)


def test_a_tenant_is_not_told_how_much_is_to_be_recorded_of_all(settings: Settings) -> None:
    async def scene(stage: Stage, ask: Ask) -> None:
        stage.executor()
        await stage.dispatcher.accept([make_event()])
        await until(lambda: stage.dispatcher.load()["outbox"])  # no recorder takes it
        whole = await ask(m.ListQueues())
        assert isinstance(whole, m.Queues)
        assert whole.outbox == stage.dispatcher.load()["outbox"]
        handlers = RequestHandlers("listener", stage.dispatcher, stage.dispatcher._queue, SystemClock())
        told = await handlers.table()[m.ListQueues](m.ListQueues(), Caller(Role.ADMIN, "acme"))
        assert isinstance(told, m.Queues)
        assert told.outbox == 0

    asked(settings, scene)
