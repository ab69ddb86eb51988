"""Stores that are full or damaged under a running platform: it says so, finishes its work, and recovers."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import lmdb
import pytest
from acceptance_kit import ECHO, until, wasm
from faults_kit import FaultyPlatform, Tenant
from storage_kit import damage

from jobico.limits import KIB, MIB

_MAP_BYTES = 24 * MIB
_DISK_BYTES = 96 * MIB


def _fill(tenant: Tenant) -> list[str]:
    """Posts until it is told 503; returns the ids of what was accepted."""
    accepted = []
    body = b'"' + b"x" * (100 * KIB) + b'"'
    while (answer := tenant.post(body)).status == 202:
        accepted.append(answer.json["id"])
        assert len(accepted) < 2_000, "it is never full"
    assert answer.status == 503, answer
    assert int(answer.headers["retry-after"]) > 0
    return accepted


def _again(tenant: Tenant) -> str | None:
    answer = tenant.post(b"1")
    return answer.json["id"] if answer.status == 202 else None


def _ready(platform: FaultyPlatform) -> int:
    return platform.http("GET", "/readyz").status


@pytest.mark.slow
def test_a_full_map_refuses_and_drains(start: Callable[..., FaultyPlatform], tmp_path: Path) -> None:
    """Map full: 503 and not ready; what is queued settles, which makes room; nothing accepted is lost."""
    platform = start(JOBICO_QUEUE_MAP_BYTES=str(_MAP_BYTES))
    tenant = platform.tenant("full")
    tenant.deploy(tmp_path, tenant.definition(tmp_path, wasm(ECHO)))
    platform.supervisorctl("stop", "executor:*")
    listener = platform.processes("listener")
    accepted = _fill(tenant)
    assert len(accepted) * 100 * KIB > _MAP_BYTES // 4
    assert _ready(platform) == 503
    platform.supervisorctl("start", "executor:*")
    until(lambda: _ready(platform) == 200, 20, "it is ready again")
    accepted.append(until(lambda: _again(tenant), 10, "it takes events again"))
    tenant.check(accepted)
    assert platform.processes("listener") == listener


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A data directory whose listener has a file system of its own, of `_DISK_BYTES`."""
    home = Path(tempfile.mkdtemp(prefix="jb"))
    disk = home / "data" / "listener"
    disk.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "tmpfs", str(disk)]
    done = subprocess.run(mount, check=False, capture_output=True, text=True)
    if done.returncode:
        shutil.rmtree(home)
        if os.environ.get("CI") and os.getuid() == 0:
            pytest.fail(f"no tmpfs can be mounted: {done.stderr}")
        pytest.skip(f"no tmpfs can be mounted: {done.stderr}")
    yield home
    subprocess.run(["umount", str(disk)], check=False)
    shutil.rmtree(home, ignore_errors=True)


@pytest.mark.slow
def test_a_full_disk_refuses_and_recovers(
    small_disk: Path, start: Callable[..., FaultyPlatform], tmp_path: Path
) -> None:
    """ENOSPC: 503 and not ready; what is queued runs and settles; with space again it goes on by itself."""
    platform = start(home=small_disk)
    tenant = platform.tenant("full")
    tenant.deploy(tmp_path, tenant.definition(tmp_path, wasm(ECHO)))
    platform.supervisorctl("stop", "executor:*")
    listener = platform.processes("listener")
    ballast = small_disk / "data" / "listener" / "ballast"
    _fill_disk(ballast)
    accepted = _fill(tenant)
    assert accepted, "the reserve has room for what was promised before the disk was full"
    assert _ready(platform) == 503
    platform.supervisorctl("start", "executor:*")
    until(lambda: tenant.final_count() == len(accepted), 20, "what is queued settles on a full disk")
    ballast.unlink()
    until(lambda: _ready(platform) == 200, 20, "it is ready again")
    accepted.append(until(lambda: _again(tenant), 10, "it takes events again"))
    tenant.check(accepted)
    assert platform.processes("listener") == listener


def _fill_disk(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * MIB):
                pass
        except OSError:
            return


@pytest.mark.slow
def test_one_flipped_bit_costs_one_event(platform: FaultyPlatform, tenant: Tenant, tmp_path: Path) -> None:
    """A stored event that no longer matches its checksum is set aside and logged; all others are served."""
    tenant.deploy(tmp_path, tenant.definition(tmp_path, wasm(ECHO)))
    platform.supervisorctl("stop", "executor:*")
    accepted = [tenant.accept(b'{"id": %d}' % number) for number in range(20)]
    platform.supervisorctl("stop", "listener")
    set_aside = platform.log_of("listener").count("record-quarantined")
    _damage_event(platform.home / "data" / "listener" / "queue", accepted[7])
    platform.supervisorctl("start", "listener", "executor:*")
    final = tenant.check(accepted[:7] + accepted[8:])
    assert {str(one.outcome) for one in final.values()} == {"ok"}
    until(lambda: platform.log_of("listener").count("record-quarantined") > set_aside, 10, "it is set aside")
    accepted.append(tenant.accept(b"1"))
    tenant.check(accepted[:7] + accepted[8:])


def _damage_event(path: Path, event_id: str) -> None:
    """Flips one bit of a stored event of a store that nobody has open."""
    with lmdb.open(str(path), max_dbs=32, readonly=True) as store:
        events = store.open_db(b"events", create=False)
        with store.begin(db=events) as txn:
            (key,) = [key for key, value in txn.cursor() if event_id.encode() in value]
    damage(path, "events", key)
