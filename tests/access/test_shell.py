"""The shell of the page: a WebSocket to a terminal in a task."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType

from fetchml.core.model import Role
from tests.access.conftest import Entered
from tests.support.waiting import SECONDS, wait_until


@asynccontextmanager
async def shell(
    entered: Entered, secret: str, query: str = "", task_id: str = ""
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    url = f"http://{entered.server.http}/v1/tasks/{task_id or entered.task_id}/shell{query}"
    async with aiohttp.ClientSession() as session, asyncio.timeout(SECONDS):
        protocols = ("fetchml.v1", f"fetchml.key.{secret}")
        async with session.ws_connect(url, protocols=protocols) as socket:
            assert socket.protocol == "fetchml.v1"
            yield socket


async def until(socket: aiohttp.ClientWebSocketResponse, text: bytes) -> bytes:
    shown = b""
    while text not in shown:
        message = await socket.receive()
        assert message.type is WSMsgType.BINARY, message
        shown += message.data
    return shown


async def rest(socket: aiohttp.ClientWebSocketResponse) -> list[Any]:
    """The text messages until the end, and the close code."""
    messages = [message async for message in socket]
    texts = [json.loads(each.data) for each in messages if each.type is WSMsgType.TEXT]
    return [*texts, socket.close_code]


async def test_terminal(entered: Entered) -> None:
    async with shell(entered, entered.key("ada").secret, "?rows=33&columns=91") as socket:
        await socket.send_bytes(b"stty size; echo $TERM rea''dy\r")
        assert b"33 91" in await until(socket, b"xterm-256color ready")
        await socket.send_json({"type": "resize", "rows": 40, "columns": 120})
        size = b"until [ \"$(stty size)\" = '40 120' ]; do sleep 0.1; done; echo re''sized\r"
        await socket.send_bytes(size)
        await until(socket, b"resized")
        await socket.send_bytes(b"exit 4\r")
        assert await rest(socket) == [{"type": "exit", "code": 4, "error": ""}, 1000]

    def audited() -> bool:
        entries = entered.server.json("audit", "--target", entered.task_id, "--limit", "1")
        return str(entries["entries"][0]["detail"]).endswith("exit code 4")

    wait_until(audited, "the end is in the audit")


@pytest.mark.parametrize(
    "message",
    [
        "",
        "[",
        "[" * 60_000,
        '{"type": "resize"}',
        '{"type": "resize", "rows": 0, "columns": 80}',
        '{"type": "shown", "bytes": -1}',
    ],
)
async def test_wrong_message_ends_the_session(entered: Entered, message: str) -> None:
    async with shell(entered, entered.key("ada").secret) as socket:
        await socket.send_str(message)
        assert await rest(socket) == [1007]


async def test_output_waits_for_a_page_that_shows_it(entered: Entered) -> None:
    async with shell(entered, entered.key("ada").secret) as socket:
        await socket.send_bytes(b"head -c 4000000 /dev/zero | tr '\\0' x; echo do''ne\r")
        size = 0
        while size < 1 << 20:
            size += len((await socket.receive()).data)
        assert size < (1 << 20) + (64 << 10)
        following = asyncio.create_task(socket.receive())
        for _ in range(20):
            await socket.send_bytes(b" ")  # It hides no message that comes after it.
        assert not (await asyncio.wait([following], timeout=1))[0]
        await socket.send_json({"type": "shown", "bytes": 1 << 20})
        shown = data = (await following).data
        while b"done\r\n" not in shown:
            await socket.send_json({"type": "shown", "bytes": len(data)})
            data = (await socket.receive()).data
            shown = shown[-6:] + data


async def test_input_that_is_not_taken_is_bounded(entered: Entered) -> None:
    async with shell(entered, entered.key("ada").secret) as socket:
        await socket.send_bytes(b"stty raw -echo; echo rea''dy; cat /dev/zero\r")
        await until(socket, b"ready")

        async def send() -> None:
            with suppress(ConnectionError):
                for _ in range(20):
                    await socket.send_bytes(bytes(60_000))

        sending = asyncio.create_task(send())
        assert await rest(socket) == [1013]
        await sending


async def test_long_message_ends_the_session(entered: Entered) -> None:
    async with shell(entered, entered.key("ada").secret) as socket:
        await socket.send_bytes(b"x" * (1 << 20))
        assert await rest(socket) == [1009]


async def test_it_ends_with_the_key(entered: Entered) -> None:
    key = entered.key("ada")
    async with shell(entered, key.secret) as socket:
        await socket.send_bytes(b"echo rea''dy; sleep 4006\r")
        await until(socket, b"ready")
        await asyncio.to_thread(entered.revoke, key.key.id)
        assert await rest(socket) == [1008]
    looks = "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'sleep [4]006'"
    await asyncio.to_thread(
        wait_until, lambda: entered.exec(looks)[1] == "0\n", "the session's processes are gone"
    )


async def test_it_ends_with_the_task(entered: Entered) -> None:
    task_id = await asyncio.to_thread(entered.run, "sleep 3600")
    async with shell(entered, entered.key("ada").secret, task_id=task_id) as socket:
        await socket.send_bytes(b"trap '' HUP TERM; echo rea''dy; sleep 4007\r")
        await until(socket, b"ready")
        await asyncio.to_thread(entered.owner.cancel, task_id)
        assert await rest(socket) == [1013]
    with pytest.raises(aiohttp.WSServerHandshakeError) as error:
        async with shell(entered, entered.key("ada").secret, task_id=task_id):
            pass
    assert error.value.status == 409


@pytest.mark.parametrize(
    ("query", "role", "status"),
    [("", Role.USER, 403), ("", Role.VIEWER, 403), ("?rows=many", Role.ADMIN, 400)],
)
async def test_refusals_come_before_the_handshake(
    entered: Entered, query: str, role: Role, status: int
) -> None:
    secret = entered.key("bob", role).secret
    with pytest.raises(aiohttp.WSServerHandshakeError) as error:
        async with shell(entered, secret, query):
            pass
    assert error.value.status == status
    with pytest.raises(aiohttp.WSServerHandshakeError) as error:
        async with shell(entered, "no-such-key"):
            pass
    assert error.value.status == 401


async def test_size_beyond_the_limit(entered: Entered) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as error:
        async with shell(entered, entered.key("ada").secret, "?rows=1001"):
            pass
    assert error.value.status == 400
