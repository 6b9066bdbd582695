"""Jupyters and their visitors that mean harm, before a real server."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.jupyter.service import Service
from tests.server.program import Backend, Server

HOSTILE = Path(__file__).with_name("hostile_jupyter.py")
HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Authorization: token {token}\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    variables = {
        "FETCHML_LAUNCHER": "process",
        "FETCHML_JUPYTER_COMMAND": f"{sys.executable} {HOSTILE}",
        "FETCHML_TASKS_GRACE_SECONDS": "1",
    }
    server = Server(tmp_path / "data", Backend(variables, lambda: ()))
    await server.start()
    yield server
    await server.close()


def rss_of(server: Server) -> int:
    """Bytes that it has in memory."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


async def connect(server: Server) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """One that takes next to nothing by itself."""
    host, _, port = server.http_address.rpartition(":")
    return await asyncio.open_connection(host, int(port), limit=1)


async def standstill(service: Service) -> int:
    """When nothing more is taken of its messages, how many MiB were."""
    before = -1
    while (sent := int(await service.json("GET", "/sent"))) != before:
        before = sent
        await asyncio.sleep(0.5)
    return sent


async def test_messages_that_nobody_reads_stay_out_of_memory(server: Server) -> None:
    service = await Service.running(server)
    await service.json("GET", "/sent")
    before = rss_of(server)
    writers = []
    for _ in range(15):
        _, writer = await connect(server)
        head = HANDSHAKE.format(path=f"{service.base}/api/kernels/1/channels", token=service.token)
        writer.write(head.encode())
        writers.append(writer)
    sent = await standstill(service)
    assert sent > 0, "they have begun"
    grown = rss_of(server) - before
    assert grown < 32 << 20
    for writer in writers:
        writer.transport.abort()
