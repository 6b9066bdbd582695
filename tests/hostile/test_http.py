"""Connections, heads and bodies that never end, against a real server: what they cost, and that
everybody else is still answered."""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from fetchml.api.http.connection import MOST_HEADERS
from tests.hostile.http_server import KEY, MIB, Target, replies_of, reply_of, target
from tests.support.front import EDGE

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


@pytest.mark.slow
def test_unfinished_headers_are_closed(server: Target, clients: ExitStack, front: str) -> None:
    """500 connections, each with 1 MB of headers, none with a key. Envoy passes none on. The server
    itself limits the lines and their number, not what aiohttp keeps of connections that it has
    refused until the next garbage collection."""
    endless = HEAD + b"".join(b"X-%06d: %s\r\n" % (n, b"a" * 8000) for n in range(125))
    before = server.rss()
    refused = [clients.enter_context(server.connect()) for _ in range(500)]
    for client in refused:
        push(client, endless)
    assert server.ask("GET", "/health")[0] == 200
    if front == EDGE:
        assert server.rss() - before < 100 * MIB
        return
    for client in refused:
        with suppress(ConnectionError):  # The server did not read all that was sent.
            while client.recv(1 << 16):
                pass


def head_of(headers: int) -> bytes:
    lines = b"".join(b"X-%d: %s\r\n" % (n, b"a" * 100) for n in range(headers - 2))
    return HEAD + b"Connection: close\r\n" + lines + b"\r\n"


@pytest.mark.not_through(EDGE, "Envoy adds headers of its own to a head")
@pytest.mark.parametrize("before", [0, 1, 20])
@pytest.mark.parametrize("piece", [1 << 20, 1000])
def test_heads_have_the_same_limit_however_they_arrive(
    server: Target, before: int, piece: int
) -> None:
    """At once, in pieces, alone, or behind other requests."""
    for headers, answer in ((MOST_HEADERS, 200), (MOST_HEADERS + 1, 400)):
        sent = (HEAD + b"\r\n") * before + head_of(headers)
        with server.connect() as client:
            for first in range(0, len(sent), piece):
                push(client, sent[first : first + piece])
            statuses = [status for status, _ in replies_of(client)]
        # aiohttp forgets the requests that arrive together with one that it cannot read.
        answered = 0 if answer == 400 and len(statuses) == 1 else before
        assert statuses == [200] * answered + [answer]


@pytest.mark.slow
@pytest.mark.parametrize(("size", "answer"), [(30_000, 200), (40_000, 400)])
def test_whole_oversized_heads_get_an_error_reply(
    server: Target, front: str, size: int, answer: int
) -> None:
    """From Envoy, whose limit is 32 KiB. The server itself limits lines and their number."""
    line = b"a" * (size // 10 if front == EDGE else size // 4)
    number = 9 if front == EDGE else 3
    head = HEAD + b"Connection: close\r\n"
    head += b"".join(b"X-%d: %s\r\n" % (n, line) for n in range(number))
    with server.connect() as client:
        client.sendall(head + b"\r\n")
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
        assert "Limit of 75 connections" in error["error"]
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


def test_unfinished_trailers_are_refused(server: Target, clients: ExitStack, front: str) -> None:
    """100 of 1 MB. Envoy keeps none and passes none on; aiohttp keeps some."""
    before = server.rss()
    for _ in range(100):
        push(clients.enter_context(server.connect()), CHUNKED + TRAILERS)
    assert server.ask("GET", "/health")[0] == 200
    assert server.rss() - before < (40 if front == EDGE else 250) * MIB


def test_body_in_small_chunks_is_accepted(server: Target) -> None:
    body = json.dumps({"job_name": "a", "metadata": {"k": "v" * 60_000}}).encode()
    pieces = [body[at : at + 8] for at in range(0, len(body), 8)]
    with server.connect() as client:
        push(client, CHUNKED + b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces))
        push(client, b"0\r\nX-A: b\r\n\r\n")
        status, task = reply_of(client)
    assert (status, task["job_name"]) == (201, "a")
