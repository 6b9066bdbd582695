"""Floods of tiny frames and messages over /ws hold the event loop for no long turn."""

import asyncio
import base64
import socket

import pytest
from yarl import URL

from tests.hostile.text_channels import frame
from tests.hostile.turns import LONGEST_SECONDS, longest_turn, pour
from tests.support.rest_world import rest_world
from tests.support.waiting import SECONDS

pytestmark = pytest.mark.slow

FIRST_PART, EMPTY_PART = (bytes([kind, 0x80]) + bytes(4) for kind in (0x01, 0x00))
FLOODS = {
    "messages": (b"", frame(b'{"type":"ping"}') * 10_000),
    "empty parts of a message": (FIRST_PART, EMPTY_PART * 40_000),
    "pings": (b"", (bytes([0x89, 0x80]) + bytes(4)) * 40_000),
}
"""Bytes that are sent once, and those that are sent again and again."""


def flood(url: URL, key: str, first: bytes, data: bytes) -> None:
    """In a thread: send for a while, and read what comes."""
    nonce = base64.b64encode(bytes(16)).decode()
    handshake = (
        "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {nonce}\r\nX-API-Key: {key}\r\n\r\n"
    ).encode()
    with socket.create_connection((url.host, url.port), timeout=SECONDS) as client:
        client.sendall(handshake)
        assert client.recv(1 << 12).startswith(b"HTTP/1.1 101")
        client.sendall(first)
        pour(client, data)


@pytest.mark.parametrize("name", FLOODS)
async def test_flood_of_frames_has_short_turns(name: str) -> None:
    async with rest_world() as rest:
        url, key = rest.client.url("/ws"), rest.client.secret
        assert key is not None

        async def flooded() -> None:
            await asyncio.to_thread(flood, url, key, *FLOODS[name])

        assert await longest_turn(flooded) < LONGEST_SECONDS
