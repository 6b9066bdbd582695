"""`/ws`: changes of tasks as they happen."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AbstractContextManager, aclosing
from dataclasses import dataclass
from typing import Any, NoReturn
from weakref import WeakKeyDictionary

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from fetchml.api.http.query import Query
from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Route
from fetchml.api.task_json import batch_json, update_json
from fetchml.api.ws.handshake import Handshake, SocketEnded
from fetchml.core.model import Status
from fetchml.engine.engine import Engine
from fetchml.errors import Overloaded, TooManyBytes
from fetchml.system.pacing import Pace
from fetchml.views import Batch, Update, UpdateType, WatchFilter

MAX_MESSAGE_BYTES = 4096
"""Largest message from a client, which sends only `ping` and `pong`."""

_PING, _PONG = b'{"type":"ping"}', b'{"type":"pong"}'


@dataclass(frozen=True, slots=True)
class Timing:
    """Time limits of a session in seconds (contract reading 29)."""

    ping_every: float = 20
    pong_within: float = 60
    """The session ends if the client sends no pong for this long."""
    send_within: float = 30
    """The session ends if the client reads nothing for this long."""
    close_within: float = 2
    """Longest wait for the client's close frame."""


class _FromClient(msgspec.Struct):
    type: str


async def until_one_raises(*parts: Coroutine[Any, Any, NoReturn]) -> NoReturn:
    """Run the parts of a session together until one of them ends it, and raise its error."""
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    done.pop().result()
    raise AssertionError("a part of a session ends by raising only")


class WatchSession:
    """Sends messages to one client.

    A slow client costs no memory: the next message is made only when the last one was sent.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        messages: AsyncGenerator[bytes],
        timing: Timing,
        *,
        hold: Callable[[int], AbstractContextManager[None]],
    ) -> None:
        """`messages`: JSON (`fetchml.api.ws.frames`). `hold`: counts a message of the given size
        until it is sent; raises TooManyBytes, Overloaded."""
        self._socket = socket
        self._hold = hold
        self._messages = messages
        self._timing = timing
        self._clock = asyncio.get_running_loop().time
        self._last_pong = self._clock()

    async def run(self) -> NoReturn:
        """Serve the client until the session ends. Raises SocketEnded, ConnectionError, and errors
        of the messages."""
        await until_one_raises(self._read(), self._write(), self._keep_alive())

    async def _write(self) -> NoReturn:
        async with aclosing(self._messages):
            async for message in self._messages:
                await self._send(message)
        raise SocketEnded(WSCloseCode.GOING_AWAY, "There are no more updates")

    async def _read(self) -> NoReturn:
        pace = Pace()
        async for message in self._socket:
            await pace.rest()  # The read-ahead buffer may contain thousands of messages.
            if message.type is WSMsgType.ERROR:
                break  # aiohttp has sent the client the reason and closed the socket.
            if message.type is WSMsgType.PING:
                await self._socket.pong(message.data)
                continue
            if message.type is WSMsgType.PONG:
                continue
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
                await self._send(_PONG)
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
                await self._send(_PING)
                next_ping += self._timing.ping_every

    async def _send(self, data: bytes) -> None:
        try:
            with self._hold(len(data)):
                async with asyncio.timeout(self._timing.send_within):
                    await self._socket.send_frame(data, WSMsgType.TEXT)
        except (TooManyBytes, Overloaded) as error:
            raise SocketEnded(WSCloseCode.TRY_AGAIN_LATER, error.message) from None
        except TimeoutError:
            reason = f"Nothing was read for {self._timing.send_within:g} s: reconnect with since"
            raise SocketEnded(WSCloseCode.TRY_AGAIN_LATER, reason) from None


class WatchOperation:
    def __init__(self, engine: Engine, handshake: Handshake, timing: Timing) -> None:
        self._engine = engine
        self._handshake = handshake
        self._timing = timing
        self._batches = BatchMessages()

    def routes(self) -> list[Route]:
        # Keyless for the router only: the handshake also accepts a key sent as a protocol.
        return [Route("GET", "/ws", self.watch, keyless=True)]

    async def watch(self, request: RestRequest) -> web.StreamResponse:
        protocols = self._handshake.admit(request)
        query = Query(request.http, "since", "task_id", "status", "view", "batch")
        full, since, in_batches = query.full_view(), query.number("since"), query.flag("batch")
        where = WatchFilter(query.text("task_id"), query.status("status", tuple(Status)))
        socket = self._handshake.socket(request, protocols, MAX_MESSAGE_BYTES)

        async def session() -> None:
            await socket.prepare(request.http)
            who = request.principal
            if in_batches:
                batches = self._engine.batches.watch(who, where, since)
                messages = self._batches.of(batches, full=full)
            else:
                updates = self._engine.watches.watch(who, where, since, completes=True)
                messages = each_change(updates, full=full)
            await WatchSession(socket, messages, self._timing, hold=request.message).run()

        return await self._handshake.serve(request, socket, session)


_encode = msgspec.json.Encoder().encode


async def each_change(updates: AsyncGenerator[Update], *, full: bool) -> AsyncGenerator[bytes]:
    """A message for each update. `full`: in the full view, with deletions, for which the contract
    defines no message."""
    async with aclosing(updates):
        async for update in updates:
            if full or update.type is not UpdateType.TASK_DELETED:
                yield _encode(update_json(update, full=full))


class BatchMessages:
    """Messages of batches, which are encoded once for all connections that send the same."""

    def __init__(self) -> None:
        self._encoded: WeakKeyDictionary[Batch, dict[bool, bytes]] = WeakKeyDictionary()
        """By batch and whether it is in the full view, as long as the batch is in memory."""

    async def of(
        self, batches: AsyncGenerator[Batch | Update], *, full: bool
    ) -> AsyncGenerator[bytes]:
        async with aclosing(batches):
            async for item in batches:
                yield self._batch(item, full) if isinstance(item, Batch) else _resync(item)

    def _batch(self, batch: Batch, full: bool) -> bytes:
        encoded = self._encoded.setdefault(batch, {})
        if full not in encoded:
            encoded[full] = _encode(batch_json(batch, full=full))
        return encoded[full]


def _resync(update: Update) -> bytes:
    return _encode(update_json(update))
