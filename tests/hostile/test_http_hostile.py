"""Garbage over HTTP on raw sockets: refused or closed, nothing smuggled, honest senders served."""

import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from http_listener import Listener, key, receive_all, running_listener

from jobico import limits

AUTH = f"Authorization: Bearer {key()}\r\n".encode()
BODY = b'{"customerId": "c"}'
PATH = b"/events/acme/customer"


def post(
    *,
    headers: bytes = b"",
    body: bytes = BODY,
    length: bytes | None = None,
    path: bytes = PATH,
    version: bytes = b"1.1",
) -> bytes:
    """A request that is good but for what is given."""
    framing = b"Content-Length: %d\r\n" % len(body) if length is None else length
    return (
        b"POST " + path + b" HTTP/" + version + b"\r\nHost: x\r\nContent-Type: application/json\r\n"
        + AUTH + framing + headers + b"\r\n" + body
    )  # fmt: skip


def statuses(answer: bytes) -> list[int]:
    """The status of each response in what came back."""
    return [int(found) for found in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answer)]


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    home = Path(tempfile.mkdtemp(prefix="jb"))
    with running_listener(home) as running:
        yield running
        assert b"Traceback" not in (home / "listener.log").read_bytes()
    shutil.rmtree(home)


@pytest.fixture(autouse=True)
def served(listener: Listener) -> Iterator[None]:
    """After each test an honest sender is served, by the worker that was there before."""
    worker = listener.worker
    yield
    assert listener.post().status_code == 202
    assert listener.worker == worker


SMUGGLED = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


CHUNKED = b"Transfer-Encoding: chunked\r\n"
UNCLEAR = {
    "length and chunked": post(headers=CHUNKED, body=b"0\r\n\r\n" + SMUGGLED),
    "two lengths": post(length=b"Content-Length: 19\r\nContent-Length: 4\r\n"),
    "length list": post(length=b"Content-Length: 19, 19\r\n"),
    "signed length": post(length=b"Content-Length: +19\r\n"),
    "hexadecimal length": post(length=b"Content-Length: 0x13\r\n"),
    "underscored length": post(length=b"Content-Length: 1_9\r\n"),
    "negative length": post(length=b"Content-Length: -1\r\n"),
    "empty length": post(length=b"Content-Length: \r\n"),
    "space before the colon": post(length=b"Content-Length : 19\r\n"),
    "folded line": post(length=b" Content-Length: 19\r\n"),
    "unknown coding": post(length=b"Transfer-Encoding: xchunked\r\n"),
    "chunked not last": post(length=b"Transfer-Encoding: chunked, identity\r\n"),
    "chunked twice": post(length=CHUNKED + CHUNKED, body=b"0\r\n\r\n"),
    "vertical tab": post(length=b"Transfer-Encoding:\x0bchunked\r\n", body=b"0\r\n\r\n"),
    "negative chunk": post(length=CHUNKED, body=b"-1\r\nx\r\n0\r\n\r\n"),
    "chunk with a prefix": post(length=CHUNKED, body=b"0x2\r\n{}\r\n0\r\n\r\n"),
    "chunk without a number": post(length=CHUNKED, body=b"zz\r\n{}\r\n0\r\n\r\n"),
    "chunk without an end": post(length=CHUNKED, body=b"2\r\n{}XX0\r\n\r\n"),
    "huge chunk": post(length=CHUNKED, body=b"f" * 40 + b"\r\n{}\r\n0\r\n\r\n"),
    "NUL in a header": post(headers=b"X-A: a\x00b\r\n"),
    "bare CR": post(headers=b"X-A: a\rb\r\n"),
    "space in a name": post(headers=b"X A: b\r\n"),
    "no name": post(headers=b": b\r\n"),
    "no colon": post(headers=b"no colon\r\n"),
    "two hosts": post(headers=b"Host: y\r\n"),
    "NUL in the path": post(path=b"/events/acme/\x00"),
    "bytes in the path": post(path=b"/events/acme/\xff"),
    "unknown version": post(version=b"9.9"),
    "words after the version": post(version=b"1.1 x"),
    "TLS": b"\r\n\r\n\r\n\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
    "zeros": b"\x00" * 1_000 + b"\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "half a line": b"GET\r\n\r\n",
}


@pytest.mark.parametrize("shape", UNCLEAR)
def test_what_is_not_clear_is_refused_and_nothing_behind_it_is_served(listener: Listener, shape: str) -> None:
    """The connection ends with one refusal: what follows on it would be read by guess."""
    found = statuses(listener.exchange(UNCLEAR[shape] + SMUGGLED))
    assert len(found) <= 1
    assert all(400 <= status < 600 and status != 500 for status in found), found


