#!/usr/bin/env python3
"""Stands for a Jupyter that its user has turned against the server: a WebSocket gets messages of
32 MiB without end. It imports nothing of this folder, since it runs in a workspace."""

import asyncio
import base64
import hashlib
import sys

SOCK = next(arg.partition("=")[2] for arg in sys.argv if arg.startswith("--ServerApp.sock="))
BASE = next(arg.partition("=")[2] for arg in sys.argv if arg.startswith("--ServerApp.base_url="))
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
MESSAGE_BYTES = 32 << 20
PIECE = bytes(1 << 20)
ANSWERS = {"api/status": b"{}", "api/kernels": b"[]", "api/terminals": b"[]"}
"""What the server asks by itself."""


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head)
    }
    if "sec-websocket-key" in headers:
        await flood(writer, headers["sec-websocket-key"])
    path = head[0].split()[1].partition("?")[0].removeprefix(BASE)
    body = ANSWERS.get(path, b"{}")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
    writer.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()


async def flood(writer: asyncio.StreamWriter, key: str) -> None:
    """Until the server leaves, which raises ConnectionError."""
    digest = hashlib.sha1(key.encode() + GUID, usedforsecurity=False).digest()
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %s\r\n\r\n" % base64.b64encode(digest)
    )
    while True:
        writer.write(b"\x82\x7f" + MESSAGE_BYTES.to_bytes(8, "big"))
        for _ in range(MESSAGE_BYTES // len(PIECE)):
            writer.write(PIECE)
            await writer.drain()


async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await answer(reader, writer)
    except (ConnectionError, asyncio.IncompleteReadError):
        pass  # The server has left.
    finally:
        writer.close()


async def main() -> None:
    server = await asyncio.start_unix_server(handle, SOCK, backlog=1000)
    await server.serve_forever()


asyncio.run(main())
