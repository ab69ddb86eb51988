"""Endpoints and their owners: one node a name, one owner a directory, bounds on every socket."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import zmq
from protocol_kit import MakeWire, Serve, answering, pong
from protocol_samples import sample

from jobico import limits
from jobico.errors import (
    AlreadyExists,
    Forbidden,
    InvalidInput,
)
from jobico.settings import Settings
from protocol import codec
from protocol.client import Client
from protocol.messages import (
    Deliveries,
    Ping,
)
from protocol.sockets import advertised, endpoint
from protocol.topics import CONTROL_TOPIC


def test_a_second_node_of_a_name_is_refused_and_the_first_keeps_its_peers(
    settings: Settings, make_wire: MakeWire, serve: Serve
) -> None:
    at = endpoint(settings, "control", "rep")
    serve(make_wire(settings), answering({Ping: pong}, at))
    with pytest.raises(AlreadyExists, match="Another process serves"):
        make_wire(settings).rep(at)
    client = Client(make_wire(settings), "test")
    assert client.call(at, Ping()).ready
    client.close()


_HOLDER = """
import sys
from jobico.settings import Settings
from protocol.sockets import Wire, endpoint
settings = Settings(home=sys.argv[1])
wire = Wire(settings, "control")
socket = wire.rep(endpoint(settings, "control", "rep"))
print("bound", flush=True)
sys.stdin.read()
"""


def test_a_socket_file_that_a_killed_node_left_is_taken_over(settings: Settings, make_wire: MakeWire) -> None:
    at = endpoint(settings, "control", "rep")
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, settings.home], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"bound\n"
        with pytest.raises(AlreadyExists):
            make_wire(settings).rep(at)
        holder.kill()
    assert Path(at.removeprefix("ipc://")).is_socket()
    assert make_wire(settings).rep(at) is not None


def test_sockets_are_in_a_directory_that_only_the_owner_can_enter(
    settings: Settings, make_wire: MakeWire
) -> None:
    settings.run_dir.mkdir(parents=True)
    settings.run_dir.chmod(0o755)
    make_wire(settings).rep(endpoint(settings, "control", "rep"))
    assert settings.run_dir.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_sockets_that_belongs_to_somebody_else_is_refused(
    settings: Settings, make_wire: MakeWire
) -> None:
    settings.run_dir.mkdir(parents=True)
    os.chown(settings.run_dir, 65_534, 65_534)
    with pytest.raises(Forbidden, match="somebody else"):
        make_wire(settings).rep(endpoint(settings, "control", "rep"))


def test_a_directory_of_sockets_that_is_a_link_is_refused(
    settings: Settings, home: Path, make_wire: MakeWire
) -> None:
    (home / "elsewhere").mkdir(mode=0o700)
    settings.run_dir.symlink_to(home / "elsewhere")
    with pytest.raises(Forbidden):
        make_wire(settings).rep(endpoint(settings, "control", "rep"))


def test_a_name_that_is_too_long_for_a_socket_is_refused_with_the_bound(settings: Settings) -> None:
    with pytest.raises(InvalidInput, match="107 bytes"):
        endpoint(settings, "n" * 100, "rep")


def test_an_endpoint_of_the_other_transport_is_refused(settings: Settings, make_wire: MakeWire) -> None:
    with pytest.raises(InvalidInput, match="not of this platform's transport"):
        make_wire(settings).rep("tcp://127.0.0.1:*")


def test_every_socket_has_its_bounds(settings: Settings, make_wire: MakeWire) -> None:
    wire = make_wire(settings)
    at = endpoint(settings, "control", "rep")
    sockets = [
        wire.rep(at),
        wire.pull(endpoint(settings, "a", "records")),
        wire.pub(endpoint(settings, "a", "pub")),
        wire.req(at),
        wire.dealer(at),
        wire.push(at),
        wire.sub(at, [CONTROL_TOPIC]),
    ]
    for socket in sockets:
        assert 0 < socket.getsockopt(zmq.MAXMSGSIZE) <= limits.UPLOAD_MESSAGE_BYTES_MAX
        assert 0 <= socket.getsockopt(zmq.LINGER) <= 1_000
        for option in (zmq.SNDHWM, zmq.RCVHWM, zmq.HANDSHAKE_IVL, zmq.HEARTBEAT_IVL, zmq.HEARTBEAT_TIMEOUT):
            assert socket.getsockopt(option) > 0
        socket.close(linger=0)


def test_a_bound_socket_is_advertised_where_others_reach_it(settings: Settings, make_wire: MakeWire) -> None:
    at = endpoint(settings, "recorder", "rep")
    assert advertised(settings, make_wire(settings).rep(at)) == at


def test_deliveries_cross_whole(settings: Settings, make_wire: MakeWire) -> None:
    at = endpoint(settings, "executor-0", "deliveries")
    pull = make_wire(settings).pull(at)
    push = make_wire(settings).push(at)
    push.send_multipart(codec.encode(sample(Deliveries)))
    assert pull.poll(5_000)
    assert codec.decode(pull.recv_multipart())[1] == sample(Deliveries)
    push.close(linger=0)
