"""`fetchml ui`: the link that signs in."""

import json
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from fetchml.v1 import key_pb2
from tests.support import grpc_world
from tests.support.cli_server import FETCHML, SECONDS, Server, environment
from tests.support.commands import ran


def run(server: Server, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return ran(
        [*FETCHML, "ui", *words],
        env=environment(**server.variables, **variables),
        timeout=2 * SECONDS,
    )


async def signed_in(server: Server, link: str) -> tuple[int, str]:
    """The status and the user that a browser gets with the link."""
    page, _, code = link.strip().partition("#code=")
    origin = page.removesuffix("/ui/")
    headers = {"Origin": origin, "Sec-Fetch-Site": "same-origin"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{page}session", json={"code": code}, headers=headers) as reply,
    ):
        body = await reply.json()
        return reply.status, body.get("user", body.get("error"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "data").start()
    yield made
    made.stop()


async def test_link_signs_in_once(server: Server) -> None:
    done = run(server)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"http://{server.http}/ui/#code=fml_code_")
    assert await signed_in(server, done.stdout) == (201, "admin")
    status, why = await signed_in(server, done.stdout)
    assert (status, "already used" in why) == (401, True)
    assert "fml_code_" not in server.log.replace("fml_[redacted]", "")


@pytest.mark.slow
async def test_link_is_of_the_key_that_asks(server: Server) -> None:
    control = grpc_world.Client(f"unix:{server.data_dir}/control.sock", None)
    request = key_pb2.CreateKeyRequest(name="eve", role=key_pb2.Key.viewer)
    secret = (await control.keys.CreateKey(request)).secret
    await control.channel.close()
    done = run(server, "--json", FETCHML_API_KEY=secret)
    made = json.loads(done.stdout)
    assert made.keys() == {"code", "url", "expires_at"}
    assert await signed_in(server, made["url"]) == (201, "eve")
    assert run(server, FETCHML_API_KEY="fml_wrong").returncode == 4


async def test_open_hides_the_code_from_other_users(server: Server, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$*" >{seen}\n')
    browser.chmod(0o755)
    runtime = tmp_path / "runtime"
    done = run(server, "--open", BROWSER=str(browser), XDG_RUNTIME_DIR=str(runtime))
    assert done.returncode == 0, done.stderr
    file = runtime / "fetchml-link.html"
    assert seen.read_text() == file.as_uri()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert f"url={done.stdout.strip()}" in file.read_text()
    again = run(server, "--open", BROWSER=str(browser), XDG_RUNTIME_DIR=str(runtime))
    assert done.stdout.strip() not in file.read_text()
    assert again.stdout.strip() in file.read_text()
    none = run(server, "--open", BROWSER=str(tmp_path / "none"), XDG_RUNTIME_DIR=str(runtime))
    assert none.stdout.startswith("http"), "the link is printed whatever becomes of the browser"
