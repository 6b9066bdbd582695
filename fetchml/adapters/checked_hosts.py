"""Connections to hosts that users name, only at permitted addresses.

A name is resolved once for each request; its addresses are checked, and the connection goes to
one of those, so that no second answer of a name server can lead elsewhere.
"""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from fetchml.core.addresses import AddressRules, is_allowed_as_written

NAME_THREADS = 64
"""A name server that does not answer occupies a thread as long as the system's resolver waits. The
event loop's own look-ups would share two threads."""


class NameNotFound(Exception):
    """The name has no permitted address, or the name server does not respond. Both produce the
    same message, so that users cannot probe the names of a private network."""


class HostRefused(Exception):
    """The host is an address that is not permitted, or a name of this host."""


class CheckedHosts:
    def __init__(self, rules: AddressRules, purpose: str, seconds: float) -> None:
        """`purpose` names the threads. `seconds`: time for one look-up."""
        self._rules = rules
        self._seconds = seconds
        self._names = ThreadPoolExecutor(NAME_THREADS, f"{purpose}-names")

    async def addresses(self, host: str, port: int) -> list[ResolveResult]:
        """Return the permitted addresses of a host. Raises NameNotFound, HostRefused."""
        if not is_allowed_as_written(host, self._rules):
            raise HostRefused(host)

        def look_up() -> list[tuple[Any, ...]]:
            return [*socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]

        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._seconds):
                resolved = await loop.run_in_executor(self._names, look_up)
        except (OSError, UnicodeError) as error:  # TimeoutError is an OSError
            raise NameNotFound(_not_found(host)) from error
        allowed = [
            ResolveResult(
                hostname=host,
                host=str(where[0]),
                port=port,
                family=family,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for family, _, protocol, _, where in resolved
            if self._rules.allow(host, str(where[0]))
        ]
        if not allowed:
            raise NameNotFound(_not_found(host))
        return allowed


def _not_found(host: str) -> str:
    return f"{host} has no allowed address"


def pinned(addresses: list[ResolveResult]) -> aiohttp.TCPConnector:
    """Return a connector that connects to these addresses only."""
    return aiohttp.TCPConnector(resolver=_Pinned(addresses), use_dns_cache=False, force_close=True)


class _Pinned(AbstractResolver):
    def __init__(self, addresses: list[ResolveResult]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return self._addresses

    async def close(self) -> None: ...
