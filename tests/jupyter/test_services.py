"""Real Jupyters in real containers, behind the real server."""

import asyncio
import base64
import hashlib
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from aiohttp import WSMsgType

from fetchml.config.settings import TaskSettings
from tests.jupyter.service import Serve, Service
from tests.support.program import ADMIN_KEY, Backend, Server
from tests.support.waiting import SECONDS

pytestmark = pytest.mark.slow

LARGE_BYTES = 64_000_000


def container_of(service: Service) -> dict[str, object]:
    """What the Docker engine reports about its container."""
    found = [
        container.attrs
        for container in service.server.backend.containers()
        if container.labels["fetchml.task"] == service.id
    ]
    assert len(found) == 1
    attributes: dict[str, object] = found[0]
    return attributes


async def test_a_service_in_a_container_from_its_start_to_its_death(
    serve: Serve, jupyter_backend: Backend
) -> None:
    server = await serve(jupyter_backend)
    service = await Service.start(server, cpu=1, memory_gb=2)
    assert (await service.show())["status"] == "starting"
    await service.until("running")
    kernel = await service.new_kernel()
    assert await service.run(kernel, "print('a'); 6*7") == "a\n42"
    host = container_of(service)["HostConfig"]
    assert isinstance(host, dict)
    assert (host["NetworkMode"], host["PortBindings"]) == ("none", None)
    assert (host["CapDrop"], host["ReadonlyRootfs"]) == (["ALL"], True)
    assert (host["NanoCpus"], host["Memory"]) == (10**9, 2 << 30)
    port = server.http_address.rpartition(":")[2]
    said = await service.run(
        kernel, f"import socket; socket.create_connection(('127.0.0.1', {port}))"
    )
    assert said.startswith("ConnectionRefusedError"), "the server's port is none of its network"
    uid = TaskSettings().first_uid if os.geteuid() == 0 else os.geteuid()
    assert await service.run(kernel, "import os; os.getuid()") == str(uid)
    for step in (
        a_terminal_works,
        nothing_opens_without_the_token,
        large_files_pass_without_taking_memory,
        a_killed_server_adopts_its_service_again,
        a_stopping_server_closes_sockets_with_a_reason,
        a_service_whose_jupyter_dies_is_in_error,
    ):
        await step(service)


async def a_terminal_works(service: Service) -> None:
    name = (await service.json("POST", "/api/terminals"))["name"]
    async with asyncio.timeout(SECONDS), service.connect(f"/terminals/websocket/{name}") as socket:
        await socket.send_str(json.dumps(["stdin", "echo $((6*7))-$PWD\r"]))
        said = ""
        while "42-/workspace" not in said:
            kind, *words = json.loads(await socket.receive_str())
            said += "".join(words) if kind == "stdout" else ""


async def nothing_opens_without_the_token(service: Service) -> None:
    server = service.server
    kernel = await service.new_kernel()
    requests = (
        ("GET", "/api/contents"),
        ("GET", "/api/kernels"),
        ("POST", "/api/kernels"),
        ("GET", "/files/a"),
        ("POST", "/api/terminals"),
        ("PUT", "/api/contents/a"),
    )
    for token in ("", "wrong", ADMIN_KEY):
        for method, path in requests:
            async with service.ask(method, path, token=token, allow_redirects=False) as reply:
                # A page sends to the login, which asks for the token.
                login = reply.headers.get("Location", "").startswith(f"{service.base}/login?")
                assert reply.status == 403 or (reply.status == 302 and login), (method, path)
        for path in (f"/api/kernels/{kernel}/channels", "/terminals/websocket/1"):
            with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
                await service.connect(path, token=token)
    async with server.rest.session.get(
        service.url("/api/contents"), headers=server.rest.with_key({})
    ) as reply:
        assert reply.status == 403, "a key of the server is none of Jupyter"


def memory_of(server: Server) -> int:
    """The most that it has ever had, in bytes."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


async def large_files_pass_without_taking_memory(service: Service) -> None:
    content = os.urandom(1 << 20) * (LARGE_BYTES >> 20)
    before = memory_of(service.server)
    head = b'{"type": "file", "format": "base64", "content": "'

    async def upload() -> AsyncIterator[bytes]:
        yield head
        size = 3 << 18
        for begin in range(0, len(content), size):
            yield base64.b64encode(content[begin : begin + size])
        yield b'"}'

    async with service.ask("PUT", "/api/contents/large.bin", data=upload()) as reply:
        assert reply.status == 201, await reply.text()
    came, size = hashlib.sha256(), 0
    async with service.ask("GET", "/files/large.bin") as reply:
        async for piece in reply.content.iter_any():
            came.update(piece)
            size += len(piece)
    assert (size, came.digest()) == (len(content), hashlib.sha256(content).digest())
    assert memory_of(service.server) - before < 48 << 20


async def a_killed_server_adopts_its_service_again(service: Service) -> None:
    kernel = await service.new_kernel()
    await service.run(kernel, "kept = 6*7")
    container = container_of(service)["Id"]
    before = await service.show()
    await service.server.kill_and_start()
    after = await service.until("running")
    assert (after["token"], after["started_at"]) == (service.token, before["started_at"])
    assert container_of(service)["Id"] == container
    assert await service.run(kernel, "kept") == "42"


async def a_stopping_server_closes_sockets_with_a_reason(service: Service) -> None:
    server = service.server
    kernel = await service.new_kernel()
    async with service.kernel(kernel) as running:
        await running.run("kept = 6*7")
        server.signal(signal.SIGTERM)
        async with asyncio.timeout(SECONDS):
            while (message := await running.socket.receive()).type is WSMsgType.BINARY:
                pass
        assert message.type is WSMsgType.CLOSE
        assert message.data == 1001
        assert await server.died() == 0
    await server.start()
    await service.until("running")
    assert await service.run(kernel, "kept") == "42"


async def a_service_whose_jupyter_dies_is_in_error(service: Service) -> None:
    async with service.kernel(await service.new_kernel()) as kernel:
        await kernel.begin("import os; os.kill(os.getppid(), 9)")
        async with asyncio.timeout(SECONDS):
            while (message := await kernel.socket.receive()).type is WSMsgType.BINARY:
                pass
        assert message.data == 1011, "the page is told too"
    shown = await service.ended("error")
    assert "SIGKILL" in shown["reason"]
    async with service.ask("GET", "/lab") as reply:
        assert reply.status == 404
        assert shown["reason"].partition(":")[0] in (await reply.json())["error"]


async def test_a_working_service_is_not_idle(serve: Serve, jupyter_backend: Backend) -> None:
    server = await serve(jupyter_backend, FETCHML_JUPYTER_IDLE_SECONDS="10")
    service = await Service.start(server)
    async with AsyncExitStack() as stack:
        async with service.in_use():
            kernel = await stack.enter_async_context(service.kernel(await service.new_kernel()))
            await kernel.run("import time")
            working = asyncio.create_task(kernel.run("time.sleep(13); 'awake'"))
        assert await working == "'awake'", "it was not stopped meanwhile"
