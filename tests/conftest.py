"""What tests of several kinds share: a data directory, wires that are closed, nodes on threads."""

import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from protocol_kit import MakeWire, Serve

from jobico.settings import Settings, Transport
from protocol.security import Keyring
from protocol.server import Reactor
from protocol.sockets import Wire


def pytest_configure() -> None:
    """Has processes that tests start hear Ctrl-C; one that runs in the background hands down its deafness."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def home() -> Iterator[Path]:
    """An empty data directory with a path that is short enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix="jb"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def settings(home: Path) -> Settings:
    """Settings of a platform on one machine, in `home`."""
    return Settings(home=str(home))


@pytest.fixture
def tcp_settings(home: Path) -> Settings:
    """Settings of a platform over tcp on loopback, on free ports."""
    return Settings(home=str(home), transport=Transport.TCP)


@pytest.fixture
def make_wire(home: Path) -> Iterator[MakeWire]:
    """Makes wires: `make_wire(settings, name)`; all are closed at the end, before `home` goes."""
    assert home.is_dir()
    made: list[Wire] = []

    def make(settings: Settings, name: str = "node", keyring: Keyring | None = None) -> Wire:
        made.append(Wire(settings, name, keyring=keyring))
        return made[-1]

    yield make
    for wire in made:
        wire.close()


@pytest.fixture
def serve(make_wire: MakeWire) -> Iterator[Serve]:
    """Runs a reactor on a thread: `serve(wire, setup)` calls `setup(reactor)` there, then runs it."""
    running: list[tuple[Reactor, threading.Thread]] = []

    def start(wire: Wire, setup: Callable[[Reactor], None]) -> Reactor:
        reactor = Reactor(wire)
        ready = threading.Event()
        failed: list[BaseException] = []

        def run() -> None:
            try:
                setup(reactor)
            except BaseException as error:
                failed.append(error)
                raise
            finally:
                ready.set()
            reactor.run()

        thread = threading.Thread(target=run, name="reactor")
        thread.start()
        running.append((reactor, thread))
        assert ready.wait(10)
        assert not failed, failed
        return reactor

    yield start
    for reactor, thread in running:
        reactor.stop()
        thread.join(10)
        assert not thread.is_alive()
