"""Requests whose end or target a proxy in front may read differently than the server. Each is
refused and its connection closed, so that no bytes behind it are answered as another request."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress

import pytest

from fetchml.api.http import connection
from fetchml.api.rest.server import HttpTimeouts
from tests.hostile.ambiguous_requests import (
    AMBIGUOUS,
    CHUNKED,
    LAST_CHUNK,
    SMUGGLED,
    chunks,
    get,
    header_lines,
    hosts,
    keyed,
    targets,
)
from tests.hostile.http_server import KEY, Target, replies_of, reply_of, target
from tests.support.rest_world import read_reply, rest_world
from tests.support.waiting import SECONDS


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with target(tmp_path_factory.mktemp("framing")) as one:
        yield one
        assert one.ask("GET", "/v1/tasks")[1]["total"] == 0, "a smuggled request was answered"


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_ambiguous_request_is_refused(server: Target, name: str) -> None:
    with server.connect() as client:
        client.sendall(AMBIGUOUS[name] + SMUGGLED)
        status, error = reply_of(client)
    assert (status, error["code"]) == (400, "BAD_REQUEST")
    assert error.keys() == {"error", "code", "trace_id"}


ALONE = {**targets(), **hosts(), **header_lines()}


@pytest.mark.parametrize("name", ALONE)
def test_head_is_refused_before_anything_follows(server: Target, name: str) -> None:
    with server.connect() as client:
        client.sendall(ALONE[name])
        status, error = reply_of(client)
    assert (status, error["code"]) == (400, "BAD_REQUEST")


LAST = {
    "chunks": (422, keyed(CHUNKED, body=b"2\r\n{}\r\n" + LAST_CHUNK)),
    "no chunks": (400, keyed(CHUNKED, body=LAST_CHUNK)),
    "spaces around the encoding": (
        400,
        keyed(b"Transfer-Encoding: \t ChunkeD  ", body=LAST_CHUNK),
    ),
    "extensions": (422, keyed(CHUNKED, body=b'2;a=b;c="d"\r\n{}\r\n' + LAST_CHUNK)),
    "zeros": (422, keyed(CHUNKED, body=b"0" * 100 + b"2\r\n{}\r\n" + LAST_CHUNK)),
    "chunks of a GET": (200, get(CHUNKED) + b"2\r\n{}\r\n" + LAST_CHUNK),
    "trailers": (422, keyed(CHUNKED, body=b"2\r\n{}\r\n0\r\nX: a\r\nY: b\r\n\r\n")),
    "h2c": (
        200,
        get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"),
    ),
    "TLS": (200, get(b"Connection: Upgrade", b"Upgrade: TLS/1.0")),
    "TCP": (200, get(b"Connection: Upgrade", b"Upgrade: tcp")),
    "a WebSocket where there is none": (200, get(b"Connection: Upgrade", b"Upgrade: websocket")),
    "an upgrade with a body": (
        422,
        keyed(b"Connection: Upgrade", b"Upgrade: a", b"Content-Length: 2", body=b"{}"),
    ),
    "CONNECT of a path": (404, get(line=b"CONNECT /health HTTP/1.1")),
    "HTTP/1.0": (200, get(line=b"GET /health HTTP/1.0", host=b"")),
}


@pytest.mark.parametrize("name", LAST)
def test_last_request_of_its_connection(server: Target, name: str) -> None:
    """Its end may be in doubt, so nothing behind it is answered, however it arrives."""
    expected, request = LAST[name]
    with server.connect() as client:
        client.sendall(request)
        received = client.recv(1 << 16)
        with suppress(ConnectionError):
            client.sendall(SMUGGLED)
            while piece := client.recv(1 << 16):
                received += piece
    head, _, rest = received.partition(b"\r\n\r\n")
    assert b"HTTP/1." not in rest
    assert b"%d" % expected in head.split(b"\r\n")[0]
    assert b"connection: close" in head.lower().split(b"\r\n") or b"HTTP/1.0" in head
    with server.connect() as client:
        client.sendall(request + SMUGGLED)
        replies = replies_of(client)
    assert [status for status, _ in replies] in ([expected], [400])


def test_trailer_is_no_header_of_the_next_request(server: Target) -> None:
    """aiohttp's parser puts the last trailer before the headers of the request behind it, which
    may be another client's where a proxy shares its connections."""
    trailer = f"0\r\nX-API-Key: {KEY}\r\n\r\n".encode()
    with server.connect() as client:
        client.sendall(get(CHUNKED) + trailer + get(line=b"GET /v1/tasks HTTP/1.1"))
        status, _ = reply_of(client)
    assert status == 200


