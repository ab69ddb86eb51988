"""The dispatcher between a real queue and real sockets."""

import asyncio
import time

import pytest
from dispatcher_kit import Stage, make_event, make_routes, ok, play, until

from jobico import limits
from jobico.change import IdempotencyKey
from jobico.definition import Order
from jobico.errors import Conflict, NotFound
from jobico.event import Delivery, Outcome, Settlement, State
from jobico.retry import RetryPolicy
from jobico.settings import Settings
from protocol import messages as m


def test_an_accepted_event_is_run_recorded_and_told(settings: Settings) -> None:
    async def scene(stage: Stage) -> None:
        recorder, executor = stage.record(), stage.executor()
        event = make_event()
        result = await stage.dispatcher.accept([event])
        assert result.ids == (event.id,)
        status = await stage.dispatcher.wait(event.id, 5)
        assert status is not None
        assert (status.state, status.outcome, status.result) == (State.DONE, Outcome.OK, {"done": True})
        assert status.payload == {"a": 1}
        assert executor.got[0].payload == event.payload
        await until(lambda: recorder.finals().get(event.id))
        await until(lambda: stage.dispatcher.load()["outbox"] == 0)

    play(settings, scene)


def test_many_events_on_two_executors_end_once_each(settings: Settings) -> None:
    async def scene(stage: Stage) -> None:
        recorder = stage.record()
        stage.executor("executor-0")
        stage.executor("executor-1")
        events = [make_event() for _ in range(500)]
        for start in range(0, 500, 50):
            await stage.dispatcher.accept(events[start : start + 50])
        await until(lambda: len(recorder.finals()) == 500)
        assert all(len(records) == 1 for records in recorder.finals().values())
        got = [one.id for each in stage.executors.values() for one in each.got]
        assert sorted(got) == sorted(event.id for event in events)
        assert all(executor.got for executor in stage.executors.values())

    play(settings, scene)


def test_the_events_of_a_lost_executor_run_elsewhere_within_two_seconds(settings: Settings) -> None:
    async def scene(stage: Stage) -> None:
        first = stage.executor("executor-0")
        first.behave = lambda _: None
        event = make_event()
        await stage.dispatcher.accept([event])
        await until(lambda: first.got)
        second = stage.executor("executor-1")
        await stage.joined()
        stage.kill("executor-0")
        begun = time.monotonic()
        await until(lambda: second.got)
        assert time.monotonic() - begun < 2.0
        assert second.got[0].attempt == 2
        status = await stage.dispatcher.wait(event.id, 5)
        assert status is not None
        assert [one["outcome"] for one in status.attempts][-1] == Outcome.OK

    play(settings, scene)


def test_an_executor_that_comes_back_as_another_run_of_itself_is_given_work_again(settings: Settings) -> None:
    async def scene(stage: Stage) -> None:
        first = stage.executor()
        first.behave = lambda _: None
        event = make_event()
        await stage.dispatcher.accept([event])
        await until(lambda: first.got)
        stage.kill("executor-0")
        second = stage.executor()
        await until(lambda: second.got)
        assert second.got[0].token != first.got[0].token
        assert (await stage.dispatcher.wait(event.id, 5)) is not None

    play(settings, scene)


def test_a_restarted_listener_runs_what_it_had_accepted_and_refuses_old_tokens(settings: Settings) -> None:
    async def scene(stage: Stage) -> None:
        executor = stage.executor()
        executor.behave = lambda _: None
        event = make_event()
        await stage.dispatcher.accept([event])
        await until(lambda: executor.got)
        old = executor.got[0]
        await stage.shut()
        executor.held.clear()
        await stage.open()
        await until(lambda: len(executor.got) == 2)
        executor.settle(Settlement(token=old.token, outcome=Outcome.OK, result=b"1"))
        executor.settle(Settlement(token=executor.got[1].token, outcome=Outcome.OK, result=b"2"))
        status = await stage.dispatcher.wait(event.id, 5)
        assert status is not None
        assert status.result == 2

    play(settings, scene)


def test_a_restarted_listener_waits_for_the_executor_that_runs_the_head_of_a_strict_queue(
    settings: Settings,
) -> None:
    async def scene(stage: Stage) -> None:
        stage.routes = make_routes(order=Order.STRICT)
        stage.dispatcher.set_routes(stage.routes)
        executor = stage.executor()
        executor.behave = lambda _: None
        first, second = make_event(b"1", ordered=True), make_event(b"2", ordered=True)
        await stage.dispatcher.accept([first, second])
        await until(lambda: executor.got)
        await stage.shut()
        await stage.open()
        await stage.joined()
        executor.behave = ok
        executor.settle(ok(executor.got[0]) or pytest.fail("no settlement"))
        assert (await stage.dispatcher.wait(second.id, 5)) is not None
        assert [one.id for one in executor.got] == [first.id, second.id]

    play(settings, scene)


