"""Every screen of the dashboard: how it looks with a fixed data set, and what its keys and the mouse do."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Input, Static, Tree

from dashboard.app import DashboardApp
from dashboard.screens.execution import ExecutionScreen
from dashboard.screens.help import HelpScreen
from dashboard.widgets.status_line import StatusLine
from tests.screens.fixed_feed import NOW_S, FixedFeed, record, records
from tests.screens.screen_text import screen_text

_GOLDEN = Path(__file__).parent / "golden"
_KEYS = {
    "overview": "1",
    "jobs": "2",
    "repository": "3",
    "executions": "4",
    "dead_letters": "5",
    "nodes": "6",
}
_SIZES = [(80, 24), (120, 40)]

Steps = Callable[[Pilot[None], DashboardApp, FixedFeed], Awaitable[None]]


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def _run(steps: Steps, size: tuple[int, int] = (80, 24), feed: FixedFeed | None = None) -> FixedFeed:
    fed = feed or FixedFeed()

    async def session() -> None:
        app = DashboardApp(fed, now_s=lambda: NOW_S)
        async with app.run_test(size=size) as pilot:
            app.model.add(records(), NOW_S - 3)
            await pilot.pause()
            await steps(pilot, app, fed)

    asyncio.run(session())
    return fed


async def _go(pilot: Pilot[None], app: DashboardApp, key: str) -> None:
    await pilot.press(key)
    await app.workers.wait_for_complete()
    await pilot.pause()
    app.screen.tick()  # type: ignore[attr-defined]
    await pilot.pause()


def _shown(app: DashboardApp) -> str:
    return screen_text(app.export_screenshot(), app.size.width)


def _compare(name: str, text: str) -> None:
    path = _GOLDEN / f"{name}.txt"
    if os.environ.get("JOBICO_TEST_UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text(), f"{path} differs; JOBICO_TEST_UPDATE_GOLDEN=1 writes it anew"


@pytest.mark.parametrize("size", _SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("mode", list(_KEYS))
def test_screen_shows_the_fixed_data_set(mode: str, size: tuple[int, int]) -> None:
    async def steps(pilot: Pilot[None], app: DashboardApp, feed: FixedFeed) -> None:
        await _go(pilot, app, _KEYS[mode])
        _compare(f"{mode}-{size[0]}x{size[1]}", _shown(app))

    _run(steps, size)


@pytest.mark.parametrize("size", _SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_an_opened_event_shows_timeline_logs_payload_and_result(size: tuple[int, int]) -> None:
    async def steps(pilot: Pilot[None], app: DashboardApp, feed: FixedFeed) -> None:
        await _go(pilot, app, "4")
        await _go(pilot, app, "enter")
        assert isinstance(app.screen, ExecutionScreen)
        _compare(f"execution-{size[0]}x{size[1]}", _shown(app))
        await pilot.press("escape")
        assert not isinstance(app.screen, ExecutionScreen)

    _run(steps, size)


@pytest.mark.parametrize("size", _SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_help_names_all_keys(size: tuple[int, int]) -> None:
    async def steps(pilot: Pilot[None], app: DashboardApp, feed: FixedFeed) -> None:
        await _go(pilot, app, "1")  # what shows behind it
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        await pilot.pause()
        _compare(f"help-{size[0]}x{size[1]}", _shown(app))
        await pilot.press("escape")
        assert not isinstance(app.screen, HelpScreen)

    _run(steps, size)


def test_escapes_of_guests_reach_the_screen_spelt_out() -> None:
    async def steps(pilot: Pilot[None], app: DashboardApp, feed: FixedFeed) -> None:
        app.push_screen(ExecutionScreen("acme", record(40).id))
        await app.workers.wait_for_complete()
        await pilot.pause()
        text = str(app.screen.query_one("#detail", Static).content)
        assert "\\x1b]0;owned\\x07" in text
        assert not set(text) & {"\x1b", "\x07", "\u202e"}

    _run(steps)


def test_typing_into_the_filter_narrows_the_list() -> None:
    async def steps(pilot: Pilot[None], app: DashboardApp, feed: FixedFeed) -> None:
        await _go(pilot, app, "4")
        await pilot.press("slash", *"globex failed")
        await pilot.pause()
        table = app.screen.query_one(DataTable)
        assert table.row_count == 1
        assert app.screen.query_one(Input).value == "globex failed"

    _run(steps)


def test_a_held_list_stays_while_events_come() -> None:
    async def steps(pilot: Pilot[None], app: DashboardApp, feed: FixedFeed) -> None:
        await _go(pilot, app, "4")
        await _go(pilot, app, "f")
        app.model.add([(41, record(41))], NOW_S)
        app.screen.tick()  # type: ignore[attr-defined]
        assert app.screen.query_one(DataTable).row_count == 40
        await _go(pilot, app, "f")
        assert app.screen.query_one(DataTable).row_count == 41

    _run(steps)


def test_the_mouse_opens_an_event() -> None:
    async def steps(pilot: Pilot[None], app: DashboardApp, feed: FixedFeed) -> None:
        await _go(pilot, app, "4")
        await pilot.click(DataTable, offset=(5, 3))
        await pilot.click(DataTable, offset=(5, 3))
        await pilot.pause()
        assert isinstance(app.screen, ExecutionScreen)

    _run(steps)


@pytest.mark.parametrize(("key", "done"), [("y", "replayed"), ("x", "purged")])
def test_a_dead_letter_is_touched_only_after_a_yes(key: str, done: str) -> None:
    async def steps(pilot: Pilot[None], app: DashboardApp, feed: FixedFeed) -> None:
        await _go(pilot, app, "5")
        await pilot.press(key)
        await pilot.press("n")
        await app.workers.wait_for_complete()
        assert getattr(feed, done) == []
        await pilot.press(key)
        await pilot.press("y")
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert getattr(feed, done) == [record(8).id]
        assert app.screen.query_one(DataTable).row_count == 1

    _run(steps)


def test_choosing_in_the_tree_shows_the_thing() -> None:
    async def steps(pilot: Pilot[None], app: DashboardApp, feed: FixedFeed) -> None:
        await _go(pilot, app, "2")
        app.screen.query_one(Tree).focus()
        await pilot.press("down", "down")
        await app.workers.wait_for_complete()
        await pilot.pause()
        detail = str(app.screen.query_one("#detail", Static).content)
        assert "customer.json" in detail
        assert '"required": [' in detail, "the schema, pretty-printed"

    _run(steps)


def test_an_earlier_revision_shows_what_has_changed_since() -> None:
    async def steps(pilot: Pilot[None], app: DashboardApp, feed: FixedFeed) -> None:
        await _go(pilot, app, "2")
        tree = app.screen.query_one(Tree)
        tree.focus()
        tree.root.expand_all()
        await pilot.pause()
        await pilot.press("end")
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert "+tenant: acme" in str(app.screen.query_one("#detail", Static).content)

    _run(steps)


@pytest.mark.parametrize("mode", ["jobs", "repository", "dead_letters"])
def test_a_node_that_is_away_is_told_and_blocks_nothing(mode: str) -> None:
    async def steps(pilot: Pilot[None], app: DashboardApp, feed: FixedFeed) -> None:
        feed.away = True
        feed.notices["control"] = "Control is away"
        await _go(pilot, app, _KEYS[mode])
        assert "Control is away" in str(app.screen.query_one(StatusLine).content)
        feed.away = False
        feed.notices.clear()
        await _go(pilot, app, "r")
        assert "Control is away" not in str(app.screen.query_one(StatusLine).content)

    _run(steps)


def test_the_theme_turns_light_and_dark() -> None:
    async def steps(pilot: Pilot[None], app: DashboardApp, feed: FixedFeed) -> None:
        await pilot.press("t")
        assert app.theme == "textual-light"
        await pilot.press("t")
        assert app.theme == "textual-dark"

    _run(steps)


def test_q_quits_and_closes_the_feed() -> None:
    async def steps(pilot: Pilot[None], app: DashboardApp, feed: FixedFeed) -> None:
        await pilot.press("q")

    assert _run(steps).closed
