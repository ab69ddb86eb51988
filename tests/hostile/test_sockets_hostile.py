"""Garbage peers on every bound socket: the node stays up, its memory bounded, and honest traffic goes on."""

import contextlib
import json
import os
import random
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq
from protocol_kit import MakeWire, until

from jobico import limits
from jobico.errors import JobicoError
from jobico.settings import Settings, Transport
from protocol import codec
from protocol.client import Client
from protocol.key_files import generate_key_pair, load_key_pair
from protocol.messages import GetArtifact, GetTotals, Ping, PutArtifact, Recorded, Records
from protocol.security import Keyring
from protocol.subscribing import Subscriber
from protocol.topics import feed_topic

MIB = 1 << 20
OVER_TCP = pytest.mark.parametrize("victim", ["tcp"], indirect=True)  # on ipc every peer is the operator
MEMORY_GROWTH_MAX = 100 * MIB
VICTIM = Path(__file__).parent / "victim_node.py"
ROLES = {"control": "node", "node": "node", "acme": "tenant:acme:admin", "operator": "operator"}


class Victim:
    """The node under attack, and honest peers of it."""

    def __init__(self, settings: Settings, make_wire: MakeWire, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None
        self.settings, self._make_wire, self._process = settings, make_wire, process
        self.at: dict[str, str] = json.loads(process.stdout.readline())
        self.wire = self.wire_of("node")
        self.client = Client(self.wire, "honest")
        self.client.call(self.at["rep"], Ping())
        self.rss_before = self.rss()
        self._posted = 0

    def wire_of(self, name: str, own: str = "") -> Any:
        keys = self.settings.keys_dir
        if self.settings.transport == Transport.IPC:
            return self._make_wire(self.settings, name)
        control = load_key_pair(keys, "control").public
        return self._make_wire(self.settings, name, Keyring(load_key_pair(keys, own or name), control))

    def rss(self) -> int:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1_024

    def refused(self) -> int:
        return self.client.call(self.at["rep"], GetTotals()).records

    def check(self) -> None:
        """Honest calls, messages and feeds all pass, and memory has not grown past its bound."""
        assert self._process.poll() is None, "the node is gone"
        before = self.client.call(self.at["rep"], GetTotals(), timeout_ms=5_000).final["taken"]
        push = self.wire.push(self.at["records"])
        push.send_multipart(codec.encode(Records(listener="l", first=1, last=1, items=())))
        until(lambda: self.client.call(self.at["rep"], GetTotals()).final["taken"] == before + 1)
        push.close(linger=0)
        subscriber = Subscriber(self.wire, self.at["pub"], [feed_topic("acme")])
        until(lambda: isinstance(subscriber.receive(1_000), Recorded))
        subscriber.close()
        until(lambda: self.rss() - self.rss_before < MEMORY_GROWTH_MAX, 10)

    def raw(self, name: str) -> socket.socket:
        """A plain connection to a socket of the node."""
        kind, place = self.at[name].split("://")
        if kind == "ipc":
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(place)
        else:
            host, port = place.rsplit(":", 1)
            connection = socket.create_connection((host, int(port)))
        connection.settimeout(5)
        return connection


@pytest.fixture(params=["ipc", "tcp"])
def victim(request: pytest.FixtureRequest, home: Path, make_wire: MakeWire) -> Iterator[Victim]:
    """A node of each transport."""
    settings = Settings(home=str(home), transport=Transport(request.param))
    for name, role in ROLES.items():
        generate_key_pair(settings.keys_dir, name, role)
    command = [sys.executable, str(VICTIM), str(home), request.param]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        found = Victim(settings, make_wire, process)
        yield found
        found.client.close()
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == 0


def _spill(connection: socket.socket, data: bytes) -> None:
    """Sends what the other side takes."""
    with contextlib.suppress(OSError):
        connection.sendall(data)


NULL_GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)


def _ready(kind: bytes) -> bytes:
    body = b"\x05READY" + b"\x0bSocket-Type" + struct.pack(">I", len(kind)) + kind
    return b"\x04" + bytes([len(body)]) + body


def _random_bytes(rng: random.Random) -> bytes:
    return rng.randbytes(rng.choice([1, 10, 64, 1_000, 100_000]))


