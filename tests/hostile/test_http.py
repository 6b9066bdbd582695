"""Connections, heads and bodies that never end, against a real server: what they cost, and that
everybody else is still answered."""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from fetchml.api.http.connection import HEAD_BYTES
from tests.hostile.http_server import KEY, MIB, Target, replies_of, reply_of, target
from tests.support.front import DIRECT, EDGE

pytestmark = pytest.mark.fronts(EDGE)
HEAD = b"GET /health HTTP/1.1\r\nHost: a\r\n"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Target]:
    with target(tmp_path) as one:
        yield one


def push(client: socket.socket, data: bytes) -> None:
    """Send what the server takes, for as long as it takes it."""
    client.settimeout(2)
    with suppress(OSError):  # It has closed, or takes no more.
        client.sendall(data)


def test_unfinished_headers_are_closed(server: Target, clients: ExitStack, front: str) -> None:
    """500 connections, each with 1 MB of headers, none with a key. Envoy passes none on."""
    endless = HEAD + b"".join(b"X-%06d: %s\r\n" % (n, b"a" * 8000) for n in range(125))
    before = server.rss()
    for _ in range(500):
        push(clients.enter_context(server.connect()), endless)
    assert server.ask("GET", "/health")[0] == 200
    assert server.rss() - before < 100 * MIB
    ended = server.metric('fetchml_http_connections_ended_total{reason="head_too_large"}')
    assert ended == (500 if front == DIRECT else 0)


@pytest.mark.not_through(EDGE, "Envoy waits for the end of the headers, and passes nothing on")
def test_oversized_headers_get_an_error_reply(server: Target) -> None:
    many_lines = HEAD + b"".join(b"X-%06d: %s\r\n" % (n, b"a" * 1000) for n in range(33))
    with server.connect() as client:
        client.sendall(many_lines)
        status, error = reply_of(client)
    assert (status, error["code"]) == (400, "BAD_REQUEST")
    assert "larger than 32768 bytes" in error["error"]


def head_of(size: int) -> bytes:
    """A head of this many bytes. Each of its lines is within the limit of a line."""
    head = HEAD + b"Connection: close\r\n"
    while (left := size - len(head) - 2) > 8000:
        head += b"X-A: %s\r\n" % (b"a" * min(7000, left - 2000))
    return head + b"X-A: %s\r\n\r\n" % (b"a" * (left - 7))


@pytest.mark.not_through(EDGE, "Envoy adds headers of its own to a head")
def test_whole_heads_have_the_same_limit(server: Target) -> None:
    """However they arrive: at once, in pieces, alone, or behind other requests."""
    for size, answer in ((HEAD_BYTES, 200), (HEAD_BYTES + 1, 400), (2 * HEAD_BYTES - 1, 400)):
        head = head_of(size)
        assert len(head) == size
        for before in (0, 1, 20):
            for piece in (1 << 20, HEAD_BYTES - 1, 10_000):
                sent = (HEAD + b"\r\n") * before + head
                with server.connect() as client:
                    for first in range(0, len(sent), piece):
                        push(client, sent[first : first + piece])
                    statuses = [status for status, _ in replies_of(client)]
                assert statuses == [200] * before + [answer], (size, before, piece)


@pytest.mark.parametrize(("size", "answer"), [(HEAD_BYTES - 2048, 200), (HEAD_BYTES + 2048, 400)])
def test_whole_oversized_heads_get_an_error_reply(server: Target, size: int, answer: int) -> None:
    """Directly, and from Envoy, whose own limit is the same."""
    with server.connect() as client:
        client.sendall(head_of(size))
        status, body = reply_of(client)
    assert status == answer
    assert answer == 200 or (body["code"], len(body)) == ("BAD_REQUEST", 3)
    assert server.ask("GET", "/health")[0] == 200


@pytest.mark.not_through(EDGE, "Envoy accepts the connections, and opens one for each request")
def test_http_connections_of_one_address_do_not_block_another(
    tmp_path: Path, clients: ExitStack
) -> None:
    with target(tmp_path, FETCHML_MAX_CONNECTIONS="100") as server:
        for _ in range(75):
            clients.enter_context(server.connect())
        # The share of this machine's own addresses, which stand for many clients.
        with server.connect() as client:
            client.sendall(HEAD + b"\r\n")
            status, error = reply_of(client)
        assert (status, error["code"]) == (429, "RATE_LIMITED")
        assert "More than 75 connections" in error["error"]
        assert server.ask("GET", "/health", source="127.0.0.2")[0] == 200
        for _ in range(25):
            clients.enter_context(server.connect("127.0.0.2"))
        with server.connect("127.0.0.2") as client:
            client.sendall(HEAD + b"\r\n")
            status, error = reply_of(client)
        assert (status, error["code"]) == (503, "SERVICE_UNAVAILABLE")
        clients.close()
        assert server.ask("GET", "/health")[0] == 200
        for reason in ("too_many", "too_many_of_address"):
            sample = f'fetchml_http_connections_ended_total{{reason="{reason}"}}'
            assert server.metric(sample) == 1


def test_unfinished_bodies_are_bounded_and_closed(server: Target, clients: ExitStack) -> None:
    """100 of 1 MiB, but for the last byte, with one key."""
    head = (
        f"POST /v1/tasks HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {MIB}\r\n\r\n"
    ).encode()
    before = server.rss()
    for _ in range(100):
        push(clients.enter_context(server.connect()), head + b" " * (MIB - 1))
    assert server.ask("GET", "/health")[0] == 200
    assert server.metric('fetchml_http_held_bytes{of="bodies"}') <= 16 * MIB
    assert server.metric('fetchml_http_held_refused_total{of="bodies"}') >= 80
    assert server.rss() - before < 60 * MIB


CHUNKED = (
    f"POST /v1/tasks HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\nConnection: close\r\n"
    "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
).encode()
TRAILERS = b"2\r\n{}\r\n0\r\n" + b"".join(b"X-%06d: %s\r\n" % (n, b"a" * 8000) for n in range(120))


def test_unfinished_trailers_are_closed(server: Target, clients: ExitStack, front: str) -> None:
    """Envoy keeps none and passes none on."""
    before = server.rss()
    for _ in range(100):
        push(clients.enter_context(server.connect()), CHUNKED + TRAILERS)
    assert server.ask("GET", "/health")[0] == 200
    assert server.rss() - before < 40 * MIB
    ended = server.metric('fetchml_http_connections_ended_total{reason="framing_too_large"}')
    assert ended == (100 if front == DIRECT else 0)


@pytest.mark.not_through(EDGE, "Envoy passes the body on in chunks of its own")
@pytest.mark.parametrize(
    "framing", [TRAILERS, b"1;%s\r\n \r\n" % (b"a" * 8000) * 50, b"1;a=b\r\n \r\n" * 20_000]
)
def test_chunks_larger_than_the_body_get_an_error_reply(server: Target, framing: bytes) -> None:
    with server.connect() as client:
        push(client, CHUNKED + framing)
        status, error = reply_of(client)
    assert (status, error["code"]) == (400, "BAD_REQUEST")
    assert "larger than the body" in error["error"]


def test_body_in_small_chunks_is_accepted(server: Target) -> None:
    body = json.dumps({"job_name": "a", "metadata": {"k": "v" * 60_000}}).encode()
    pieces = [body[at : at + 8] for at in range(0, len(body), 8)]
    with server.connect() as client:
        push(client, CHUNKED + b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces))
        push(client, b"0\r\nX-A: b\r\n\r\n")
        status, task = reply_of(client)
    assert (status, task["job_name"]) == (201, "a")
