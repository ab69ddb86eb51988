"""One sandbox for all contract tests: what one test's guest does must not show in the next one's."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from guest_kit import ABIS, Runner

from jobico.definition import Abi


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """Runs a guest."""
    runner = Runner(Path(tmp_path_factory.mktemp("modules")))
    yield runner
    runner.sandbox.close()


@pytest.fixture(params=ABIS, ids=str)
def abi(request: pytest.FixtureRequest) -> Abi:
    """Each ABI in turn."""
    return Abi(request.param)
