"""Requests to slurmrestd, over connections that are kept."""

import json
from collections.abc import Callable
from typing import Any

import aiohttp

from fetchml.adapters.slurm.transports.rest_replies import reply_of
from fetchml.adapters.slurm.transports.token import Identities
from fetchml.adapters.slurm.transports.transport import CALL_SECONDS, SlurmAway

_MOST_BYTES = 256 << 20
"""Of a reply."""


class Requests:
    def __init__(self, url: str, identities: Identities, *, failed: Callable[[], None]) -> None:
        """`failed` is called when there was no answer at all."""
        self._url = url
        self._identities = identities
        self._failed = failed
        self._session: aiohttp.ClientSession | None = None

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        decode: Callable[[bytes], Any] = json.loads,
        user: str = "",
    ) -> tuple[int, Any]:
        """Return the status and the reply. Raises SlurmAway."""
        headers = self._identities.headers(user)
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=CALL_SECONDS),
                connector=aiohttp.TCPConnector(limit=32),
            )
        try:
            async with self._session.request(
                method, self._url + path, json=body, headers=headers
            ) as response:
                data = bytearray()
                async for part in response.content.iter_any():
                    data += part
                    if len(data) > _MOST_BYTES:
                        raise SlurmAway("slurmrestd's reply is too large")
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._failed()
            reason = str(error) or type(error).__name__
            raise SlurmAway(f"slurmrestd at {self._url} does not answer: {reason}") from error
        return status, reply_of(status, bytes(data), decode)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None
