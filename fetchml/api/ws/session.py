"""One client of /ws, from the handshake on: a reader, a writer, and a pulse."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, aclosing
from dataclasses import dataclass
from typing import NoReturn

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from fetchml.api.task_json import update_json
from fetchml.errors import Overloaded, TooManyBytes
from fetchml.views import Update, UpdateType

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds."""

    ping_every: float = 20
    pong_within: float = 60
    """A client that has not said pong for so long is let go."""
    send_within: float = 30
    """A client that takes nothing for so long is let go."""
    close_within: float = 2
    """How long a client has to confirm that the server closes."""


class SocketEnded(Exception):
    """The session is over; the client is told why, unless it has left."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class _FromClient(msgspec.Struct):
    type: str


class WatchSession:
    """Memory does not grow with a slow client: the next update is taken when the last is sent."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        updates: AsyncGenerator[Update],
        timing: Timing,
        *,
        full: bool,
        hold: Callable[[int], AbstractContextManager[None]],
    ) -> None:
        """`hold`: around a message of so many bytes that the client has yet to take. It raises
        TooManyBytes, Overloaded."""
        self._socket = socket
        self._hold = hold
        self._updates = updates
        self._timing = timing
        self._full = full
        self._clock = asyncio.get_running_loop().time
        self._last_pong = self._clock()

    async def run(self) -> NoReturn:
        """Raises SocketEnded, what the updates raise, or ConnectionError."""
        tasks = [
            asyncio.create_task(part) for part in (self._read(), self._write(), self._keep_alive())
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        done.pop().result()
        raise AssertionError("a part of a session ends by raising only")

    async def _write(self) -> NoReturn:
        async with aclosing(self._updates):
            async for update in self._updates:
                # The contract knows no message of a deletion: only the full view has one.
                if self._full or update.type is not UpdateType.TASK_DELETED:
                    await self._send(update_json(update, full=self._full))
        raise SocketEnded(WSCloseCode.GOING_AWAY, "There are no more updates")

    async def _read(self) -> NoReturn:
        async for message in self._socket:
            if message.type is WSMsgType.ERROR:
                break  # aiohttp has closed it and told the client why.
            if message.type is not WSMsgType.TEXT:
                raise SocketEnded(WSCloseCode.UNSUPPORTED_DATA, "Send text messages only")
            try:
                kind = msgspec.json.decode(message.data, type=_FromClient).type
            except (ValueError, RecursionError):
                reason = 'Send JSON objects with a "type"'
                raise SocketEnded(WSCloseCode.INVALID_TEXT, reason) from None
            if kind == "pong":
                self._last_pong = self._clock()
            elif kind == "ping":
                await self._send({"type": "pong"})
        raise SocketEnded(WSCloseCode.OK, "")

    async def _keep_alive(self) -> NoReturn:
        next_ping = self._clock() + self._timing.ping_every
        while True:
            deadline = self._last_pong + self._timing.pong_within
            await asyncio.sleep(min(next_ping, deadline) - self._clock())
            now = self._clock()
            if now >= self._last_pong + self._timing.pong_within:
                reason = f"No pong for {self._timing.pong_within:g} s"
                raise SocketEnded(WSCloseCode.POLICY_VIOLATION, reason)
            if now >= next_ping:
                await self._send({"type": "ping"})
                next_ping += self._timing.ping_every

    async def _send(self, message: dict[str, object]) -> None:
        data = _encode(message)
        try:
            with self._hold(len(data)):
                async with asyncio.timeout(self._timing.send_within):
                    await self._socket.send_frame(data, WSMsgType.TEXT)
        except (TooManyBytes, Overloaded) as error:
            raise SocketEnded(WSCloseCode.TRY_AGAIN_LATER, error.message) from None
        except TimeoutError:
            reason = f"Nothing was taken for {self._timing.send_within:g} s: come back with since"
            raise SocketEnded(WSCloseCode.TRY_AGAIN_LATER, reason) from None
