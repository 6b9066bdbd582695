"""Queries a Jupyter, on this host or behind its relay on a node: whether it serves, and when it was
last used.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import aiohttp
import msgspec
from yarl import URL

from fetchml.adapters.jupyter.link import http_session, open_link
from fetchml.adapters.node_relays.connector import (
    connector_to,
    corrupt_record,
    port_in,
    read_record,
)
from fetchml.auth.pinned_certificate import certificate_of
from fetchml.core.jupyter import Activity
from fetchml.files.shared_disk import SharedDisk
from fetchml.ports.jupyter import JupyterEndpoint, JupyterLink, JupyterSilent

RECORD = "relay"


class NodeLinks:
    """Opens links to Jupyters on nodes."""

    def __init__(self, address_of: Callable[[str, int], str | None], disk: SharedDisk) -> None:
        """`address_of`: see `Cluster`. `disk`: has the attempts' folders."""
        self._address_of = address_of
        self._disk = disk

    async def open(self, endpoint: JupyterEndpoint) -> JupyterLink:
        """Raises OSError."""
        address = self._address_of(endpoint.service_id, endpoint.attempt)
        if address is None:
            raise OSError("its node is unknown")
        port, tls = await self._disk(partial(_prepare, endpoint))
        return JupyterLink(
            endpoint.service_id, endpoint.token, await connector_to(address, port, tls)
        )


def read_port(run_folder: Path) -> int:
    """Return the port that the relay has recorded. Raises OSError if there is no port, or one
    that no relay can have."""
    record = read_record(run_folder, RECORD)
    if record.keys() != {"port"}:
        raise corrupt_record()
    return port_in(record)


def _prepare(endpoint: JupyterEndpoint) -> tuple[int, ssl.SSLContext]:
    """Return the port and the context of the handshake. Raises OSError."""
    return read_port(endpoint.run_folder), certificate_of(endpoint.relay_secret).client_context()


Open = Callable[[JupyterEndpoint], Awaitable[JupyterLink]]
"""Opens a link; raises OSError."""

ANSWER_SECONDS = 10.0
"""For a whole answer."""
MAX_ANSWER_BYTES = 1 << 20
MAX_LISTED = 10_000


class _Listed(msgspec.Struct):
    """A kernel or a terminal."""

    last_activity: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    execution_state: str = ""


async def open_here(endpoint: JupyterEndpoint) -> JupyterLink:
    """Open a link to a Jupyter of this host. Raises OSError."""
    return open_link(endpoint.run_folder, endpoint.service_id, endpoint.token)


class HttpJupyterClient:
    """`JupyterClient` over Jupyter's own HTTP API."""

    def __init__(
        self, answer_seconds: float = ANSWER_SECONDS, *, open_there: Open = open_here
    ) -> None:
        """`open_there`: decides where Jupyters listen."""
        self._seconds = answer_seconds
        self._open = open_there

    async def open_link(self, endpoint: JupyterEndpoint) -> JupyterLink:
        return await self._open(endpoint)

    async def answers(self, link: JupyterLink) -> bool:
        try:
            status, _ = await self._get(link, "api/status")
        except JupyterSilent:
            return False
        return status == 200

    async def activity(self, link: JupyterLink) -> Activity:
        kernels = await self._list(link, "api/kernels")
        terminals = await self._list(link, "api/terminals", may_be_missing=True)
        times = [one.last_activity for one in (*kernels, *terminals) if one.last_activity]
        busy = any(kernel.execution_state == "busy" for kernel in kernels)
        return Activity(busy, max(map(_milliseconds, times), default=None))

    async def _list(
        self, link: JupyterLink, path: str, *, may_be_missing: bool = False
    ) -> list[_Listed]:
        status, body = await self._get(link, path)
        if status == 404 and may_be_missing:
            return []  # An image may leave terminals out.
        if status != 200:
            raise JupyterSilent(f"{path} returned {status}")
        try:
            return msgspec.json.decode(body, type=list[_Listed])[:MAX_LISTED]
        except (ValueError, RecursionError) as error:
            raise JupyterSilent(f"unexpected response at {path}; is this Jupyter?") from error

    async def _get(self, link: JupyterLink, path: str) -> tuple[int, bytes]:
        """The status and the body of the answer."""
        url = URL(f"http://jupyter{link.base_path}{path}", encoded=True)
        headers = {"Authorization": f"token {link.token}", "Accept": "application/json"}
        try:
            async with (
                asyncio.timeout(self._seconds),
                http_session(link, answer_seconds=self._seconds) as session,
                session.get(url, headers=headers, allow_redirects=False) as answer,
            ):
                return answer.status, await _read(answer)
        except (aiohttp.ClientError, ValueError, OSError) as error:  # TimeoutError is an OSError
            raise JupyterSilent(f"no response at {path}") from error


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    while piece := await answer.content.readany():
        body += piece
        if len(body) > MAX_ANSWER_BYTES:
            raise ValueError("response too large")
    return bytes(body)


def _milliseconds(at: datetime) -> int:
    """Without a zone it counts as UTC: for the first and the last day no local time exists."""
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
