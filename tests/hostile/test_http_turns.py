"""Floods of pipelined requests over HTTP hold the event loop for no long turn."""

import asyncio
import socket

import pytest

from tests.hostile.turns import LONGEST_SECONDS, longest_turn, pour
from tests.support.rest_world import rest_world
from tests.support.waiting import SECONDS


def flood(port: int, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as client:
        pour(client, data)


@pytest.mark.parametrize("path", ["/livez", "/unknown"])
async def test_flood_of_requests_has_short_turns(path: str) -> None:
    """No reply waits for anything, so the server could make thousands in a row."""
    request = f"GET {path} HTTP/1.1\r\nHost:a\r\n\r\n".encode()
    async with rest_world() as rest:

        async def flooded() -> None:
            await asyncio.to_thread(flood, rest.port, request * 20_000)

        assert await longest_turn(flooded) < LONGEST_SECONDS
