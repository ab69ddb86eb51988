"""Times one event of each language of examples/languages; prints the table of docs/guests.md.

`python benchmarks/languages.py [--runs 200]`, fresh instance each; a language whose greet.wasm is not there
is left out (`build.sh` builds it).
"""

import argparse
import tempfile
from pathlib import Path

from jobico.definition import Abi, GuestLimits, RuntimeSpec
from jobico.event import Outcome
from jobico.ids import digest_of
from jobico.sandbox.compiler import inspect
from jobico.sandbox.engine import Job, Sandbox
from jobico.units import format_size

_LANGUAGES = Path(__file__).resolve().parents[1] / "examples" / "languages"
_EVENT = b'{"name": "Ada", "customerId": 42}'


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    runs = parser.parse_args().runs
    print("| language | ABI | size | time an event |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as cache:
        sandbox = Sandbox(Path(cache))
        for module in sorted(_LANGUAGES.glob("*/greet.wasm")):
            print(_row(sandbox, module, runs), flush=True)
        sandbox.close()


def _row(sandbox: Sandbox, module: Path, runs: int) -> str:
    content = module.read_bytes()
    abi = Abi(inspect(content).abi)
    limits = GuestLimits(time_ms=20_000, memory_bytes=256 << 20)
    spec = RuntimeSpec(name=module.name, digest=digest_of(content), abi=abi, limits=limits)
    job = Job(id="018bcfe5-6800-7000-8000-000000000001", tenant="t", event="greet", attempt=1, payload=_EVENT)
    results = [sandbox.run(spec, job, lambda _digest: content) for _ in range(runs)]
    assert all(result.outcome is Outcome.OK for result in results), results[0]
    best_us = min(result.run_us for result in results)
    time = f"{best_us / 1_000:.1f} ms" if best_us >= 1_000 else f"{best_us} µs"
    return f"| {module.parent.name} | {abi} | {format_size(len(content))} | {time} |"


if __name__ == "__main__":
    main()
