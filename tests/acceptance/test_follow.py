"""`jobico logs -f` shows every execution once, whatever is killed meanwhile, and says what happened."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from acceptance_kit import ECHO, Platform, job, until, wasm


@contextmanager
def _following(platform: Platform, out: Path, err: Path) -> Iterator[None]:
    with (
        out.open("w") as stdout,
        err.open("w") as stderr,
        subprocess.Popen(
            [sys.executable, "-P", "-m", "cli", "logs", "acme", "-f", "-n", "5", "--json"],
            env={**os.environ, "JOBICO_HOME": str(platform.home)},
            stdout=stdout,
            stderr=stderr,
        ) as process,
    ):
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            try:
                assert process.wait(10) in (0, 130)
            finally:
                process.kill()


def test_following_misses_and_repeats_nothing_across_kills(own_platform: Platform, tmp_path: Path) -> None:
    platform = own_platform
    platform.deploy(tmp_path, **job(tmp_path, wasm(ECHO)))
    sent = [_send(platform)]
    platform.final(sent[0])
    out, err = tmp_path / "out", tmp_path / "err"
    with _following(platform, out, err):
        until(lambda: _shown(out) == sent, 10, "what was there before is shown")
        for name in ("recorder", "control", "recorder"):
            pid = platform.node_pid(name)
            os.kill(pid, signal.SIGKILL)
            sent += [_send(platform) for _ in range(20)]
            until(lambda name=name, pid=pid: platform.node_pid(name) not in (0, pid), 10, f"{name} is back")  # type: ignore[misc]
            sent += [_send(platform) for _ in range(20)]
        platform.supervisorctl("stop", "recorder")
        sent.append(_send(platform))
        until(lambda: "The recorder is away" in err.read_text(), 15, "that it is away is said")
        platform.supervisorctl("start", "recorder")
        until(lambda: "The recorder is back" in err.read_text(), 15, "that it is back is said")
        until(lambda: len(_shown(out)) >= len(sent), 30, "all are shown")
    shown = _shown(out)
    assert len(shown) == len(set(shown))
    assert set(shown) == set(sent)


def _send(platform: Platform) -> str:
    answer = platform.post("order", {"a": 1})
    assert answer.status == 202
    return str(answer.json["id"])


def _shown(out: Path) -> list[str]:
    return [json.loads(line)["id"] for line in out.read_text().splitlines()]
