"""TLS on both ports of a real server, with real clients, while its certificate is replaced."""

import asyncio
import http.client
import ssl
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from testbed.authority import Authority
from tests.support.cli_server import Server, run
from tests.support.waiting import SECONDS


class World:
    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder / "authority")
        self.certificate, self.key = folder / "cert.pem", folder / "key.pem"
        self.authority.issue(self.certificate, self.key)
        self.server = Server(
            folder / "data",
            FETCHML_TLS_CERT=str(self.certificate),
            FETCHML_TLS_KEY=str(self.key),
        ).start()
        self.http, self.grpc = (
            int(address.rpartition(":")[2]) for address in (self.server.http, self.server.grpc)
        )
        self.client = {
            # With its own key, the command line uses the port and not the control socket.
            "FETCHML_API_KEY": (self.server.data_dir / "admin.key").read_text().strip(),
            "FETCHML_SERVER": f"https://localhost:{self.grpc}",
            "FETCHML_TLS_CA": str(self.authority.file),
        }
        self.trusting = ssl.create_default_context(cafile=self.authority.file)

    def served(self, port: int) -> str:
        return ssl.get_server_certificate(("127.0.0.1", port), timeout=SECONDS)

    def is_served(self) -> bool:
        """Return whether both ports present the certificate in the file."""
        expected = self.certificate.read_text()
        return self.served(self.http) == self.served(self.grpc) == expected


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    assert made.server.stop() == 0


async def health(world: World, session: aiohttp.ClientSession, host: str) -> str:
    url = f"https://{host}:{world.http}/health"
    async with session.get(url, ssl=world.trusting) as reply:
        return str((await reply.json())["status"])


async def test_both_ports_while_the_certificate_is_replaced(world: World) -> None:
    secret = (world.server.data_dir / "admin.key").read_text().strip()
    url = f"wss://127.0.0.1:{world.http}/ws"
    assert await asyncio.to_thread(world.is_served)
    async with aiohttp.ClientSession() as session:
        # By name and by address: for an address, clients send no server name.
        assert await health(world, session, "localhost") == "healthy"
        assert await health(world, session, "127.0.0.1") == "healthy"
        async with session.ws_connect(
            url, ssl=world.trusting, headers={"X-API-Key": secret}
        ) as socket:
            await asyncio.to_thread(world.authority.issue, world.certificate, world.key)
            assert await asyncio.to_thread(world.is_served)
            submit = await asyncio.to_thread(
                world.server.run, "submit", "--wait", "--", "true", **world.client
            )
            assert submit.code == 0, submit.err
            # Open connections continue.
            message = await socket.receive_json(timeout=SECONDS)
            assert message["type"] == "task_update"
    assert "keys travel unencrypted" not in world.server.log


def test_clients_with_the_wrong_protocol_or_authority(world: World, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other")
    for variables in (
        {**world.client, "FETCHML_TLS_CA": str(other.file)},
        {**world.client, "FETCHML_TLS_CA": ""},
        {**world.client, "FETCHML_SERVER": f"localhost:{world.grpc}"},
    ):
        assert "FETCHML_TLS_CA" in world.server.run("queue", **variables).failed(3)
    plain = http.client.HTTPConnection("127.0.0.1", world.http, timeout=SECONDS)
    plain.request("GET", "/health")
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        plain.getresponse()
    plain.close()
    context = ssl.create_default_context(cafile=world.authority.file)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    tls = http.client.HTTPSConnection("127.0.0.1", world.http, context=context, timeout=SECONDS)
    tls.request("GET", "/health")
    assert tls.getresponse().status == 200
    tls.close()
    assert "Traceback" not in world.server.log


@pytest.mark.parametrize(
    ("server", "ca", "said"),
    [
        ("ftp://localhost:1", "", "is not a server address"),
        ("https://localhost:1/x", "", "is not a server address"),
        ("https://", "", "is not a server address"),
        ("https://localhost:1", "/nothing", "FETCHML_TLS_CA: cannot read /nothing"),
        ("https://localhost:1", "/dev/null", "contains no PEM certificate"),
    ],
)
def test_wrong_addresses_and_authorities_are_refused(server: str, ca: str, said: str) -> None:
    assert said in run("queue", FETCHML_SERVER=server, FETCHML_TLS_CA=ca).failed(2)


def test_a_server_that_cannot_use_its_certificate_does_not_start(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    authority.issue(certificate, key)
    serve = ("serve", "--data-dir", str(tmp_path / "data"), "--launcher", "process")
    ports = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
    lone = run(*serve, *ports, FETCHML_TLS_CERT=str(certificate))
    assert "set both [server] tls_cert and tls_key, or neither" in lone.err
    key.unlink()
    missing = run(*serve, *ports, FETCHML_TLS_CERT=str(certificate), FETCHML_TLS_KEY=str(key))
    assert f"{key}: cannot read it" in missing.err
    assert lone.code == missing.code == 1
