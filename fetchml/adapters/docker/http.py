"""The engine's HTTP API in the event loop, for what is asked for every container.

The Docker SDK is left with pulls. For a short request it takes a thread, a connection and a
millisecond of a core, three times what this takes: with short tasks on two cores, that is one
container in twenty. And its import would be a fifth of the server's start.
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import aiohttp

from fetchml.adapters.docker.address import EngineAddress

REQUEST_SECONDS = 120
_EVENT_BYTES = 1 << 20
"""The longest event that is read. It carries all labels of the container's image."""
_ANY_TIME = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_SECONDS)


class EngineAway(Exception):
    """The engine did not answer; whether it did what was asked is unknown."""


class EngineRefused(Exception):
    """The engine's answer is an error."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class EngineHttp:
    """Requests to one engine. In the event loop."""

    def __init__(self, address: EngineAddress) -> None:
        """Raises OSError for certificates that can't be read."""
        self._address = self._base = address.base
        self._session = aiohttp.ClientSession(
            connector=address.connector(), timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        )

    async def agree(self) -> str:
        """Speak the engine's newest version of the API from now on; return the engine's version.

        Raises EngineAway, EngineRefused.
        """
        found = await self.ask("GET", "/version")
        self._base = f"{self._address}/v{found['ApiVersion']}"
        return str(found["Version"])

    async def ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Any:
        """The answer's JSON, None where it is empty. Raises EngineAway, EngineRefused."""
        async with self._reply(method, path, params=query, json=body) as reply:
            answer = await reply.read()
        return json.loads(answer) if answer else None

    @asynccontextmanager
    async def events(
        self, filters: Mapping[str, Sequence[str]]
    ) -> AsyncIterator[AsyncIterator[Any]]:
        """The engine's events from the moment on at which this is entered.

        Raises EngineAway, EngineRefused; also while they are read. To be left before `close`, which
        does not end it.
        """
        query = {"filters": json.dumps(filters)}
        async with self._reply(
            "GET", "/events", params=query, timeout=_ANY_TIME, read_bufsize=_EVENT_BYTES
        ) as reply:
            yield _events(reply)

    async def close(self) -> None:
        """Requests under way, and later ones, raise EngineAway."""
        await self._session.close()

    @asynccontextmanager
    async def _reply(
        self, method: str, path: str, **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            async with self._session.request(method, self._base + path, **options) as reply:
                if reply.status >= HTTPStatus.BAD_REQUEST:
                    raise EngineRefused(reply.status, _reason(await reply.read()))
                yield reply
        except EngineRefused:
            raise
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise EngineAway from error
        except Exception as error:
            # aiohttp has no error of its own for a session that was closed: some are RuntimeError.
            if not self._session.closed:
                raise
            raise EngineAway from error


async def _events(reply: aiohttp.ClientResponse) -> AsyncIterator[Any]:
    async for line in reply.content:
        yield json.loads(line)


def _reason(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["message"])
    except (ValueError, LookupError, TypeError):
        return answer.decode(errors="replace").strip()