@pytest.mark.parametrize("ending", [b"\n", b"\r\r\n"])
def test_lines_that_end_oddly_smuggle_nothing(listener: Listener, ending: bytes) -> None:
    request = post().replace(b"\r\n", ending, 3)
    assert len(statuses(listener.exchange(request + SMUGGLED))) <= 1


class TestHead:
    def test_a_request_line_past_its_bound_is_414(self, listener: Listener) -> None:
        path = b"/" + b"a" * limits.REQUEST_LINE_BYTES_MAX
        assert statuses(listener.exchange(post(path=path))) == [414]

    def test_a_header_past_its_bound_is_431(self, listener: Listener) -> None:
        header = b"X-A: " + b"a" * limits.HEADER_BYTES_MAX + b"\r\n"
        assert statuses(listener.exchange(post(headers=header))) == [431]

    def test_more_headers_than_the_bound_are_431(self, listener: Listener) -> None:
        headers = b"".join(b"X-%d: a\r\n" % number for number in range(limits.HEADERS_MAX + 1))
        assert statuses(listener.exchange(post(headers=headers))) == [431]

    def test_headers_without_end_are_cut_off(self, listener: Listener) -> None:
        """All headers together are bounded, not only each."""
        with socket.create_connection(("127.0.0.1", listener.port), timeout=5) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\n")
            sent = 0
            try:
                while sent < 64 * limits.HEAD_BYTES_MAX:
                    connection.sendall(b"X-A: " + b"a" * 1_000 + b"\r\n")
                    sent += 1_007
                    time.sleep(0.001)
            except ConnectionError:
                pass
            assert sent < 8 * limits.HEAD_BYTES_MAX

    def test_a_head_that_drips_is_given_up(self, listener: Listener) -> None:
        with socket.create_connection(
            ("127.0.0.1", listener.port), timeout=limits.HEAD_MS_MAX / 1_000 + 5
        ) as slow:
            slow.sendall(b"POST /events/acme/customer HTTP/1.1\r\nHost:")
            begun_s = time.monotonic()
            assert slow.recv(100) == b""
            assert time.monotonic() - begun_s < limits.HEAD_MS_MAX / 1_000 + 2


class TestBody:
    def test_a_declared_size_past_the_bound_is_413_before_any_of_it(self, listener: Listener) -> None:
        length = b"Content-Length: %d\r\nExpect: 100-continue\r\n" % (limits.BODY_BYTES_MAX + 1)
        answer = listener.exchange(post(length=length, body=b""))
        assert statuses(answer) == [413]

    def test_a_sender_that_waits_for_100_is_told_to_go_on(self, listener: Listener) -> None:
        with socket.create_connection(("127.0.0.1", listener.port), timeout=5) as connection:
            connection.sendall(
                post(headers=b"Expect: 100-continue\r\n", length=b"Content-Length: 19\r\n", body=b"")
            )
            assert connection.recv(1_000).startswith(b"HTTP/1.1 100 ")
            connection.sendall(BODY)
            assert statuses(receive_all(connection)) == [202]

    @pytest.mark.parametrize(
        "request_bytes",
        [
            post(length=b"Content-Length: 100\r\n"),
            post(length=b"Transfer-Encoding: chunked\r\n", body=b"13\r\n" + BODY + b"\r\n"),
        ],
    )
    def test_a_body_that_is_cut_off_is_not_taken(self, listener: Listener, request_bytes: bytes) -> None:
        """What came may be valid JSON, but it is not what the sender meant to send."""
        address = ("127.0.0.1", listener.port)
        with socket.create_connection(address, timeout=5) as counting:
            before = accepted_on(counting)
            with socket.create_connection(address, timeout=5) as connection:
                connection.sendall(request_bytes)
                connection.shutdown(socket.SHUT_WR)
                assert 202 not in statuses(receive_all(connection, quiet_s=1.0))
            assert accepted_on(counting) == before

    def test_chunks_with_extensions_and_trailers_are_one_body(self, listener: Listener) -> None:
        body = b'7;a=b\r\n{"custo\r\nc\r\nmerId": "c"}\r\n0\r\nX-Trailer: t\r\n\r\n'
        assert statuses(listener.exchange(post(length=b"Transfer-Encoding: chunked\r\n", body=body))) == [202]

    def test_slow_bodies_hold_nobody_up(self, listener: Listener) -> None:
        slow = []
        for _ in range(100):
            connection = socket.create_connection(("127.0.0.1", listener.port), timeout=5)
            connection.sendall(post(length=b"Content-Length: 1000\r\n", body=b"{"))
            slow.append(connection)
        begun_s = time.monotonic()
        assert listener.post().status_code == 202
        assert time.monotonic() - begun_s < 1
        for connection in slow:
            connection.close()


