"""Hostile Jupyter servers and hostile visitors, before a real server.

The hostile Jupyter runs as a plain process, and in a container.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from fetchml.api.http import connection
from fetchml.api.proxy import visitors
from testbed.docker_engine import Engine
from tests.jupyter.service import Service
from tests.support.jupyter_image import jupyter_image
from tests.support.program import ADMIN_KEY, Backend, Server
from tests.support.server_fixtures import containers_of
from tests.support.waiting import SECONDS

HOSTILE = Path(__file__).with_name("hostile_jupyter.py")
NAME = "fetchml-test/hostile-jupyter:1"
EXCHANGE_BYTES = visitors.EXCHANGE_BYTES + connection.CONNECTION_BYTES
"""Most memory of a request with its connection, whose buffers count apart (`ops.bounds`). Uploads
that Jupyter does not read took 0.57 to 0.82 MB each: the more, the more of the pieces were full."""
HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Authorization: token {token}\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


@pytest.fixture(scope="module")
def image(docker_engine: Engine, python_image: str) -> Iterator[str]:
    with jupyter_image(docker_engine, python_image, HOSTILE, NAME) as made:
        yield made


@pytest.fixture
def processes() -> Backend:
    command = f"{sys.executable} {HOSTILE}"
    return Backend({"FETCHML_LAUNCHER": "process", "FETCHML_JUPYTER_COMMAND": command}, lambda: ())


@pytest.fixture
def containers(docker_engine: Engine, image: str) -> Backend:
    return containers_of(docker_engine, image)


@pytest.fixture(params=["processes", pytest.param("containers", marks=pytest.mark.docker)])
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Server]:
    backend: Backend = request.getfixturevalue(request.param)
    server = Server(tmp_path / "data", backend, FETCHML_TASKS_GRACE_SECONDS="1")
    await server.start()
    yield server
    await server.close()


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


@pytest.mark.slow
async def test_unread_websocket_messages_use_bounded_memory(server: Server) -> None:
    service = await Service.running(server, image=NAME)
    await service.json("GET", "/sent")
    before = server.memory
    writers = []
    for _ in range(15):
        _, writer = await connect(server)
        head = HANDSHAKE.format(path=f"{service.base}/api/kernels/1/channels", token=service.token)
        writer.write(head.encode())
        writers.append(writer)
    sent = await standstill(service)
    assert sent > 0, "they have begun"
    grown = server.memory - before
    assert grown < 32 << 20
    for writer in writers:
        writer.transport.abort()


@pytest.mark.slow
@pytest.mark.parametrize("server", ["processes"], indirect=True)
async def test_slow_logins_do_not_block_the_owner(server: Server) -> None:
    service = await Service.running(server, image=NAME)
    before = server.memory
    slow = []
    for _ in range(200):
        reader, writer = await connect(server)
        writer.write(
            f"POST {service.base}/login HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\na".encode()
        )
        slow.append((reader, writer))
    statuses = Counter[bytes]()
    # Most are refused at once: what is left waits for its body.
    most = len(slow) - visitors.ANONYMOUS_BY_ADDRESS
    answers = [asyncio.ensure_future(reader.read(12)) for reader, _ in slow]
    async with asyncio.timeout(SECONDS):
        while statuses.total() < most:
            await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
            done = [each for each in answers if each.done()]
            answers = [each for each in answers if each not in done]
            statuses.update(each.result() for each in done)
        assert statuses == {b"HTTP/1.1 429": most}
        async with service.ask("GET", "/lab") as reply:
            assert reply.status == 200, "the owner is not in their way"
        assert server.memory - before < 32 << 20
        for each in answers:
            assert await each == b"HTTP/1.1 408", "a slow body ends"
    for _, writer in slow:
        writer.transport.abort()


@pytest.mark.slow
@pytest.mark.parametrize("server", ["processes"], indirect=True)
async def test_unread_jupyter_replies_use_bounded_memory(server: Server) -> None:
    service = await Service.running(server, image=NAME)
    await service.json("GET", "/sent")
    before = server.memory
    writers = []
    for _ in range(100):
        _, writer = await connect(server)
        head = f"GET {service.base}/endless?token={service.token} HTTP/1.1\r\nHost: x\r\n\r\n"
        writer.write(head.encode())
        writers.append(writer)
    assert await standstill(service) > 0
    assert server.memory - before < len(writers) * EXCHANGE_BYTES
    for writer in writers:
        writer.transport.abort()


@pytest.mark.slow
@pytest.mark.parametrize("server", ["processes"], indirect=True)
async def test_uploads_unread_by_jupyter_use_bounded_memory(server: Server) -> None:
    service = await Service.running(server, image=NAME)
    before = server.memory
    taken = 0

    async def send(writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        head = f"PUT {service.base}/deaf?token={service.token} HTTP/1.1\r\nHost: x\r\n"
        writer.write(f"{head}Content-Length: {1 << 40}\r\n\r\n".encode())
        while True:
            writer.write(bytes(1 << 16))
            await writer.drain()
            taken += 1 << 16

    writers = [(await connect(server))[1] for _ in range(100)]
    sending = [asyncio.create_task(send(writer)) for writer in writers]
    last = -1
    while last != taken:
        last = taken
        await asyncio.sleep(0.5)
    assert server.memory - before < len(writers) * EXCHANGE_BYTES
    for task, writer in zip(sending, writers, strict=True):
        task.cancel()
        writer.transport.abort()
    await asyncio.gather(*sending, return_exceptions=True)


@pytest.mark.parametrize("server", ["processes"], indirect=True)
async def test_connections_above_the_limit_are_refused(server: Server) -> None:
    service = await Service.running(server, image=NAME)
    more = 20
    held = [await connect(server) for _ in range(visitors.OPEN_BY_SERVICE + more)]
    for _, writer in held:
        head = f"GET {service.base}/silent?token={service.token} HTTP/1.1\r\nHost: x\r\n\r\n"
        writer.write(head.encode())
    answers = {asyncio.ensure_future(reader.read(12)) for reader, _ in held}
    async with asyncio.timeout(SECONDS):
        while len(answers) > visitors.OPEN_BY_SERVICE:
            done, answers = await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
            assert {each.result() for each in done} == {b"HTTP/1.1 503"}
    assert (await server.rest.get("/health")).status == 200
    for _, writer in held:
        writer.transport.abort()
    await asyncio.gather(*answers, return_exceptions=True)
    async with asyncio.timeout(SECONDS):
        while True:
            async with service.ask("GET", "/sent") as reply:
                if reply.status == 200:
                    break


async def test_jupyter_sees_no_credentials_and_sets_only_its_own_cookies(server: Server) -> None:
    """Nothing that opens anything else on this host, and nothing for others."""
    service = await Service.running(server, image=NAME)
    secrets = {
        "X-API-Key": ADMIN_KEY,
        "Cookie": "session=secret; _xsrf=1",
        "X-Forwarded-For": "secret",
        "Referer": f"http://{server.http_address}/jupyter/other/lab?token=secret",
    }
    url = service.url(f"/x?token={service.token}")
    async with server.rest.session.get(url, headers=secrets) as reply:
        assert reply.status == 200
    [lines] = await service.json("GET", "/seen")
    assert "Cookie: _xsrf=1" in lines
    assert not [line for line in lines if "secret" in line or ADMIN_KEY in line]
    async with service.ask("GET", "/cookies") as reply:
        assert [value.partition(";")[0] for value in reply.headers.getall("Set-Cookie")] == [
            "_xsrf=1"
        ]


@pytest.mark.slow
async def test_socket_swapped_for_a_link_reaches_nothing_on_the_host(
    server: Server, tmp_path: Path
) -> None:
    """As with the Docker engine's socket, a server that starts later opens what it finds there."""
    reached = asyncio.Event()
    service = await Service.running(server, image=NAME)
    host = tmp_path / "host.sock"
    listening = await asyncio.start_unix_server(lambda *_: reached.set(), host)
    host.chmod(0o777)
    async with listening:
        await service.json("GET", f"/swap?token={service.token}&to={host}")
        async with service.ask("GET", "/sent") as reply:
            assert reply.status == 200, "the server has the socket that was there"
        await server.kill_and_start()
        # It has looked at the first one's socket before it starts another.
        other = await Service.running(server, image=NAME)
        async with service.ask("GET", "/sent") as reply:
            assert reply.status == 503
        for each in (service, other):
            await each.stop()
            await each.ended("stopped")
    assert not reached.is_set()
