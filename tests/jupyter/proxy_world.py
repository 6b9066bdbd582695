"""The real HTTP server in front of stand-ins for Jupyter, each on a UNIX socket."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from fetchml.adapters.jupyter.link import SOCKET, open_link
from fetchml.api.rest.server import HttpServer, HttpTimeouts
from fetchml.api.services import ApiServices
from fetchml.auth.admission import Admission
from fetchml.auth.audit import Audit
from fetchml.auth.keyring import Keyring
from fetchml.auth.limits import RateLimiter
from fetchml.config.address import Address
from fetchml.core.jupyter import ServiceStatus
from fetchml.core.model import Role
from fetchml.jupyter.origin import JupyterOrigins
from fetchml.ports.jupyter import JupyterLink
from fetchml.system.clock import Clock
from fetchml.views import JupyterState, VisitorPolicy
from tests.support import front
from tests.support.memory_store import MemoryStore
from tests.support.waiting import SECONDS, until_true

ID = "0198c0de-0000-7000-8000-000000000001"
OTHER = "0198c0de-0000-7000-8000-000000000002"
BASE = f"/jupyter/{ID}"
TOKEN = "a-token-of-jupyter"
LINK = f"{BASE}/x?token={TOKEN}"

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
RawHandler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class StubServices:
    def __init__(self, origins: JupyterOrigins, *, private: bool) -> None:
        self.origins = origins
        self.private = private
        self.links: dict[str, JupyterLink] = {}
        self.states: dict[str, JupyterState] = {}
        self.used: list[str] = []
        self.states_read = 0

    def link(self, service_id: str) -> JupyterLink | None:
        return self.links.get(service_id)

    def visitor_policy(self, service_id: str) -> VisitorPolicy:
        token = TOKEN if service_id in self.states else "nobody's"
        return VisitorPolicy("ada", token, self.private)

    def note_use(self, service_id: str) -> None:
        self.used.append(service_id)

    def state(self, service_id: str) -> JupyterState | None:
        self.states_read += 1
        return self.states.get(service_id)


@dataclass
class World:
    services: StubServices
    server: HttpServer
    port: int
    session: aiohttp.ClientSession
    secret: str
    """A user's key."""
    folder: Path
    stack: AsyncExitStack

    def url(self, path: str) -> URL:
        """The path is sent as it is."""
        return URL(f"http://127.0.0.1:{self.port}{path}", encoded=True)

    def ask(self, method: str, path: str, **options: Any) -> Any:
        return self.session.request(method, self.url(path), allow_redirects=False, **options)

    def get(self, path: str = f"{BASE}/x", **options: Any) -> Any:
        return self.ask("GET", path, **options)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def raw(self, data: bytes) -> bytes:
        """All that comes back until the server closes."""
        reader, writer = await self.connect()
        try:
            writer.write(data)
            async with asyncio.timeout(SECONDS):
                return await reader.read()
        finally:
            writer.close()

    async def jupyter(self, handler: Handler, service_id: str = ID) -> None:
        """One that answers as the handler does."""
        runner = web.ServerRunner(
            web.Server(handler, access_log=None, handler_cancellation=True), shutdown_timeout=0.1
        )
        await runner.setup()
        self.stack.push_async_callback(runner.cleanup)
        folder = self._folder(service_id)
        await web.UnixSite(runner, str(folder / SOCKET)).start()
        self._opens(service_id)

    async def hostile(self, handler: RawHandler, service_id: str = ID) -> None:
        """One that answers with any bytes."""
        folder = self._folder(service_id)
        server = await asyncio.start_unix_server(_closing(handler), folder / SOCKET)
        self.stack.callback(server.close)
        self._opens(service_id)

    async def replies(self, reply: bytes, service_id: str = ID) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(reply)
            await writer.drain()

        await self.hostile(answer, service_id)

    async def until_idle(self) -> None:
        """No WebSocket is open."""
        await until_true(lambda: not len(self.server._streams))

    def _folder(self, service_id: str) -> Path:
        folder = self.folder / service_id[-2:]
        folder.mkdir()
        return folder

    def _opens(self, service_id: str) -> None:
        link = open_link(self.folder / service_id[-2:], service_id, TOKEN)
        self.stack.callback(link.close)
        self.services.links[service_id] = link
        self.services.states[service_id] = JupyterState(ServiceStatus.RUNNING, "", None)


def _closing(handler: RawHandler) -> RawHandler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # The proxy has left.
        finally:
            writer.close()

    return handle


@asynccontextmanager
async def proxy_world(
    folder: Path,
    timeouts: HttpTimeouts | None = None,
    limiter: RateLimiter | None = None,
    *,
    domain: str | None = None,
    loopback: bool = False,
    second: bool = False,
    private: bool = False,
) -> AsyncIterator[World]:
    sockets = Address("127.0.0.1", front.http_port()).bind()
    listens = sockets[0].getsockname()[1]
    port = int(front.seen(f"127.0.0.1:{listens}").rpartition(":")[2])
    more = Address("127.0.0.1", 0).bind() if second else []
    own_port = more[0].getsockname()[1] if more else None
    public_url = f"http://127.0.0.1:{port}"
    origins = JupyterOrigins(public_url, domain, port=own_port, loopback=loopback)
    services: Any = StubServices(origins, private=private)
    store: Any = MemoryStore()
    ids = iter(range(100))
    keyring = Keyring(
        store, clock_ms=lambda: time.time_ns() // 1_000_000, new_id=lambda: f"key-{next(ids)}"
    )
    _, secret = await keyring.create("ada", Role.USER)
    admission = Admission(keyring, time.monotonic, limiter=limiter)
    audit = Audit(store, clock_ms=Clock())
    unused = dict.fromkeys((field.name for field in fields(ApiServices)), Mock())
    api = ApiServices(**{**unused, "jupyter": services, "admission": admission, "audit": audit})
    server = HttpServer(api, timeouts)
    await server.start([*sockets, *more])
    async with AsyncExitStack() as stack:
        stack.push_async_callback(server.stop, "the test is over")
        session = aiohttp.ClientSession(
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=SECONDS),
            headers={"Authorization": f"token {TOKEN}"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        stack.push_async_callback(session.close)
        yield World(services, server, port, session, secret, folder, stack)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with proxy_world(tmp_path) as made:
        yield made


async def echo(request: web.BaseRequest) -> web.Response:
    """Reply with the request line and the headers."""
    lines = [f"{request.method} {request.raw_path}"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    return web.Response(text="\n".join(lines))
