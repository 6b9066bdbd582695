"""The engine's HTTP API, over its socket and, behind a relay, over TCP with TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
from docker.utils import parse_host
from requests.exceptions import RequestException

from fetchml.adapters.docker.engine_http import (
    EngineAddress,
    EngineHttp,
    EngineRefused,
    EngineUnavailable,
)
from fetchml.adapters.docker.sdk import connect
from testbed.authority import Authority
from testbed.docker_engine import Engine
from tests.support.waiting import SECONDS


@asynccontextmanager
async def asking(host: str | None = None) -> AsyncIterator[EngineHttp]:
    http = EngineHttp(EngineAddress.find(host))
    try:
        yield http
    finally:
        await http.close()


@asynccontextmanager
async def relay(engine: Engine, folder: Path, authority: Authority) -> AsyncIterator[int]:
    """A port where the engine answers over TLS whom the authority vouches for."""
    socket = engine.host.removeprefix("unix://")
    authority.issue(folder / "server.pem", folder / "server.key")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.file))
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # Docker's own check is not strict.

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def both_ways(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        engine_reader, engine_writer = await asyncio.open_unix_connection(socket)
        await asyncio.gather(pipe(reader, engine_writer), pipe(engine_reader, writer))

    async with await asyncio.start_server(both_ways, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


def certificates(folder: Path, *, of: Authority, trusting: Authority) -> Path:
    """A folder for DOCKER_CERT_PATH."""
    folder.mkdir()
    of.issue(folder / "cert.pem", folder / "key.pem")
    (folder / "ca.pem").write_bytes(trusting.file.read_bytes())
    return folder


async def test_an_answer_and_a_refusal(docker_engine: Engine) -> None:
    async with asking(docker_engine.host) as http:
        version = docker_engine.client.version()
        assert await http.agree() == version["Version"]
        assert await http.ask("GET", "/version") == version
        with pytest.raises(EngineRefused, match="No such container: nowhere") as error:
            await http.ask("GET", "/containers/nowhere/json")
        assert error.value.status == 404


async def test_engine_that_does_not_answer(tmp_path: Path) -> None:
    async with asking(f"unix://{tmp_path}/socket") as http:
        with pytest.raises(EngineUnavailable):
            await http.ask("GET", "/version")


async def test_request_after_close_raises(docker_engine: Engine) -> None:
    """The engine went away between two requests of who still has this."""
    async with asking(docker_engine.host) as http:
        assert await http.ask("GET", "/version")
        await http.close()
        with pytest.raises(EngineUnavailable):
            await http.ask("GET", "/version")


async def test_closing_ends_what_is_under_way(tmp_path: Path) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def be_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        asked.set()
        await reader.read()
        writer.close()
        await writer.wait_closed()
        gone.set()

    async with (
        await asyncio.start_unix_server(be_silent, tmp_path / "socket"),
        asking(f"unix://{tmp_path}/socket") as http,
        asyncio.timeout(SECONDS),
    ):
        waiting = asyncio.create_task(http.ask("GET", "/version"))
        await asked.wait()
        await http.close()
        with pytest.raises(EngineUnavailable):
            await waiting
        await gone.wait()


@pytest.mark.parametrize("key_usage", [True, False])
async def test_over_tls(
    docker_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key_usage: bool
) -> None:
    ours = Authority(tmp_path / "ours", key_usage=key_usage)
    another = Authority(tmp_path / "another")
    async with relay(docker_engine, tmp_path, ours) as port:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{port}")
        monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
        for name, of, trusting, is_right in (
            ("right", ours, ours, True),
            ("not known there", another, ours, False),
            ("not trusted here", ours, another, False),
        ):
            folder = certificates(tmp_path / name, of=of, trusting=trusting)
            monkeypatch.setenv("DOCKER_CERT_PATH", str(folder))
            async with asking() as http:
                sdk = partial(asyncio.to_thread, connect, 5)
                if is_right:
                    assert (await http.ask("GET", "/version"))["Version"]
                    (await sdk()).close()
                else:
                    with pytest.raises(RequestException):
                        await sdk()
                    with pytest.raises(EngineUnavailable):
                        await http.ask("GET", "/version")


@pytest.mark.parametrize(
    ("host", "variables", "base", "socket"),
    [
        ("", {}, "http://docker", "/var/run/docker.sock"),
        ("unix:///run/user/1/docker.sock", {}, "http://docker", "/run/user/1/docker.sock"),
        ("http+unix:///run/d.sock", {}, "http://docker", "/run/d.sock"),
        ("tcp://box:2375", {}, "http://box:2375", None),
        ("127.0.0.1:2375", {}, "http://127.0.0.1:2375", None),
        ("tcp://:2375", {}, "http://127.0.0.1:2375", None),
        ("tcp://[::1]:2375/below/", {}, "http://[::1]:2375/below", None),
        ("https://box:2376", {}, "https://box:2376", None),
        ("tcp://box:2376", {"DOCKER_TLS_VERIFY": "1"}, "https://box:2376", None),
        ("tcp://box:2376", {"DOCKER_CERT_PATH": "/c"}, "https://box:2376", None),
        ("http://box:2376", {"DOCKER_CERT_PATH": "/c"}, "http://box:2376", None),
    ],
)
def test_addresses_are_read_as_the_sdk_reads_them(
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    variables: dict[str, str],
    base: str,
    socket: str | None,
) -> None:
    for name in ("DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"DOCKER_HOST": host, **variables}.items():
        monkeypatch.setenv(name, value)
    address = EngineAddress.find(None)
    assert (address.base, address.socket) == (base, socket)
    assert address.verify == ("DOCKER_CERT_PATH" not in variables)
    seen = parse_host(host, tls=bool(variables))
    assert seen == (f"http+unix://{socket}" if socket else base)


@pytest.mark.parametrize(
    "host", ["ssh://box", "npipe:////./pipe/docker", "box:1", "tcp://box", "tcp://a:b"]
)
def test_addresses_that_can_t_be_used(host: str) -> None:
    with pytest.raises(ValueError, match=r"has no port|unsupported scheme"):
        EngineAddress.find(host)