def accepted_on(connection: socket.socket) -> float:
    """How many events the listener has accepted, asked on an open connection."""
    connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    found = re.search(rb"jobico_events_accepted_total ([0-9.e+]+)", receive_all(connection, quiet_s=0.1))
    connection.settimeout(10)
    assert found is not None
    return float(found[1])


class TestConnections:
    def test_requests_in_one_packet_are_answered_in_order(self, listener: Listener) -> None:
        requests = post() + post(path=b"/events/acme/nope") + SMUGGLED + post(body=b"{}")
        assert statuses(listener.exchange(requests)) == [202, 404, 200, 422]

    def test_http_1_0_is_answered_and_closed(self, listener: Listener) -> None:
        with socket.create_connection(("127.0.0.1", listener.port), timeout=5) as connection:
            connection.sendall(post(version=b"1.0"))
            assert statuses(receive_all(connection, quiet_s=5)) == [202]

    def test_an_absolute_target_is_not_a_way_around_routes(self, listener: Listener) -> None:
        found = statuses(listener.exchange(post(path=b"http://elsewhere/events/acme/customer")))
        assert found in ([202], [400], [404])

    @pytest.mark.parametrize(
        "path", [b"/events/acme/../acme/customer", b"/events//customer", b"/events/acme%2Fcustomer"]
    )
    def test_paths_are_not_made_equal(self, listener: Listener, path: bytes) -> None:
        assert statuses(listener.exchange(post(path=path))) in ([404], [405])

    def test_a_websocket_is_not_opened(self, listener: Listener) -> None:
        request = (
            b"GET /healthz HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert 101 not in statuses(listener.exchange(request))

    @pytest.mark.parametrize("method", [b"CONNECT", b"TRACE", b"PATCH", b"post"])
    def test_other_methods_are_refused(self, listener: Listener, method: bytes) -> None:
        found = statuses(listener.exchange(method + b" /events/acme/customer HTTP/1.1\r\nHost: x\r\n\r\n"))
        assert found in ([400], [405], [501])

    def test_past_the_bound_the_oldest_idle_connection_makes_room(self, listener: Listener) -> None:
        """Whoever opens many and sends nothing shuts nobody out."""
        opened = [
            socket.create_connection(("127.0.0.1", listener.port), timeout=5)
            for _ in range(limits.CONNECTIONS_MAX)
        ]
        try:
            assert statuses(listener.exchange(SMUGGLED)) == [200]
            assert receive_all(opened[0]) == b""
            opened[-1].sendall(SMUGGLED)
            assert statuses(receive_all(opened[-1])) == [200]
        finally:
            for connection in opened:
                connection.close()

    def test_senders_that_keep_back_their_bodies_shut_nobody_out(self, listener: Listener) -> None:
        opened = []
        try:
            for _ in range(limits.CONNECTIONS_MAX):
                connection = socket.create_connection(("127.0.0.1", listener.port), timeout=5)
                connection.sendall(post(length=b"Content-Length: 1000\r\n", body=b""))
                opened.append(connection)
            for _ in range(3):
                assert statuses(listener.exchange(post())) == [202]
        finally:
            for connection in opened:
                connection.close()

    def test_where_all_connections_are_busy_a_new_one_is_told_so(self, listener: Listener) -> None:
        waiting = post(path=b"/events/acme/customer?wait=3s")
        opened = [
            socket.create_connection(("127.0.0.1", listener.port), timeout=10)
            for _ in range(limits.CONNECTIONS_MAX)
        ]
        try:
            before = accepted_on(opened[0])
            for connection in opened[1:]:
                connection.sendall(waiting)
            while accepted_on(opened[0]) < before + len(opened) - 1:
                pass
            opened[0].sendall(waiting)
            while (found := statuses(listener.exchange(SMUGGLED))) != [503]:
                assert found == []
            assert statuses(receive_all(opened[1])) == [202]
        finally:
            for connection in opened:
                connection.close()

    def test_a_flood_of_half_open_connections_leaves_memory_bounded(self, listener: Listener) -> None:
        before = resident_bytes(listener.worker)
        for _ in range(5):
            opened = [socket.create_connection(("127.0.0.1", listener.port), timeout=5) for _ in range(300)]
            for connection in opened:
                connection.sendall(b"POST /events/acme/customer HTTP/1.1\r\nX-A: " + b"a" * 5_000)
            for connection in opened:
                connection.close()
        assert resident_bytes(listener.worker) - before < 64 * limits.MIB


def resident_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1_024
    raise AssertionError("no VmRSS")
