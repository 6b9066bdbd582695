"""Connections to one running Jupyter, through the socket on which it listens.

That socket is in a folder that its container may fill with anything: see `task_sockets`.
"""

import socket
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
from aiohttp.client_proto import ResponseHandler

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
"""Of a reply that are buffered, beside what one read returns."""


def open_link(run_folder: Path, service_id: str, token: str) -> JupyterLink:
    """Raises OSError if there is no socket (yet), or another kind of file in its place."""
    return JupyterLink(pin_socket(run_folder, SOCKET), service_id, token)


async def connect(link: JupyterLink) -> socket.socket:
    """Open a connection. Raises OSError."""
    return await task_sockets.connect(link.socket_path)


def http_session(link: JupyterLink, *, answer_seconds: float) -> aiohttp.ClientSession:
    """Return a client that reaches only this Jupyter, whatever the URL names: see
    `socket_session`."""
    return socket_session(partial(connect, link), answer_seconds=answer_seconds)


def socket_session(connect: Connect, *, answer_seconds: float) -> aiohttp.ClientSession:
    """Return a client whose every request goes through `connect`, whatever the URL names.

    It keeps no cookies and decompresses nothing. Each request has a connection of its own, so that
    no rest of one reply is taken for the next. `answer_seconds`: longest wait for the next byte of
    a reply.
    """
    return aiohttp.ClientSession(
        connector=_SocketConnector(connect),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        timeout=aiohttp.ClientTimeout(total=None, sock_read=answer_seconds),
        read_bufsize=READ_BYTES,
    )


class _SocketConnector(aiohttp.BaseConnector):
    def __init__(self, connect: Connect) -> None:
        super().__init__(force_close=True, limit=0)
        self._connect_socket = connect

    async def _create_connection(
        self,
        req: "ClientRequest",
        traces: list["Trace"],
        timeout: "ClientTimeout",  # noqa: ASYNC109 - aiohttp's own signature
    ) -> ResponseHandler:
        connection = None
        try:
            connection = await self._connect_socket()
            _, protocol = await self._loop.create_unix_connection(self._factory, sock=connection)
        except OSError as error:
            if connection is not None:
                connection.close()
            raise aiohttp.ClientConnectorError(req.connection_key, error) from error
        return protocol
