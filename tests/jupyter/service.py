"""A Jupyter service of a real server, used as JupyterLab's page uses it."""

import asyncio
import itertools
import json
import struct
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from yarl import URL

from tests.jupyter.image import NAME
from tests.support.program import Server
from tests.support.waiting import SECONDS, eventually, soon, until

Serve = Callable[..., Awaitable[Server]]
"""A server that is ready: `await serve(backend, FETCHML_…="…")`."""
SAVED = {"type": "file", "format": "text", "content": "6*7"}
KERNEL_PROTOCOL = "v1.kernel.websocket.jupyter.org"


class Service:
    def __init__(self, server: Server, started: dict[str, Any]) -> None:
        self.server = server
        self.id: str = started["id"]
        self.token: str = started["token"]
        self.base = f"/jupyter/{self.id}"

    @classmethod
    async def start(cls, server: Server, **fields: Any) -> "Service":
        """As soon as the server has taken the request."""
        body = json.dumps({"name": "work", "image": NAME, **fields}).encode()
        reply = await soon(
            server.rest.ask("POST", "/v1/jupyter/services", body, Content_Type="application/json")
        )
        assert reply.status == 201, reply.body
        return cls(server, reply.json)

    @classmethod
    async def running(cls, server: Server, **fields: Any) -> "Service":
        service = await cls.start(server, **fields)
        await service.until("running")
        return service

    async def show(self) -> dict[str, Any]:
        """In the full view."""
        reply = await self.server.rest.get(f"/v1/jupyter/services/{self.id}?view=full")
        assert reply.status == 200, reply.body
        shown: dict[str, Any] = reply.json
        return shown

    async def until(self, status: str) -> dict[str, Any]:
        return await self.until_shown(lambda shown: shown["status"] == status)

    async def until_shown(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        return await until(self.show, holds)

    async def ended(self, status: str) -> dict[str, Any]:
        """When nothing of it is left."""
        shown = await self.until_shown(
            lambda shown: shown["status"] == status and "ended_at" in shown
        )
        await eventually(lambda: not self.server.backend.left_of([self.id]))
        return shown

    async def stop(self) -> None:
        reply = await self.server.rest.ask("DELETE", f"/v1/jupyter/services/{self.id}")
        assert reply.status == 204, reply.body

    def url(self, path: str) -> URL:
        return self.server.rest.url(self.base + path)

    def ask(self, method: str, path: str, *, token: str | None = None, **options: Any) -> Any:
        """A request to Jupyter itself; `token` empty: without one."""
        token = self.token if token is None else token
        headers = {"Authorization": f"token {token}"} if token else {}
        return self.server.rest.session.request(method, self.url(path), headers=headers, **options)

    async def json(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body)
        async with self.ask(method, path, data=data) as reply:
            assert reply.status < 300, await reply.text()
            return await reply.json() if reply.status != 204 else None

    def connect(self, path: str, *, token: str | None = None, **options: Any) -> Any:
        token = self.token if token is None else token
        return self.server.rest.session.ws_connect(
            self.url(path), headers={"Authorization": f"token {token}"} if token else {}, **options
        )

    @asynccontextmanager
    async def in_use(self) -> AsyncIterator[None]:
        """It is not idle while inside, however long that takes on a busy machine."""

        async def save() -> None:
            while True:
                await self.json("PUT", "/api/contents/.used", SAVED)
                await asyncio.sleep(1)

        await self.until("running")
        saving = asyncio.create_task(save())
        try:
            yield
        finally:
            saving.cancel()
            await asyncio.gather(saving, return_exceptions=True)

    async def new_kernel(self) -> str:
        return str((await self.json("POST", "/api/kernels", {"name": "python3"}))["id"])

    @asynccontextmanager
    async def kernel(self, kernel_id: str) -> AsyncIterator["Kernel"]:
        async with self.connect(
            f"/api/kernels/{kernel_id}/channels", protocols=(KERNEL_PROTOCOL,)
        ) as socket:
            assert socket.protocol == KERNEL_PROTOCOL
            yield Kernel(socket)

    async def run(self, kernel_id: str, code: str) -> str:
        async with self.kernel(kernel_id) as kernel:
            return await kernel.run(code)


class Kernel:
    """The protocol's frames: https://jupyter-server.readthedocs.io, "WebSocket kernel wire
    protocols"."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def begin(self, code: str) -> str:
        """Run code without waiting for its end. Returns the message's id."""
        message_id = uuid.uuid4().hex
        header = {
            "msg_id": message_id,
            "msg_type": "execute_request",
            "username": "",
            "session": "test",
            "date": "",
            "version": "5.3",
        }
        content = {"code": code, "silent": False, "allow_stdin": False, "store_history": True}
        parts = [b"shell", *(json.dumps(part).encode() for part in (header, {}, {}, content))]
        offsets = [8 * (len(parts) + 2)]
        for part in parts:
            offsets.append(offsets[-1] + len(part))
        head = struct.pack(f"<{len(offsets) + 1}Q", len(offsets), *offsets)
        await self.socket.send_bytes(head + b"".join(parts))
        return message_id

    async def run(self, code: str) -> str:
        """What it printed and what it gave, when it has ended."""
        message_id, said = await self.begin(code), ""
        async with asyncio.timeout(SECONDS):
            while True:
                data = await self.socket.receive_bytes()
                (count,) = struct.unpack_from("<Q", data)
                offsets = struct.unpack_from(f"<{count}Q", data, 8)
                _, header, parent, _, content = [
                    data[begin:end] for begin, end in itertools.pairwise(offsets)
                ][:5]
                if json.loads(parent).get("msg_id") != message_id:
                    continue
                kind, told = json.loads(header)["msg_type"], json.loads(content)
                if kind == "stream":
                    said += told["text"]
                elif kind == "execute_result":
                    said += told["data"]["text/plain"]
                elif kind == "error":
                    said += f"{told['ename']}: {told['evalue']}"
                elif kind == "status" and told["execution_state"] == "idle":
                    return said