def test_a_failed_attempt_is_tried_again_and_its_end_is_a_dead_letter(settings: Settings) -> None:
    async def scene(stage: Stage) -> None:
        recorder, executor = stage.record(), stage.executor()
        stage.dispatcher.set_routes(make_routes(retry=RetryPolicy(attempts=2, initial_ms=20)))

        def fail(delivery: Delivery) -> Settlement:
            return Settlement(token=delivery.token, outcome=Outcome.FAILED, code=7, error="no")

        executor.behave = fail
        event = make_event()
        await stage.dispatcher.accept([event])
        await until(lambda: recorder.finals().get(event.id))
        final = recorder.finals()[event.id][0]
        assert (final.state, final.reason, final.attempt, final.code) == (State.DEAD, "attempts", 2, 7)
        assert stage.dispatcher.load()["dead"] == 1

    play(settings, scene)


def test_an_idempotency_key_makes_one_event_of_two_posts(settings: Settings) -> None:
    async def scene(stage: Stage) -> None:
        executor = stage.executor()
        key = IdempotencyKey("k", b"digest", 1, 1 << 50)
        first, second = await asyncio.gather(
            stage.dispatcher.accept([make_event()], key), stage.dispatcher.accept([make_event()], key)
        )
        assert first.ids == second.ids
        assert [first.fresh, second.fresh] == [True, False]
        with pytest.raises(Conflict):
            await stage.dispatcher.accept([make_event()], IdempotencyKey("k", b"other", 1, 1 << 50))
        assert (await stage.dispatcher.wait(first.ids[0], 5)) is not None
        assert len(executor.got) == 1
        assert stage.dispatcher.machine.backlog.shares["acme"].use.events == 0

    play(settings, scene)


def test_cancelling_ends_a_queued_event_and_aborts_a_running_one(settings: Settings) -> None:
    async def scene(stage: Stage) -> None:
        queued = make_event()
        await stage.dispatcher.accept([queued])
        await stage.dispatcher.cancel("acme", queued.id)
        status = await stage.dispatcher.status("acme", queued.id)
        assert (status.state, status.outcome) == (State.DONE, Outcome.CANCELLED)
        executor = stage.executor()
        executor.behave = lambda _: None
        running = make_event()
        await stage.dispatcher.accept([running])
        await until(lambda: executor.got)
        await stage.dispatcher.cancel("acme", running.id)
        await until(lambda: executor.aborted)
        executor.settle(Settlement(token=executor.aborted[0], outcome=Outcome.CANCELLED))
        ended = await stage.dispatcher.wait(running.id, 5)
        assert ended is not None
        assert ended.outcome is Outcome.CANCELLED
        with pytest.raises(Conflict):
            await stage.dispatcher.cancel("acme", running.id)
        with pytest.raises(NotFound):
            await stage.dispatcher.status("other", running.id)

    play(settings, scene)


def test_records_are_sent_again_until_a_recorder_has_them(settings: Settings) -> None:
    async def scene(stage: Stage) -> None:
        stage.executor()
        events = [make_event() for _ in range(20)]
        await stage.dispatcher.accept(events)
        for event in events:
            assert (await stage.dispatcher.wait(event.id, 5)) is not None
        assert stage.dispatcher.load()["outbox"] == 20
        recorder = stage.record()
        await until(lambda: len(recorder.finals()) == 20)
        await until(lambda: stage.dispatcher.load()["outbox"] == 0)

    play(settings, scene)


def test_waiting_deliveries_that_are_returned_go_to_an_idle_executor(settings: Settings) -> None:
    async def scene(stage: Stage) -> None:
        slow = stage.executor("executor-0")
        await stage.dispatcher.accept([make_event()])
        await until(lambda: len(slow.got) == 1)  # the runtime is known now
        slow.behave = lambda _: None
        await stage.dispatcher.accept([make_event() for _ in range(10)])
        await until(lambda: len(slow.got) == 11)
        quick = stage.executor("executor-1")
        await stage.joined()
        waiting = tuple(one.token for one in slow.got[2:])
        slow.send(m.Returned(executor=slow.name, instance=slow.instance, tokens=waiting))
        await until(lambda: len(quick.got) == 9)
        assert all(delivery.attempt == 1 for delivery in quick.got)

    play(settings, scene)


def test_drain_waits_for_what_runs_and_leases_nothing_more(settings: Settings) -> None:
    async def scene(stage: Stage) -> None:
        executor = stage.executor()
        executor.behave = lambda _: None
        await stage.dispatcher.accept([make_event()])
        await until(lambda: executor.got)
        draining = asyncio.create_task(stage.dispatcher.drain())
        await stage.dispatcher.accept([make_event()])
        await asyncio.sleep(0)
        assert not draining.done()
        executor.settle(ok(executor.got[0]) or pytest.fail("no settlement"))
        await asyncio.wait_for(draining, 5)
        assert len(executor.got) == 1

    play(settings, scene)


def test_a_batch_that_was_lost_is_not_taken_for_recorded_because_a_later_one_was(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "OUTBOX_RETRY_MS", 500)

    async def scene(stage: Stage) -> None:
        recorder = stage.record()
        stage.executor()
        recorder.answers = False
        first, second = make_event(), make_event()
        await stage.dispatcher.accept([first])
        await until(lambda: recorder.batches == [(1, 1)])
        recorder.answers = True
        await stage.dispatcher.accept([second])
        await until(lambda: (2, 2) in recorder.batches)
        await until(lambda: second.id in recorder.finals())
        assert stage.dispatcher.load()["outbox"] == 2
        await until(lambda: first.id in recorder.finals())
        await until(lambda: stage.dispatcher.load()["outbox"] == 0)

    play(settings, scene)
