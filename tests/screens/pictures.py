"""Draws the pictures of docs/img from the fixed data set: `PYTHONPATH=. python -m tests.screens.pictures`."""

import asyncio
import os
import time
from pathlib import Path

from dashboard.app import DashboardApp
from tests.screens.fixed_feed import NOW_S, FixedFeed, minute_of_records

_IMAGES = Path(__file__).resolve().parents[2] / "docs" / "img"
_KEYS = {
    "overview": "1",
    "jobs": "2",
    "repository": "3",
    "executions": "4",
    "dead-letters": "5",
    "nodes": "6",
}


async def _draw() -> None:
    app = DashboardApp(FixedFeed(), now_s=lambda: NOW_S)
    async with app.run_test(size=(120, 34)) as pilot:
        for at_s, rows in minute_of_records():
            app.model.add(rows, at_s)
        for name, key in _KEYS.items():
            await pilot.press(key)
            await app.workers.wait_for_complete()
            await pilot.pause(0.6)
            _save(app, name)
        await pilot.press("4", "enter")
        await app.workers.wait_for_complete()
        await pilot.pause(0.6)
        _save(app, "execution")


def _save(app: DashboardApp, name: str) -> None:
    _IMAGES.mkdir(exist_ok=True)
    (_IMAGES / f"{name}.svg").write_text(app.export_screenshot(title="jobico dashboard"), encoding="utf-8")


if __name__ == "__main__":
    os.environ["TZ"] = "UTC"
    time.tzset()
    asyncio.run(_draw())
