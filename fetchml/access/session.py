"""One command in a task: its streams, its terminal, its end."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import NamedTuple

from fetchml.access.frames import MOST_BYTES, FrameReader, NoFrame, frame
from fetchml.errors import Conflict, RequestError
from fetchml.ports.launcher import Helper

HELLO_SECONDS = 30.0
"""Longest wait for the helper's first frame."""
_OUTPUT = {"o": "stdout", "r": "stderr"}


class Output(NamedTuple):
    stream: str
    """`stdout`, which has all output of a terminal, or `stderr`."""
    data: bytes


class Exit(NamedTuple):
    code: int
    """128 and the signal's number if a signal ended the command; 126 or 127 if it did not start."""
    error: str = ""
    """The reason why the command did not start; empty if it did."""


class SessionCut(Conflict):
    """The session ended before its command did."""


class ExecSession:
    """Used by one reader and one writer, in one event loop."""

    def __init__(self, helper: Helper) -> None:
        self._helper = helper
        self._frames = FrameReader(helper)
        self._cut: RequestError | None = None
        self._input_taken = asyncio.Event()
        """Set if the command has taken all input so far."""
        self._input_taken.set()
        self.exit: Exit | None = None
        """`None` until the command has ended."""
        self.last_use = asyncio.get_running_loop().time()
        """When bytes last passed in either direction."""

    async def begin(self) -> None:
        """Wait for the helper. Raises SessionCut."""
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                kind, _ = await self._frames.next()
        except (NoFrame, TimeoutError):
            kind = ""
        if kind != "h":
            raise SessionCut(
                "Cannot enter the task: it has just ended, or an older release of FetchML has "
                "started it"
            )

    async def outputs(self) -> AsyncGenerator[Output | Exit]:
        """Yield the output, and the exit at last. Raises SessionCut, and the error of `cut`."""
        try:
            while True:
                kind, data = await self._frames.next()
                self._used()
                if kind == "x" and data:
                    self.exit = Exit(data[0], data[1:200].decode(errors="replace"))
                    yield self.exit
                    return
                if kind == "a":
                    self._input_taken.set()
                elif stream := _OUTPUT.get(kind):
                    yield Output(stream, data)
        except NoFrame:
            ended = SessionCut("The session ended with its task")
            raise self._cut or ended from None

    async def write(self, data: bytes) -> None:
        """Pass on input. Waits while the command does not take it; `outputs` must be read then."""
        self._used()
        for at in range(0, len(data), MOST_BYTES):
            await self._input_taken.wait()
            self._input_taken.clear()
            await self._send(frame("i", data[at : at + MOST_BYTES]))

    async def end_input(self) -> None:
        await self._send(frame("e"))

    async def resize(self, rows: int, columns: int) -> None:
        await self._send(frame("w", rows.to_bytes(2) + columns.to_bytes(2)))

    async def signal(self, number: int) -> None:
        """Send a signal to the command's process group."""
        self._used()
        await self._send(frame("s", bytes([number])))

    async def cut(self, reason: RequestError) -> None:
        """End it: `outputs` raises the reason."""
        if self._cut is None:
            self._cut = reason
        await self._helper.close()

    async def _send(self, data: bytes) -> None:
        with suppress(OSError):  # It has ended: `outputs` reports how.
            await self._helper.write(data)

    def _used(self) -> None:
        self.last_use = asyncio.get_running_loop().time()
