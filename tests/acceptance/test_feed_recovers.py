"""Recorder and control are killed under the feed of the faces: it loses and repeats nothing."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from acceptance_kit import ECHO, Platform, job, wasm

from dashboard.feed import LiveFeed
from jobico.event import Record
from jobico.settings import Settings

_EVENTS_A_ROUND = 60


async def _wait(condition, timeout_s: float, what: str) -> None:  # type: ignore[no-untyped-def]
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"not within {timeout_s} s: {what}"
        await asyncio.sleep(0.02)


@pytest.mark.slow
def test_every_record_is_seen_once_while_recorder_and_control_are_killed(
    own_platform: Platform, tmp_path: Path
) -> None:
    platform = own_platform
    platform.deploy(tmp_path, **job(tmp_path, wasm(ECHO)))
    seen: list[tuple[int, Record]] = []

    async def post(loop: asyncio.AbstractEventLoop) -> list[str]:
        body = {"data": [{"n": number} for number in range(_EVENTS_A_ROUND)]}
        answer = await loop.run_in_executor(None, lambda: platform.post("order", body))
        assert answer.status == 202, answer
        return list(answer.json["ids"])

    async def follow() -> list[str]:
        loop = asyncio.get_running_loop()
        feed = LiveFeed(Settings(home=str(platform.home)))
        feed.start(seen.extend)
        await _wait(lambda: feed.nodes, 10, "the registry is known")
        pids = {node.name: node.pid for node in feed.nodes}
        ids = await post(loop)
        await _wait(lambda: len(seen) >= len(ids), 20, "the first round is seen")
        for name in ("recorder", "control"):
            os.kill(pids[name], signal.SIGKILL)
            ids += await post(loop)
            wanted = set(ids)
            await _wait(lambda wanted=wanted: wanted <= {r.id for _, r in seen}, 30, f"all, after {name}")
        await _wait(lambda: not feed.notices, 20, "nobody is away any more")
        await feed.close()
        return ids

    ids = asyncio.run(follow())
    assert sorted(record.id for _, record in seen) == sorted(ids)
    assert [row for row, _ in seen] == sorted({row for row, _ in seen})
