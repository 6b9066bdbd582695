"""Frames of helpers, which the task may have replaced."""

import pytest

from fetchml.access.frames import FrameReader, NoFrame, frame
from tests.hostile.turns import LONGEST_SECONDS, longest_turn


class Helper:
    """Sends one piece, and ends."""

    def __init__(self, piece: bytes) -> None:
        self._pieces = [piece]

    async def read(self) -> bytes:
        return self._pieces.pop() if self._pieces else b""

    async def write(self, data: bytes) -> None: ...

    async def close(self) -> None: ...


async def test_flood_of_empty_frames_does_not_hold_the_event_loop() -> None:
    async def read_all() -> None:
        frames = FrameReader(Helper(frame("?") * 50_000))
        for _ in range(50_000):
            assert await frames.next() == ("?", b"")
        with pytest.raises(NoFrame):
            await frames.next()

    assert await longest_turn(read_all) < LONGEST_SECONDS