def _http(_rng: random.Random) -> bytes:
    return b"POST /events/acme/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" * 20


def _frame_of_a_gibibyte(_rng: random.Random) -> bytes:
    return NULL_GREETING + _ready(b"DEALER") + b"\x02" + struct.pack(">Q", 1 << 30) + bytes(100_000)


def _frame_of_the_most_bytes(_rng: random.Random) -> bytes:
    return NULL_GREETING + _ready(b"PUSH") + b"\x02" + struct.pack(">Q", (1 << 64) - 1) + bytes(1_000)


def _command_of_a_gibibyte(_rng: random.Random) -> bytes:
    return NULL_GREETING + b"\x06" + struct.pack(">Q", 1 << 30) + bytes(100_000)


def _greeting_and_noise(rng: random.Random) -> bytes:
    return NULL_GREETING + _ready(b"REQ") + rng.randbytes(5_000)


def _old_protocol(rng: random.Random) -> bytes:
    return b"\x01\x00" + rng.randbytes(500)


ATTACKS = [
    _random_bytes,
    _http,
    _frame_of_a_gibibyte,
    _frame_of_the_most_bytes,
    _command_of_a_gibibyte,
    _greeting_and_noise,
    _old_protocol,
]


def test_garbage_connections_by_the_hundred_change_nothing(victim: Victim) -> None:
    rng = random.Random(5)
    for attack in ATTACKS:
        for _ in range(20):
            for name in victim.at:
                with contextlib.suppress(OSError), victim.raw(name) as connection:
                    _spill(connection, attack(rng))
        victim.check()


