"""Runs random valid modules in worker processes and finds the ones that end a worker.

`python tests/fuzz_sandbox.py --modules 10000` reports how many ended in which outcome. A worker that dies is
named with the seed of its module, and the exit code is 1; `--seed N --modules 1` runs that module again. The
tests in `tests/contract/test_isolation.py` are its short form.
"""

import argparse
import collections
import subprocess
import sys
import tempfile
from pathlib import Path

from guest_kit import Runner
from random_modules import random_module

from jobico.definition import Abi

BATCH = 500


def main() -> int:
    """Runs what the arguments ask for; answers the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the first module")
    parser.add_argument("--modules", type=int, default=1_000)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.seed, arguments.modules)
        return 0
    outcomes: collections.Counter[str] = collections.Counter()
    died: list[int] = []
    seed, end = arguments.seed, arguments.seed + arguments.modules
    while seed < end:
        seed = run_batch(seed, min(BATCH, end - seed), outcomes, died)
        print(f"{seed - arguments.seed} modules: {dict(outcomes)}, workers died on {died}", flush=True)
    return 1 if died else 0


def run_batch(seed: int, count: int, outcomes: "collections.Counter[str]", died: list[int]) -> int:
    """Runs a worker; answers the seed to go on with, past the one that ended it."""
    command = [sys.executable, __file__, "--worker", "--seed", str(seed), "--modules", str(count)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    lines = done.stdout.split()
    outcomes.update(lines)
    if done.returncode != 0:
        died.append(seed + len(lines))
        return seed + len(lines) + 1
    return seed + count


def work(seed: int, count: int) -> None:
    """Runs modules in this process, one line of outcome each."""
    with tempfile.TemporaryDirectory() as directory:
        run = Runner(Path(directory))
        for number in range(seed, seed + count):
            result = run(
                random_module(number), Abi.COMMAND, time_ms=30, memory_bytes=4 << 20, logs_bytes=1_000
            )
            print(result.outcome, flush=True)


if __name__ == "__main__":
    sys.exit(main())
