"""Datasets over HTTP: only from permitted hosts, also after redirects.

`adapters.checked_hosts` checks the addresses. Sizes and ranges are of the bytes as they come:
nothing is decompressed.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
from aiohttp.abc import ResolveResult
from yarl import URL

from fetchml.adapters.checked_hosts import CheckedHosts, HostRefused, NameNotFound, pinned
from fetchml.core.addresses import AddressRules
from fetchml.ports.launcher import PrepareError
from fetchml.ports.origin import ContentVersion, Download, Interrupted

MAX_REDIRECTS = 5
STALL_SECONDS = 30.0
CONNECTING = 3
"""Time from the first connection attempt to the end of the response's head, in stall times."""
_BUFFER_BYTES = 256 << 10
"""Unread bytes are lost if the connection breaks, and are requested again."""
_CHUNK_BYTES = 4 << 20
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAY_PASS = frozenset({408, 421, 425, 429})
_MARK = re.compile(r"[ -~]{1,1024}")
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)")


class HttpOrigin:
    """`Origin` of http and https."""

    def __init__(
        self,
        rules: AddressRules,
        schemes: frozenset[str],
        *,
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        """`schemes` are the permitted ones, also for redirects."""
        self._schemes = schemes
        self._stall_seconds = stall_seconds
        self._hosts = CheckedHosts(rules, "dataset", stall_seconds)

    @asynccontextmanager
    async def read(
        self, url: str, *, offset: int = 0, version: ContentVersion | None = None
    ) -> AsyncIterator[Download | None]:
        headers = _headers(offset, version)
        at = _parsed(url)
        async with AsyncExitStack() as stack:
            for _ in range(MAX_REDIRECTS + 1):
                response = await self._get(stack, at, headers)
                if response.status not in _REDIRECTS:
                    yield _reading(response, offset, version)
                    return
                target = response.headers.get("Location", "")
                at = _parsed(target, at)
                await stack.aclose()
        raise PrepareError(f"redirect limit ({MAX_REDIRECTS}) reached", permanent=True)

    async def _get(
        self, stack: AsyncExitStack, url: URL, headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        host = url.host
        if url.scheme not in self._schemes or not host:
            message = f"redirect to {url.scheme}://, which the server does not allow"
            raise PrepareError(message, permanent=True)
        addresses = await self._addresses(host, url.port or 0)
        try:
            session = await stack.enter_async_context(self._session(addresses))
            # For the whole head: one that arrives byte by byte would never stall.
            async with asyncio.timeout(CONNECTING * self._stall_seconds):
                return await stack.enter_async_context(
                    session.get(url, headers=headers, allow_redirects=False)
                )
        except aiohttp.ClientConnectorCertificateError as error:
            reason = error.certificate_error
            raise PrepareError(
                f"TLS verification of {host} failed: {reason}", permanent=True
            ) from error
        except aiohttp.InvalidURL as error:
            raise PrepareError("invalid URL", permanent=True) from error
        except TimeoutError as error:
            raise Interrupted(f"no response from {host}") from error
        except aiohttp.ClientConnectorError as error:
            why = error.os_error.strerror or "no connection"
            raise Interrupted(f"cannot reach {host}: {why}") from error
        except aiohttp.ClientError as error:  # Its text may hold the URL, which may grant access.
            raise Interrupted(f"invalid HTTP response from {host}") from error

    async def _addresses(self, host: str, port: int) -> list[ResolveResult]:
        try:
            return await self._hosts.addresses(host, port)
        except NameNotFound as error:
            raise Interrupted(str(error)) from error
        except HostRefused as error:
            message = (
                f"{host} has a private or local address, which the server does not contact "
                "([datasets] allow_private, allow_hosts)"
            )
            raise PrepareError(message, permanent=True) from error

    def _session(self, addresses: list[ResolveResult]) -> aiohttp.ClientSession:
        stall = self._stall_seconds
        return aiohttp.ClientSession(
            connector=pinned(addresses),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=stall, sock_read=stall),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            read_bufsize=_BUFFER_BYTES,
        )


def _parsed(text: str, at: URL | None = None) -> URL:
    """Parse a URL; `at` is the URL that redirected to it. Raises PrepareError."""
    try:
        url = URL(text, encoded=text.isascii())
        url = url if at is None else at.join(url)
        _ = url.port, url.host  # These raise for a malformed URL.
    except ValueError as error:
        reason = "invalid URL" if at is None else "redirect to an invalid URL"
        raise PrepareError(reason, permanent=True) from error
    return url


def _headers(offset: int, version: ContentVersion | None) -> dict[str, str]:
    headers = {"Accept-Encoding": "identity", "User-Agent": "fetchml"}
    if version is None:
        return headers
    if not offset:
        if version.etag:
            headers["If-None-Match"] = version.etag
        if version.last_modified:
            headers["If-Modified-Since"] = version.last_modified
        return headers
    # A weak tag means "equivalent", which is not enough for a part.
    strong = version.etag if version.etag and not version.etag.startswith("W/") else None
    if mark := strong or (None if version.etag else version.last_modified):
        headers |= {"Range": f"bytes={offset}-", "If-Range": mark}
    return headers


def _reading(
    response: aiohttp.ClientResponse, offset: int, version: ContentVersion | None
) -> Download | None:
    status = response.status
    now = _version(response)
    if status == 200:
        return Download(0, response.content_length, now, _chunks(response))
    if status == 304 and version is not None and not offset:
        return None
    if status == 206 and offset:
        part = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if part is None or int(part[1]) != offset:
            raise Interrupted("unexpected Content-Range", anew=True)
        if now is not None and version is not None and now.etag not in (None, version.etag):
            raise Interrupted("it changed during the download", anew=True)
        length = None if part[2] == "*" else int(part[2])
        return Download(offset, length, version, _chunks(response))
    if status == 416:
        raise Interrupted("truncated: shorter than its Content-Length", anew=True)
    message = f"{response.url.host} returned {status} {(response.reason or '')[:100]}".rstrip()
    if status >= 500 or status in _MAY_PASS:
        raise Interrupted(message)
    raise PrepareError(message, permanent=True)


def _version(response: aiohttp.ClientResponse) -> ContentVersion | None:
    """Return the version; `None` if it is malformed, or can't be stored and sent back."""
    marks = (response.headers.get("ETag"), response.headers.get("Last-Modified"))
    etag, last_modified = (mark if mark and _MARK.fullmatch(mark) else None for mark in marks)
    return ContentVersion(etag, last_modified) if etag or last_modified else None


async def _chunks(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            yield chunk
    except TimeoutError as error:
        raise Interrupted("timed out: no data received") from error
    except aiohttp.ClientError as error:
        raise Interrupted("connection lost") from error
