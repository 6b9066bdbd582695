"""A real HTTP server for datasets that misbehaves on request."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    """Names in lower case."""


Answer = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


class OriginServer:
    def __init__(self, port: int) -> None:
        self.port = port
        self.answers: dict[str, Answer] = {}
        """By path. Anything else is a 404."""
        self.requests: list[Request] = []
        self.was_asked = asyncio.Event()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            pairs = (line.partition(":") for line in lines[1:] if line)
            headers = {name.lower(): value.strip() for name, _, value in pairs}
            request = Request(lines[0].split(" ")[1], headers)
            self.requests.append(request)
            self.was_asked.set()
            answer = self.answers.get(request.path.partition("?")[0])
            if answer is None:
                send_head(writer, 404, {"Content-Length": "0"})
            else:
                await answer(request, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client left
        finally:
            writer.close()


@asynccontextmanager
async def origin_server() -> AsyncIterator[OriginServer]:
    server = OriginServer(0)
    handlers: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = asyncio.ensure_future(server.handle(reader, writer))
        handlers.add(handler)
        handler.add_done_callback(handlers.discard)

    listening = await asyncio.start_server(connected, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for handler in handlers:
            handler.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)


def send_head(writer: asyncio.StreamWriter, status: int, headers: Mapping[str, str]) -> None:
    lines = [f"HTTP/1.1 {status} {'OK' if status < 300 else 'No'}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    # Surrogates stand for bytes that are not UTF-8.
    writer.write("\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape"))


class File:
    """A file as a good server gives it: with its length, its version, its parts."""

    def __init__(self, content: bytes, etag: str | None = '"1"') -> None:
        self.content = content
        self.etag = etag
        self.cuts: list[int] = []
        """Of the next answers: how many bytes of each come before the connection is cut."""
        self.announced: int | None = None
        """A length that is a lie."""
        self.hold: asyncio.Event | None = None
        """The first byte waits for it."""
        self.on_cut: Callable[[], None] = lambda: None

    async def __call__(self, request: Request, writer: asyncio.StreamWriter) -> None:
        version = {"ETag": self.etag} if self.etag else {}
        if self.etag and request.headers.get("if-none-match") == self.etag:
            send_head(writer, 304, version)
            return
        part = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
        offset = int(part[1]) if part and request.headers.get("if-range") == self.etag else 0
        length = self.announced or len(self.content)
        if offset and offset >= len(self.content):
            send_head(writer, 416, {"Content-Length": "0"})
            return
        if offset:
            version["Content-Range"] = f"bytes {offset}-{length - 1}/{length}"
        send_head(
            writer, 206 if offset else 200, {**version, "Content-Length": str(length - offset)}
        )
        if self.hold is not None:
            await writer.drain()
            await self.hold.wait()
        body = self.content[offset:]
        if self.cuts:
            body = body[: self.cuts.pop(0)]
            self.on_cut()
        writer.write(body)
