#!/usr/bin/env python3
"""Stands for a Jupyter that its user has turned against the server. It answers what FetchML asks,
and by its path everything else: WebSockets get messages of 32 MiB without end."""

import asyncio
import base64
import hashlib
import json
import os
import sys
from pathlib import Path
from urllib.parse import parse_qs

SOCK = next(arg.partition("=")[2] for arg in sys.argv if arg.startswith("--ServerApp.sock="))
BASE = next(arg.partition("=")[2] for arg in sys.argv if arg.startswith("--ServerApp.base_url="))
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
MESSAGE_BYTES = 32 << 20
PIECE = bytes(1 << 20)

sent: list[int] = []
"""Each piece of a message that the server has taken."""
seen: list[list[str]] = []
"""The header lines of each request but the server's own."""


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    path = head[0].split()[1].partition("?")[0].removeprefix(BASE)
    headers = {
        name.lower(): value.strip()
        for name, _, value in (line.partition(":") for line in head[1:] if line)
    }
    known = {
        "api/status": {},
        "api/kernels": [],
        "api/terminals": [],
        "sent": len(sent),
        "seen": seen,
    }
    if "sec-websocket-key" in headers:
        await flood(writer, headers["sec-websocket-key"])
    elif path in known:
        await reply(writer, json.dumps(known[path]).encode())
    elif path == "endless":
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(PIECE)
            await writer.drain()
            sent.append(len(PIECE))
    elif path == "deaf":
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.Event().wait()
    elif path == "silent":
        await asyncio.Event().wait()
    elif path == "swap":
        swap(parse_qs(head[0].split()[1].partition("?")[2])["to"][0])
        await reply(writer, b"{}")
    elif path == "cookies":
        cookies = ("_xsrf=1; Path=" + BASE, "fetchml-session=1", "__Host-a=1; Path=/; Secure")
        await reply(writer, b"", "".join(f"Set-Cookie: {each}\r\n" for each in cookies))
    else:
        if headers.get("content-length"):
            await reader.readexactly(int(headers["content-length"]))
        seen.append(head)
        await reply(writer, b"ok")


def swap(target: str) -> None:
    """Put a link to a socket of the host in the place of its own; only the host has this path."""
    Path(SOCK).unlink()
    Path(SOCK).symlink_to(target)


async def reply(writer: asyncio.StreamWriter, body: bytes, headers: str = "") -> None:
    headers += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    writer.write(f"HTTP/1.1 200 OK\r\n{headers}\r\n".encode() + body)
    await writer.drain()


async def flood(writer: asyncio.StreamWriter, key: str) -> None:
    accept = base64.b64encode(
        hashlib.sha1(key.encode() + GUID, usedforsecurity=False).digest()
    ).decode()
    writer.write(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
    )
    while True:
        writer.write(b"\x82\x7f" + MESSAGE_BYTES.to_bytes(8, "big"))
        for _ in range(MESSAGE_BYTES // len(PIECE)):
            writer.write(PIECE)
            await writer.drain()
            sent.append(len(PIECE))


async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await answer(reader, writer)
    except (ConnectionError, asyncio.IncompleteReadError):
        pass  # The server has left.
    finally:
        writer.close()


async def main() -> None:
    server = await asyncio.start_unix_server(handle, SOCK, backlog=1000)
    os.environ.pop("JUPYTER_TOKEN")
    await server.serve_forever()


asyncio.run(main())