def test_half_open_connections_by_the_hundred_are_dropped_and_hold_nobody_up(victim: Victim) -> None:
    """Three hundred that say nothing, a part of a greeting, or a greeting and no more."""
    begun_s = time.monotonic()
    held = []
    for number in range(300):
        connection = victim.raw(list(victim.at)[number % 3])
        _spill(connection, [b"", NULL_GREETING[:10], NULL_GREETING[:64]][number // 3 % 3])
        held.append(connection)
    victim.check()
    for connection in held:
        with contextlib.suppress(OSError):
            while connection.recv(4_096):
                pass
        connection.close()
    assert time.monotonic() - begun_s < 3 * limits.HANDSHAKE_MS / 1_000 + 10
    victim.check()


def _bombs() -> dict[str, list[bytes]]:
    header = msgpack.packb([1, "records", "", ""])
    return {
        "depth": [header, b"\x91" * 1_000_000],
        "claimed lengths, nested": [header, b"\xdd\x00\x01\x00\x00" * 100_000],
        "maps, nested": [header, b"\x81\xa1a" * 1_000_000],
        "extension types": [header, b"\xdc\x03\xe8" + b"\xd4\x01\x00" * 1_000],
        "no UTF-8": [header, b"\xda\xff\xff" + b"\xff" * 65_535],
        "many small items": [header, b"\xdd\x00\x01\x00\x00" + b"\x90" * 65_536],
        "a header as long as a payload": [bytes(100_000), b""],
        "a thousand frames": [b""] * 1_000,
        "no frames but one": [b"x"],
        "another version": [msgpack.packb([99, "records", "", ""]), b"\x80"],
        "no such type": [msgpack.packb([1, "no-such-type", "", ""]), b"\x80"],
        "a type that is not taken here": codec.encode(Ping()),
        "a shape that is not right": [header, msgpack.packb({"listener": 1, "first": "x"})],
    }


def test_a_peer_that_is_let_in_and_sends_bombs_is_counted_and_answered(victim: Victim) -> None:
    for name, bomb in _bombs().items():
        refused = victim.refused()
        push = victim.wire.push(victim.at["records"])
        dealer = victim.wire_of("acme").dealer(victim.at["rep"])
        for _ in range(20):
            push.send_multipart(bomb)
            dealer.send_multipart([b"", *bomb])
        # NOTE: what begins with empty frames has no envelope that an answer could go back on.
        for _ in range(0 if name == "a thousand frames" else 20):
            assert dealer.poll(5_000), name
            assert codec.decode(dealer.recv_multipart()[1:])[1].TYPE in ("error", "pong"), name
        until(lambda: victim.refused() - refused >= 20)  # noqa: B023
        push.close(linger=0)
        dealer.close(linger=0)
        victim.check()


def test_requests_without_an_envelope_are_counted(victim: Victim) -> None:
    refused = victim.refused()
    dealer = victim.wire_of("acme").dealer(victim.at["rep"])
    for frames in ([b"x"], codec.encode(Ping()), [b"a", b"b", b"c", b"d", b"e", b"", *codec.encode(Ping())]):
        dealer.send_multipart(frames)
    until(lambda: victim.refused() == refused + 3)
    dealer.close(linger=0)
    victim.check()


def test_a_frame_over_the_bound_ends_the_connection_before_it_is_held(victim: Victim) -> None:
    content = bytes(limits.MESSAGE_BYTES_MAX + 1)
    dealer = victim.wire_of("acme").dealer(victim.at["rep"])
    for _ in range(5):
        dealer.send_multipart([b"", b"x", content])
        assert not dealer.poll(100)
    dealer.close(linger=0)
    victim.check()


@OVER_TCP
def test_who_asks_for_much_and_reads_nothing_gets_no_more_than_the_bound(victim: Victim) -> None:
    """A tenant asks for 4 MiB three hundred times: that would be more than a gibibyte."""
    dealer = victim.wire_of("acme").dealer(victim.at["rep"])
    dealer.setsockopt(zmq.RCVHWM, 1)
    request = [b"", *codec.encode(GetArtifact(digest="d", tenant="acme"))]
    highest = 0
    for _ in range(300):
        dealer.send_multipart(request)
        highest = max(highest, victim.rss() - victim.rss_before)
    until(lambda: victim.refused() > 0)
    assert highest < limits.TENANT_UNREAD_BYTES_MAX + MEMORY_GROWTH_MAX
    dealer.close(linger=0)
    victim.check()


def test_uploads_faster_than_they_are_read_are_held_back_at_the_sender(victim: Victim) -> None:
    dealer = victim.wire_of("acme").dealer(victim.at["rep"])
    put = PutArtifact(request_id="r", tenant="acme", kind="wasm", content=bytes(7 * MIB))
    request = [b"", *codec.encode(put)]
    highest = 0
    for _ in range(40):
        dealer.send_multipart(request, copy=False)
        highest = max(highest, victim.rss() - victim.rss_before)
    for _ in range(40):
        assert dealer.poll(10_000)
        assert codec.decode(dealer.recv_multipart()[1:])[1].TYPE == "artifact"
        highest = max(highest, victim.rss() - victim.rss_before)
    assert highest < limits.REQUESTS_RECEIVED_BYTES_MAX + MEMORY_GROWTH_MAX
    dealer.close(linger=0)
    victim.check()


def _strange_key(keys: Path, name: str) -> Callable[[], Keyring]:
    return lambda: Keyring(generate_key_pair(keys, name, "node"), load_key_pair(keys, "control").public)


@OVER_TCP
def test_wrong_keys_by_the_hundred_are_refused(victim: Victim, make_wire: MakeWire) -> None:
    """Keys that nobody knows, and a client that takes another for the server."""
    keys = victim.settings.keys_dir
    for number in range(3):
        stranger = make_wire(victim.settings, "x", _strange_key(keys, f"stranger-{number}")())
        sockets = [stranger.dealer(at) for at in victim.at.values() for _ in range(20)]
        wrong = Client(victim.wire_of("node"), "mistaken")
        with pytest.raises(JobicoError):
            wrong.call(
                victim.at["rep"], Ping(), timeout_ms=200, server_key=load_key_pair(keys, "acme").public
            )
        wrong.close()
        victim.check()
        for one in sockets:
            assert not one.poll(0, zmq.POLLOUT)
            one.close(linger=0)
    victim.check()


@OVER_TCP
def test_a_plain_peer_gets_nothing_out_of_a_curve_socket(victim: Victim) -> None:
    with zmq.Context() as context:
        for name in victim.at:
            with context.socket(zmq.DEALER) as plain:
                plain.setsockopt(zmq.LINGER, 0)
                plain.connect(victim.at[name])
                plain.send_multipart([b"", *codec.encode(Ping())])
                assert not plain.poll(300)
    victim.check()
