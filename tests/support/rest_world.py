"""A REST server on a real socket, with a stub engine and real keys, and a client of it that holds
every reply to the superset."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import aiohttp
import msgspec
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from fetchml.api.rest.server import HttpServer, HttpTimeouts
from fetchml.auth.admission import Admission
from fetchml.auth.keyring import Keyring
from fetchml.auth.limits import RateLimiter
from fetchml.config.address import Address
from fetchml.config.proxies import Proxies
from fetchml.core.model import Role
from fetchml.jupyter.jupyter_service import JupyterOptions
from tests.support import front
from tests.support.grpc_world import api_services, keys_of_every_role
from tests.support.memory_engine import MemoryEngine, memory_engine
from tests.support.memory_store import MemoryStore
from tests.support.stub_gpus import GpuBox, gpu_box
from tests.support.stub_services import OPTIONS, StubServiceTasks, services_on
from tests.support.validate import check_error, check_reply
from tests.support.waiting import SECONDS

JSON = {"Content-Type": "application/json"}


@dataclass
class Reply:
    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def code(self) -> str:
        """The message of an error reply."""
        return str(self.json["code"])

    @property
    def error(self) -> str:
        return str(self.json["error"])


@dataclass
class Client:
    session: aiohttp.ClientSession
    base: str
    secret: str | None
    headers: dict[str, str] = field(default_factory=dict)

    async def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        """`path` is sent unchanged. Underscores in header names stand for hyphens."""
        async with self.session.request(
            method, self.url(path), data=body, headers=self.with_key(headers)
        ) as response:
            reply = Reply(response.status, response.headers, await response.read())
        if method in ("HEAD", "OPTIONS"):
            assert reply.body == b""
        else:
            check_reply(
                method,
                unquote(path.partition("?")[0]),
                reply.status,
                reply.headers.get("Content-Type", ""),
                reply.body,
                full="view=full" in path.lower() or "page_size=" in path,
            )
        return reply

    async def get(self, path: str, **headers: str) -> Reply:
        return await self.ask("GET", path, None, **headers)

    async def submit(
        self, request: object = None, path: str = "/v1/tasks", **headers: str
    ) -> Reply:
        body = msgspec.json.encode({"job_name": "a"} if request is None else request)
        return await self.ask("POST", path, body, **{**JSON, **headers})

    def open(self, path: str) -> Any:
        """Get a path. The reply can be read in pieces: `async with`, or `await`."""
        return self.session.get(self.url(path), headers=self.with_key({}))

    def url(self, path: str) -> URL:
        return URL(self.base + path, encoded=True)

    def with_key(self, headers: Mapping[str, str]) -> dict[str, str]:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return {**({"X-API-Key": self.secret} if self.secret else {}), **given}


@dataclass
class World:
    engine: MemoryEngine
    server: HttpServer
    keyring: Keyring
    store: MemoryStore
    port: int
    secrets: dict[Role, str]
    client: Client
    """Of a user."""
    services: StubServiceTasks
    box: GpuBox

    def as_(self, secret: str | None) -> Client:
        return Client(self.client.session, self.client.base, secret)

    async def new_task(self) -> str:
        """Submit a task, and return its id."""
        return str((await self.client.submit()).json["id"])

    async def raw(self, data: bytes) -> Reply:
        """Send bytes and return what is received until the reply ends or the server closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            return await read_reply(reader)
        finally:
            writer.close()


async def read_reply(reader: asyncio.StreamReader) -> Reply:
    """Parse one error reply from the wire."""
    async with asyncio.timeout(SECONDS):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
        first, *lines = head.rstrip().split("\r\n")
        headers = CIMultiDict[str]()  # proxies write names in small letters
        for line in lines:
            name, _, value = line.partition(": ")
            headers.add(name, value)
        body = await reader.readexactly(int(headers["Content-Length"]))
    check_error(body)
    assert headers["Content-Type"] == "application/json"
    return Reply(int(first.split()[1]), CIMultiDictProxy(headers), body)


def client_session() -> aiohttp.ClientSession:
    """Cookies are sent as a test gives them, and not kept."""
    jar = aiohttp.DummyCookieJar()
    return aiohttp.ClientSession(skip_auto_headers=("Content-Type",), cookie_jar=jar)


@asynccontextmanager
async def rest_world(
    limiter: RateLimiter | None = None,
    timeouts: HttpTimeouts | None = None,
    proxies: Proxies | None = None,
    jupyter_options: JupyterOptions = OPTIONS,
    **streams: int,
) -> AsyncIterator[World]:
    """`streams`: the limits of `Admission`."""
    async with (
        memory_engine() as engine,
        services_on(engine, jupyter_options) as (jupyter, services),
        client_session() as session,
    ):
        parts, store = engine.parts, engine.store
        keyring, secrets = await keys_of_every_role(store)
        admission = Admission(keyring, time.monotonic, limiter=limiter, proxies=proxies, **streams)
        box = await gpu_box(store, parts.audit)
        api = api_services(engine, jupyter, box.gpus, admission, keyring)
        server = HttpServer(api, timeouts)
        sockets = Address("127.0.0.1", front.http_port()).bind()
        await server.start(sockets)
        listens = sockets[0].getsockname()[1]
        port = int(front.seen(f"127.0.0.1:{listens}").rpartition(":")[2])
        try:
            client = Client(session, f"http://127.0.0.1:{port}", secrets[Role.USER])
            yield World(engine, server, keyring, store, port, secrets, client, services, box)
        finally:
            await server.stop("the test is over")
