"""Connections to one running Jupyter, through the socket on which it listens.

On this host that socket is in a folder that its container may fill with anything: see
`task_sockets`. On a node of a cluster it is behind a relay: see `nodes`.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection as AiohttpConnection

from fetchml.files import task_sockets
from fetchml.files.task_sockets import pin_socket
from fetchml.ports.jupyter import JupyterLink

if TYPE_CHECKING:
    from aiohttp import ClientTimeout
    from aiohttp.client_reqrep import ClientRequest
    from aiohttp.tracing import Trace

Connect = Callable[[], Awaitable[socket.socket]]
"""Opens a connection; raises OSError."""
SOCKET = "jupyter.sock"
"""Its name in the run folder of an attempt."""
READ_BYTES = 32 << 10
"""Bytes of a reply to buffer, in addition to those of one read."""
HANDSHAKE_SECONDS = 10.0
_NOBODY = "fetchml"
"""The name that goes into a handshake, where something must."""


class PinnedSocket:
    """`JupyterConnector` to a socket of this host."""

    tls: ssl.SSLContext | None = None

    def __init__(self, fd: int) -> None:
        """`fd`: of the socket's name, opened with O_PATH, which this owns from now on."""
        self._fd: int | None = fd

    async def connect(self) -> socket.socket:
        if self._fd is None:
            raise OSError("the link is closed")
        return await task_sockets.connect(f"/proc/self/fd/{self._fd}")

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def open_link(run_folder: Path, service_id: str, token: str) -> JupyterLink:
    """Raises OSError if there is no socket (yet), or another kind of file in its place."""
    return JupyterLink(service_id, token, PinnedSocket(pin_socket(run_folder, SOCKET)))


def http_session(link: JupyterLink, *, answer_seconds: float) -> aiohttp.ClientSession:
    """Return a client that reaches only this Jupyter, whatever the URL names: see
    `socket_session`."""
    connector = link.connector
    return socket_session(connector.connect, answer_seconds=answer_seconds, tls=connector.tls)


def socket_session(
    connect: Connect, *, answer_seconds: float, tls: ssl.SSLContext | None = None
) -> aiohttp.ClientSession:
    """Return a client whose every request goes through `connect`, whatever the URL names.

    It keeps no cookies and decompresses nothing. Each request has its own connection, so that the
    rest of one reply is never read as the next. `answer_seconds`: longest wait for the next byte of
    a reply. `tls`: the context of a handshake that comes before each; `None` without one.
    """
    return aiohttp.ClientSession(
        connector=_SocketConnector(connect, tls),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        timeout=aiohttp.ClientTimeout(total=None, sock_read=answer_seconds),
        read_bufsize=READ_BYTES,
    )


class _SocketConnector(aiohttp.BaseConnector):
    """Opens a connection for each request. It implements only `connect`: the base class keeps
    and counts connections for reuse."""

    def __init__(self, connect: Connect, tls: ssl.SSLContext | None) -> None:
        super().__init__(force_close=True, limit=0)
        self._connect_socket = connect
        self._tls = tls

    async def connect(
        self,
        req: "ClientRequest",
        traces: list["Trace"],
        timeout: "ClientTimeout",  # noqa: ASYNC109 - aiohttp's own signature
    ) -> AiohttpConnection:
        loop = asyncio.get_running_loop()
        connection = None
        try:
            connection = await self._connect_socket()
            if self._tls is None:
                _, protocol = await loop.create_unix_connection(
                    lambda: ResponseHandler(loop=loop), sock=connection
                )
            else:
                _, protocol = await loop.create_connection(
                    lambda: ResponseHandler(loop=loop),
                    sock=connection,
                    ssl=self._tls,
                    server_hostname=_NOBODY,
                    ssl_handshake_timeout=HANDSHAKE_SECONDS,
                )
        except OSError as error:
            if connection is not None:
                connection.close()
            raise aiohttp.ClientConnectorError(req.connection_key, error) from error
        return AiohttpConnection(self, req.connection_key, protocol, loop)
