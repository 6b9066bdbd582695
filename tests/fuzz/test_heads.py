"""Arbitrary bytes as HTTP heads and bodies against the real HTTP server, over a socket."""

import asyncio
import logging
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from hypothesis import strategies as st

from fetchml.core.model import Role
from tests.fuzz import budget
from tests.fuzz.targets import HEADS_SHARE, fuzz
from tests.support.rest_world import rest_world
from tests.support.waiting import SECONDS

pytestmark = pytest.mark.slow

NAME = "heads"
"""Of the folder of earlier findings."""
QUIET_SECONDS = 0.2
"""After this time without a byte, the server is waiting for the client."""
KEY = b"(the key)"
"""Replaced with a valid key when it is sent."""
LAST = b"\r\n\r\nGET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
"""A complete request, which also ends an unfinished head."""

tokens = st.sampled_from(
    [
        b"GET ", b"POST ", b"PUT ", b"HEAD ", b"OPTIONS * ", b"/v1/tasks", b"/health", b"/ws",
        b"/jupyter/x/", b"/v1/snapshots", b"?limit=", b" HTTP/1.1", b" HTTP/1.0", b" HTTP/9.9",
        b"\r\n", b"\n", b"\r", b"\0", b": ", b" ", b"\t", b"\xff", b"\xed\xa0\x80", b"%00", b"%ff",
        b"Host: x", b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: 99999999999999",
        b"Transfer-Encoding: chunked", b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"ffffffffffffffff\r\n",
        b"Content-Encoding: gzip", b"Content-Type: application/json", b'{"job_name": "a"}',
        b"Expect: 100-continue", b"Upgrade: websocket", b"Connection: Upgrade",
        b"Sec-WebSocket-Key: MDAwMDAwMDAwMDAwMDAwMA==", b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Protocol: fetchml.v1, fetchml.key.x", b"X-API-Key: " + KEY,
        b"X-Forwarded-For: fe80::1%\xff", b"Cookie: a=b; c", b"Range: bytes=0-1,5-",
        b"traceparent: 00-", b"a" * 9000,
    ]
)  # fmt: skip
lines = st.lists(tokens | st.binary(max_size=6), max_size=5).map(b"".join)
heads = st.lists(lines, max_size=6).map(b"\r\n".join)
whole_headers = st.sampled_from(
    [
        b"Expect: 100-continue", b"Upgrade: websocket", b"Connection: Upgrade", b"Range: bytes=9-",
        b"Sec-WebSocket-Key: MDAwMDAwMDAwMDAwMDAwMA==", b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Protocol: fetchml.v1, \xff", b"X-Forwarded-For: fe80::1%\xff",
        b"Cookie: \xed\xa0\x80=; ;", b"Idempotency-Key: \xff", b"Idempotency-Key: a",
        b"Content-Encoding: gzip", b"traceparent: 00-\xff", b"User-Agent: \x80", b"Origin: null",
    ]
)  # fmt: skip
bodies = st.sampled_from(
    [
        b"",
        b'{"job_name": "a"}',
        b'{"job_name": "\xff"}',
        b'{"name": "\\ud800"}',
        b"[]",
        b"\x1f\x8b\0",
    ]
)


def request(method: bytes, path: bytes, headers: list[bytes], body: bytes) -> bytes:
    """Make a request that is valid as far as its parts are."""
    fixed = [b"Host: x", b"X-API-Key: " + KEY, b"Content-Type: application/json"]
    lines = [b"%s %s HTTP/1.1" % (method, path), *fixed, b"Content-Length: %d" % len(body)]
    return b"\r\n".join([*lines, *headers]) + b"\r\n\r\n" + body


likely = st.builds(
    request,
    st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"HEAD", b"PATCH"]),
    st.sampled_from(
        [
            b"/v1/tasks", b"/v1/queue?limit=%ff", b"/ws", b"/ws?since=%00", b"/v1/experiments/%ff",
            b"/v1/jupyter/services", b"/v1/snapshots", b"/v1/tasks/\xff", b"/v1/audit?user_id=\xff",
            b"/jupyter/x/%0d%0a", b"/v1/tasks/x/outputs/%00/..", b"http://y/v1/tasks", b"*", b"//",
        ]
    ),
    st.lists(whole_headers, max_size=3),
    bodies,
)  # fmt: skip


@contextmanager
def served() -> Iterator[tuple[int, bytes]]:
    """Yield the port of a server in another thread, and a user's key."""
    loop = asyncio.new_event_loop()
    over = asyncio.Event()
    where: list[tuple[int, bytes]] = []
    started = threading.Event()

    async def serve() -> None:
        async with rest_world() as world:
            where.append((world.port, world.secrets[Role.USER].encode()))
            started.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert started.wait(SECONDS)
        yield where[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(SECONDS)
        loop.close()


def answers(port: int, data: bytes) -> list[bytes]:
    """Send the bytes and return the status codes of all replies."""
    received = bytearray()
    address = ("127.0.0.1", port)
    with (
        socket.create_connection(address, timeout=QUIET_SECONDS) as connection,
        suppress(ConnectionError),
    ):
        connection.sendall(data)
        try:
            while piece := connection.recv(1 << 16):
                received += piece
        except TimeoutError:
            # The server waits for the rest of a body.
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(SECONDS)
            while piece := connection.recv(1 << 16):
                received += piece
    return re.findall(rb"HTTP/1\.[01] ([0-9]{3}) ", bytes(received))


def test_no_request_causes_a_server_error(caplog: pytest.LogCaptureFixture) -> None:
    with served() as (port, key):

        def send(data: bytes) -> None:
            codes = answers(port, data.replace(KEY, key) + LAST)
            assert not any(code[:1] == b"5" for code in codes), codes

        send(b"GET / HTTP/1.1\r\nX-Forwarded-For: fe80::1%\xff")
        for case in sorted((budget.CASES / NAME).glob("*")):
            send(case.read_bytes())
        fuzz(NAME, send, heads | likely, HEADS_SHARE)
        whole = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        assert answers(port, whole) == [b"200"]
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []
