"""The delivery promises under faults: the real machine in thousands of simulated worlds, each from a seed.

`JOBICO_SIM_SCENARIOS` and `JOBICO_SIM_SEED` choose how many and where to begin; a failure names its seed, and
`JOBICO_SIM_SCENARIOS=1 JOBICO_SIM_SEED=<seed>` plays that one again.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sim_fair import FloodScenario, SlowGuestScenario, run_fair, run_isolation
from sim_scenario import run_scenario
from sim_store import LmdbStore

SCENARIOS = int(os.environ.get("JOBICO_SIM_SCENARIOS", "10000"))
SEED = int(os.environ.get("JOBICO_SIM_SEED", "0"))
FAIR = max(1, SCENARIOS // 50)
LMDB = max(1, SCENARIOS // 50)
PARTS = 10


@pytest.fixture
def fast_dir() -> Iterator[Path]:
    """A directory in memory where there is one: a sync costs nothing there."""
    shm = Path("/dev/shm")
    path = Path(tempfile.mkdtemp(prefix="jb", dir=shm if shm.is_dir() else None))
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize("part", range(PARTS))
def test_no_event_is_lost_doubled_or_reordered_whatever_breaks(part: int) -> None:
    for seed in range(SEED + part, SEED + SCENARIOS, PARTS):
        run_scenario(seed)


def test_the_same_holds_on_the_real_queue(fast_dir: Path) -> None:
    for seed in range(SEED, SEED + LMDB):
        store = LmdbStore(fast_dir / str(seed))
        try:
            scenario = run_scenario(seed, store)
            stored = sorted((record.id, record.attempt) for record in store.outbox())
        finally:
            store.close()
        shutil.rmtree(fast_dir / str(seed))
        expected = sorted(
            (record.id, record.attempt) for records in scenario.checks.records.values() for record in records
        )
        assert stored == expected, f"seed {seed}: the outbox has each attempt once"


def test_tenants_with_work_share_run_time_by_their_weights() -> None:
    for seed in range(SEED, SEED + FAIR):
        run_fair(seed)


def test_slow_guests_of_one_tenant_do_not_delay_the_quick_ones_of_another() -> None:
    for seed in range(SEED, SEED + FAIR):
        run_isolation(seed)


@pytest.mark.parametrize("seed", range(5))
def test_a_flood_of_one_tenant_does_not_delay_the_one_event_a_second_of_another(seed: int) -> None:
    scenario = FloodScenario(SEED + seed)
    scenario.run(30_000)
    assert len(scenario.took_ms) == 15
    assert max(scenario.took_ms) < 250


@pytest.mark.parametrize("seed", range(5))
def test_a_guest_that_is_slow_for_once_does_not_hold_back_a_thousand_quick_ones(seed: int) -> None:
    p99_ms = []
    for slow in (False, True):
        scenario = SlowGuestScenario(SEED + seed, slow=slow)
        scenario.run(20_000)
        assert len(scenario.took_ms) == 1_000
        p99_ms.append(sorted(scenario.took_ms)[989])
    assert p99_ms[1] < p99_ms[0] + 100


def test_a_seed_gives_the_same_world_each_time() -> None:
    first, second = run_scenario(SEED + 7), run_scenario(SEED + 7)
    assert first.world.story == second.world.story
    assert len(first.world.story) > 20