KEPT = {
    "no body": get(),
    "a body": keyed(b"Content-Length: \t 2 ", body=b"{}"),
    "zeros before the length": keyed(b"Content-Length: 000000000000000002", body=b"{}"),
    "a body of a GET": get(b"Content-Length: %d" % len(SMUGGLED)) + SMUGGLED,
    "HTTP/1.0 that stays open": get(b"Connection: keep-alive", line=b"GET /health HTTP/1.0"),
    "a URL of the same host": get(line=b"GET http://A/health HTTP/1.1"),
    "a URL without a path": get(line=b"GET http://a?b HTTP/1.1"),
    "all of the server": get(line=b"OPTIONS * HTTP/1.1"),
    "two slashes": get(line=b"GET //b/health HTTP/1.1"),
    "an empty host": get(host=b"Host:"),
    "a port": get(host=b"Host: a_b.example.org:443"),
    "an IPv6 address": get(host=b"Host: [::1]:9101"),
    "names that only look like framing": get(b"Transfer_Encoding: chunked", b"Content_Length: 9"),
    "Content-Length as an option": keyed(
        b"Connection: Content-Length", b"Content-Length: 2", body=b"{}"
    ),
    "an unknown expectation": keyed(b"Expect: 200-maybe", b"Content-Length: 2", body=b"{}"),
    "empty lines before it": b"\r\n\r\n" + get(),
    "LF and CR before it": b"\n\r" + get(),
    "spaces after the method": get(line=b"GET   /health HTTP/1.1"),
    "a method of another protocol": get(line=b"SOURCE /health HTTP/1.1"),
}
"""Requests that end where every reader sees their end. The parser is lenient about the last four,
which moves no end."""


@pytest.mark.parametrize("name", KEPT)
def test_request_behind_a_clear_one_is_answered(server: Target, name: str) -> None:
    behind = get(b"Connection: close", line=b"GET /livez HTTP/1.1")
    with server.connect() as client:
        client.sendall(KEPT[name] + behind)
        replies = [status for status, _ in replies_of(client)]
    assert replies[1:] == [200]
    assert replies[0] in (200, 302, 404, 405, 422)


def test_continue_is_for_http_1_1_only(server: Target) -> None:
    """A client of HTTP/1.0 takes it for the reply."""
    for version, first in ((b"1.0", b"422"), (b"1.1", b"100")):
        line = b"POST /v1/tasks HTTP/" + version
        with server.connect() as client:
            client.sendall(keyed(b"Expect: 100-continue", b"Content-Length: 2", line=line))
            if version == b"1.0":
                client.sendall(b"{}")
            assert client.recv(1 << 12).split()[1] == first


@pytest.mark.slow
@pytest.mark.parametrize("name", chunks())
async def test_fault_behind_the_head_ends_the_connection(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The server waits for the body when the fault arrives, which aiohttp reports to nobody."""
    monkeypatch.setattr(connection, "LINGERING_SECONDS", 0.05)
    body = chunks()[name].partition(b"\r\n\r\n")[2]
    async with rest_world(timeouts=HttpTimeouts(body=0.1)) as rest:
        head = keyed(CHUNKED, b"Expect: 100-continue")
        own_key = (rest.client.secret or "").encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", rest.port)
        writer.write(head.replace(KEY.encode(), own_key))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        writer.write(body + SMUGGLED.replace(KEY.encode(), own_key))
        reply = await read_reply(reader)
        assert (reply.status, reply.code) in ((400, "BAD_REQUEST"), (408, "BAD_REQUEST"))
        async with asyncio.timeout(SECONDS):
            with suppress(ConnectionError):
                assert await reader.read() == b""
        writer.close()
        assert (await rest.client.get("/v1/tasks")).json["total"] == 0
