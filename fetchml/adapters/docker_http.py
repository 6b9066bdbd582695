"""The engine's HTTP API in the event loop, for what is asked for every container.

The SDK finds the engine, agrees on the API's version, follows events and pulls images. For a short
request it takes a thread, a connection and a millisecond of a core, three times what this takes:
with short tasks on two cores, that is one container in twenty.
"""

import json
import ssl
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import aiohttp
import docker
from docker.transport.unixconn import UnixHTTPAdapter

from fetchml.adapters.docker_client import lenient

REQUEST_SECONDS = 120


class EngineAway(Exception):
    """The engine did not answer; whether it did what was asked is unknown."""


class EngineRefused(Exception):
    """The engine's answer is an error."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class EngineHttp:
    """Requests to the engine that `client` talks to, by the same way. In the event loop."""

    def __init__(self, client: docker.APIClient) -> None:
        adapter = client.get_adapter(client.base_url)
        connector: aiohttp.BaseConnector
        if isinstance(adapter, UnixHTTPAdapter):
            base = "http://docker"
            connector = aiohttp.UnixConnector(adapter.socket_path, limit=0)
        else:
            base = client.base_url
            connector = aiohttp.TCPConnector(ssl=_tls(client), limit=0)
        self._base = f"{base}/v{client.api_version}"
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        )

    async def ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Any:
        """The answer's JSON, None where it is empty. Raises EngineAway, EngineRefused."""
        try:
            async with self._session.request(
                method, self._base + path, params=query, json=body
            ) as reply:
                answer = await reply.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise EngineAway from error
        except Exception as error:
            # aiohttp has no error of its own for a session that was closed: some are RuntimeError.
            if not self._session.closed:
                raise
            raise EngineAway from error
        if reply.status >= HTTPStatus.BAD_REQUEST:
            raise EngineRefused(reply.status, _reason(answer))
        return json.loads(answer) if answer else None

    async def close(self) -> None:
        """Requests under way, and later ones, raise EngineAway."""
        await self._session.close()


def _tls(client: docker.APIClient) -> ssl.SSLContext:
    """What the SDK has read of certificates, as Python's own TLS wants it."""
    authority = client.verify if isinstance(client.verify, str) else None
    context = lenient(ssl.create_default_context(cafile=authority))
    if client.verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if isinstance(client.cert, tuple):
        context.load_cert_chain(*client.cert)
    return context


def _reason(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["message"])
    except (ValueError, LookupError, TypeError):
        return answer.decode(errors="replace").strip()
