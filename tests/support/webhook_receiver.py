"""A receiver of webhooks that takes them, fails, redirects or hangs, as a test asks."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
from aiohttp import web

from tests.support.waiting import SECONDS

HANG = 0


class Webhook(NamedTuple):
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def is_signed_with(self, secret: str) -> bool:
        """Computed from the text of the Standard Webhooks specification, not with our code."""
        key = base64.b64decode(secret.removeprefix("whsec_"))
        content = b".".join(
            [self.id.encode(), self.headers["webhook-timestamp"].encode(), self.body]
        )
        wanted = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
        return f"v1,{wanted}" in self.headers["webhook-signature"].split(" ")


class Receiver:
    def __init__(self) -> None:
        self.status = 200
        """Of each answer; `HANG`: there is none."""
        self.location = ""
        self.got: list[Webhook] = []
        self._came = asyncio.Condition()
        self._over = asyncio.Event()
        self.url = ""

    async def until(self, number: int) -> list[Webhook]:
        """Wait for so many webhooks in all."""
        async with asyncio.timeout(SECONDS), self._came:
            await self._came.wait_for(lambda: len(self.got) >= number)
        return self.got

    async def _take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        async with self._came:
            self.got.append(Webhook(headers, await request.read()))
            self._came.notify_all()
        if self.status == HANG:
            await self._over.wait()
        location = {"Location": self.location} if self.location else {}
        return web.Response(status=self.status or 200, headers=location, body=b"x" * 100_000)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Receiver"]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._take)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook?token=secret"
        try:
            yield self
        finally:
            self._over.set()
            await runner.cleanup()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver().listening() as found:
        yield found
