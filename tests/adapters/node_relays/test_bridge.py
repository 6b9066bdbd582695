"""Connections of a task's ports, at whose other end may be a relay that the task has replaced."""

import asyncio
from unittest.mock import Mock

import pytest

from fetchml.adapters.node_relays.bridge import Bridges, frame
from tests.hostile.turns import LONGEST_SECONDS, longest_turn


@pytest.mark.parametrize("data", [b"", b"x"])
async def test_flood_of_tiny_frames_does_not_hold_the_event_loop(data: bytes) -> None:
    frames = b"\0" + frame(b"d", data) * 20_000 + frame(b"e")

    async def carried() -> None:
        bridges, reader = Bridges(), asyncio.StreamReader()
        reader.feed_data(frames)
        near = bridges.open((reader, Mock()))
        near_reader, near_writer = await asyncio.open_connection(sock=near)
        assert len(await near_reader.read()) == 1 + 20_000 * len(data)
        near_writer.close()
        await bridges.close()

    assert await longest_turn(carried) < LONGEST_SECONDS
