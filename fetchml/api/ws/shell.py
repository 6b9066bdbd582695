"""A shell in a running task, for the page: a WebSocket whose binary messages are the bytes of a
terminal, and whose text messages are JSON.

- From the client: binary messages are input; `{"type": "resize", "rows": 40, "columns": 120}`;
  `{"type": "shown", "bytes": 65536}` for output that it has shown.
- From the server: binary messages are output; `{"type": "exit", "code": 0, "error": ""}` at last.

A browser reads a WebSocket however slow its page is. So the server sends at most `AHEAD_BYTES` that
the client has not shown.
"""

import asyncio
from contextlib import aclosing
from typing import Annotated, NoReturn

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from fetchml.access.service import TaskAccess
from fetchml.access.session import ExecSession, Exit
from fetchml.api.http.query import Query
from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Route
from fetchml.api.ws.handshake import Handshake, SocketEnded
from fetchml.api.ws.watch import Timing, until_one_raises
from fetchml.core.requests.access import SHELL, ExecRequest, size_fault
from fetchml.system.pacing import Pace

MAX_MESSAGE_BYTES = 64 << 10
"""Largest message from a client. Longer pasted text arrives in several messages."""
AHEAD_BYTES = 1 << 20
INPUT_BYTES = 128 << 10
"""Input that the command has not taken, at most: further messages wait. While output waits to be
shown they can't wait, and more input ends the session."""
ROWS, COLUMNS = 24, 80

_encode = msgspec.json.Encoder().encode


class _Resize(msgspec.Struct, tag_field="type", tag="resize"):
    rows: int
    columns: int


class _ShownMessage(msgspec.Struct, tag_field="type", tag="shown"):
    bytes: Annotated[int, msgspec.Meta(ge=0, le=AHEAD_BYTES)]


class ShellOperation:
    def __init__(self, access: TaskAccess, handshake: Handshake, timing: Timing) -> None:
        self._access = access
        self._handshake = handshake
        self._timing = timing

    def routes(self) -> list[Route]:
        # Keyless for the router only: the handshake also accepts a key sent as a protocol.
        return [Route("GET", "/v1/tasks/{id}/shell", self.run, keyless=True)]

    async def run(self, request: RestRequest, task_id: str) -> web.StreamResponse:
        protocols = self._handshake.admit(request)
        query = Query(request.http, "rows", "columns")
        size = (query.number("rows") or ROWS, query.number("columns") or COLUMNS)
        # Refused before the handshake, with a status. `exec` checks it again when it enters.
        await self._access.admit(request.principal, task_id)
        socket = self._handshake.socket(
            request, protocols, MAX_MESSAGE_BYTES, self._timing.ping_every
        )

        async def session() -> None:
            command = ExecRequest(SHELL, size)
            async with self._access.exec(request.principal, task_id, command) as opened:
                await socket.prepare(request.http)
                await _Terminal(socket, opened, self._timing.send_within, request).run()

        return await self._handshake.serve(request, socket, session)


class _Terminal:
    """The two directions of one session."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        session: ExecSession,
        send_within: float,
        request: RestRequest,
    ) -> None:
        self._socket = socket
        self._session = session
        self._send_within = send_within
        self._hold = request.message
        self._ahead = 0
        """Bytes that were sent and not shown yet."""
        self._shown = asyncio.Event()
        self._input = asyncio.Queue[bytes]()
        self._input_bytes = 0
        """Bytes in the queue and in transit."""
        self._moved = asyncio.Event()
        """Set when the command has taken input, and when output begins to wait."""

    async def run(self) -> NoReturn:
        """Raises SocketEnded, ConnectionError, and errors of the session."""
        await until_one_raises(self._read(), self._pass_on(), self._write())

    async def _write(self) -> NoReturn:
        async with aclosing(self._session.outputs()) as outputs:
            async for part in outputs:
                if isinstance(part, Exit):
                    end = {"type": "exit", "code": part.code, "error": part.error}
                    await self._send(_encode(end), WSMsgType.TEXT)
                    continue
                while self._ahead >= AHEAD_BYTES:
                    self._moved.set()
                    self._shown.clear()
                    await self._shown.wait()
                self._ahead += len(part.data)
                await self._send(part.data, WSMsgType.BINARY)
        raise SocketEnded(WSCloseCode.OK, "")

    async def _read(self) -> NoReturn:
        pace = Pace()
        async for message in self._socket:
            await pace.rest()  # The read-ahead buffer may contain thousands of messages.
            if message.type is WSMsgType.BINARY:
                await self._take(message.data)
            elif message.type is WSMsgType.TEXT:
                await self._control(message.data)
            elif message.type is WSMsgType.PING:
                await self._socket.pong(message.data)
            elif message.type is not WSMsgType.PONG:
                break  # aiohttp has sent the client the reason and closed the socket.
        raise SocketEnded(WSCloseCode.OK, "")

    async def _take(self, data: bytes) -> None:
        """Queue input. What the client has shown is in a message after it, so this does not wait
        for the command while output waits for the client."""
        while self._input_bytes >= INPUT_BYTES:
            if self._ahead >= AHEAD_BYTES:
                reason = "More input than the command takes while its output is not shown"
                raise SocketEnded(WSCloseCode.TRY_AGAIN_LATER, reason)
            self._moved.clear()
            await self._moved.wait()
        self._input_bytes += len(data)
        self._input.put_nowait(data)

    async def _pass_on(self) -> NoReturn:
        while True:
            data = await self._input.get()
            await self._session.write(data)
            self._input_bytes -= len(data)
            self._moved.set()

    async def _control(self, text: str) -> None:
        try:
            message = msgspec.json.decode(text, type=_Resize | _ShownMessage)
        except (ValueError, RecursionError):
            reason = 'Send input as binary messages; texts are of type "resize" or "shown"'
            raise SocketEnded(WSCloseCode.INVALID_TEXT, reason) from None
        if isinstance(message, _ShownMessage):
            self._ahead = max(0, self._ahead - message.bytes)
            self._shown.set()
        elif fault := size_fault(message.rows, message.columns):
            raise SocketEnded(WSCloseCode.INVALID_TEXT, fault)
        else:
            await self._session.resize(message.rows, message.columns)

    async def _send(self, data: bytes, kind: WSMsgType) -> None:
        try:
            with self._hold(len(data)):
                async with asyncio.timeout(self._send_within):
                    await self._socket.send_frame(data, kind)
        except TimeoutError:
            reason = f"Nothing was read for {self._send_within:g} s"
            raise SocketEnded(WSCloseCode.TRY_AGAIN_LATER, reason) from None
