"""`jobico bench`: it measures, it checks its own sums, and it leaves nothing behind."""

import json
from pathlib import Path

from acceptance_kit import Platform, run_cli


def test_it_measures_a_running_platform_and_takes_its_tenant_away(platform: Platform) -> None:
    before = json.loads(run_cli("tenants", "list", "--json", home=platform.home).out)
    done = run_cli("bench", "--seconds", "0.5", "--connections", "8", "--json", home=platform.home)
    assert done.code == 0, done.err
    facts = json.loads(done.out)
    assert facts["complete"]
    assert [run["batch"] for run in facts["runs"]] == [1, 100]
    for run in facts["runs"]:
        assert run["accepted"] == run["recorded"] > 0
        assert run["refused"] == {}
        assert 0 < run["accept_p50_ms"] <= run["accept_p99_ms"]
        assert 0 < run["end_to_end_p50_ms"] <= run["end_to_end_p99_ms"]
    assert json.loads(run_cli("tenants", "list", "--json", home=platform.home).out) == before


def test_without_a_platform_it_starts_its_own_and_stops_it(home: Path) -> None:
    done = run_cli("bench", "--seconds", "0.5", "--batch", "10", "--json", home=home)
    assert done.code == 0, done.err
    assert json.loads(done.out)["complete"]
    assert not list(home.iterdir())
