"""The engine's HTTP API in the event loop, for all requests about containers.

The address follows the rules of the Docker SDK and command line. Only pulls and `fetchml doctor`
use the SDK. For a short request it needs a thread, a connection and a millisecond of a core, three
times as much as this: with short tasks on two cores, one container in twenty. Its import would take
a fifth of the server's start.
"""

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp

DEFAULT_HOST = "unix:///var/run/docker.sock"
_UNIX = ("unix", "http+unix")
_TCP = ("tcp", "http", "https")


def lenient(context: ssl.SSLContext) -> ssl.SSLContext:
    """Make `context` accept an authority without a `keyUsage` extension, and return it.

    Docker's documentation creates such authorities, which Python rejects from 3.13 on. The
    signature, the dates and the host's name of the certificate are checked as before.
    """
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """One engine's address."""

    base: str
    """Prefix of the URLs of its API."""
    socket: str | None = None
    """The path of its UNIX socket; `None` for TCP."""
    certificates: Path | None = None
    """The folder of `ca.pem`, `cert.pem` and `key.pem`; `None` uses the host's authorities and no
    client certificate."""
    verify: bool = True
    """Whether the engine's certificate is checked."""

    @classmethod
    def find(cls, host: str | None) -> Self:
        """`host` is as in DOCKER_HOST; `None` uses the environment's address, or the local socket.

        Raises ValueError for a malformed address or an unsupported scheme.
        """
        if host is not None:
            return cls._parse(host, None, verify=True)
        verify = bool(os.environ.get("DOCKER_TLS_VERIFY"))
        folder = os.environ.get("DOCKER_CERT_PATH")
        certificates = Path(folder) if folder else Path.home() / ".docker" if verify else None
        return cls._parse(os.environ.get("DOCKER_HOST") or "", certificates, verify=verify)

    @classmethod
    def _parse(cls, host: str, certificates: Path | None, *, verify: bool) -> Self:
        host = host.strip()
        if host in ("", "unix://"):
            host = DEFAULT_HOST
        scheme, separator, rest = host.partition("://")
        if not separator and not host.partition(":")[0].isalpha():
            scheme, rest = "tcp", host
        if scheme in _UNIX:
            return cls("http://docker", socket=rest)
        if scheme not in _TCP:
            raise ValueError(f"unsupported scheme {scheme}: use unix:// or tcp://")
        has_tls = scheme == "https" or (scheme == "tcp" and certificates is not None)
        try:
            parts = urlsplit(f"{'https' if has_tls else 'http'}://{rest}")
            port = parts.port
        except ValueError:
            port = None
        if not port:
            raise ValueError("the address has no port")
        base = parts._replace(netloc=parts.netloc if parts.hostname else f"127.0.0.1:{port}")
        verify = verify or certificates is None
        return cls(base.geturl().rstrip("/"), certificates=certificates, verify=verify)

    def connector(self) -> aiohttp.BaseConnector:
        """Return a connector for one session. Raises OSError for certificates that can't be
        read."""
        if self.socket is not None:
            return aiohttp.UnixConnector(self.socket, limit=0)
        is_encrypted = self.base.startswith("https:")
        return aiohttp.TCPConnector(ssl=self._tls() if is_encrypted else True, limit=0)

    async def open(self, limit: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open one connection, which buffers `limit` bytes. Raises OSError."""
        if self.socket is not None:
            return await asyncio.open_unix_connection(self.socket, limit=limit)
        parts = urlsplit(self.base)
        tls = self._tls() if parts.scheme == "https" else None
        return await asyncio.open_connection(parts.hostname, parts.port, limit=limit, ssl=tls)

    def _tls(self) -> ssl.SSLContext:
        folder = self.certificates
        authority = folder / "ca.pem" if folder and self.verify else None
        context = lenient(ssl.create_default_context(cafile=authority))
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if folder:
            context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        return context


REQUEST_SECONDS = 120
_EVENT_BYTES = 1 << 20
"""Maximum size of an event, which has all labels of the container's image."""
_REASON_BYTES = 4096
_ANY_TIME = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_SECONDS)


class EngineUnavailable(Exception):
    """The engine did not answer; whether it carried out the request is unknown."""


class EngineRefused(Exception):
    """The engine returned an error."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class EngineHttp:
    """Requests to one engine. In the event loop."""

    def __init__(self, address: EngineAddress) -> None:
        """Raises OSError for certificates that can't be read."""
        self._address = address
        self._base = address.base
        self._session = aiohttp.ClientSession(
            connector=address.connector(), timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        )

    async def agree(self) -> str:
        """Use the engine's newest version of the API from now on; return the engine's version.

        Raises EngineUnavailable, EngineRefused.
        """
        version = await self.ask("GET", "/version")
        self._base = f"{self._address.base}/v{version['ApiVersion']}"
        return str(version["Version"])

    async def ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the reply's JSON, `None` if it is empty. Raises EngineUnavailable,
        EngineRefused."""
        async with self._reply(method, path, params=query, json=body) as reply:
            answer = await reply.read()
        return json.loads(answer) if answer else None

    async def read(self, path: str, query: Mapping[str, str], limit: int) -> bytes:
        """Return at most `limit` bytes of an answer that is not JSON. Raises EngineUnavailable,
        EngineRefused."""
        async with self._reply("GET", path, params=query) as reply:
            content = bytearray()
            while len(content) < limit and (more := await reply.content.read(limit - len(content))):
                content += more
            return bytes(content)

    @asynccontextmanager
    async def events(
        self, filters: Mapping[str, Sequence[str]]
    ) -> AsyncIterator[AsyncIterator[Any]]:
        """Yield the engine's events, from the moment of entry on.

        Raises EngineUnavailable, EngineRefused; also while they are read. Leave it before `close`,
        which does not end it.
        """
        query = {"filters": json.dumps(filters)}
        async with self._reply(
            "GET", "/events", params=query, timeout=_ANY_TIME, read_bufsize=_EVENT_BYTES
        ) as reply:
            yield _events(reply)

    async def take_over(
        self, path: str, body: Mapping[str, Any], *, limit: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Post a request after which the connection is the stream of a process. It buffers `limit`
        bytes, and outlives `close`. Raises EngineUnavailable, EngineRefused."""
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                reader, writer = await self._address.open(limit)
                try:
                    await self._upgrade(reader, writer, path, json.dumps(body).encode())
                except BaseException:
                    writer.close()
                    raise
        except (OSError, EOFError, asyncio.LimitOverrunError) as error:
            raise EngineUnavailable from error
        return reader, writer

    async def _upgrade(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, body: bytes
    ) -> None:
        target = urlsplit(self._base + path)
        writer.write(
            f"POST {target.path} HTTP/1.1\r\nHost: {target.netloc}\r\nConnection: Upgrade\r\n"
            "Upgrade: tcp\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head.split(None, 2)[1]) if head.startswith(b"HTTP/1.") else 0
        if status not in (HTTPStatus.SWITCHING_PROTOCOLS, HTTPStatus.OK):
            raise EngineRefused(status, _reason(await reader.read(_REASON_BYTES)))

    async def close(self) -> None:
        """Requests under way, and later ones, raise EngineUnavailable."""
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
            raise EngineUnavailable from error
        except Exception as error:
            # aiohttp has no error class for a closed session; some errors are RuntimeError.
            if not self._session.closed:
                raise
            raise EngineUnavailable from error


async def _events(reply: aiohttp.ClientResponse) -> AsyncIterator[Any]:
    async for line in reply.content:
        yield json.loads(line)


def _reason(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["message"])
    except (ValueError, LookupError, TypeError):
        return answer.decode(errors="replace").strip()
