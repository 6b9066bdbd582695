"""Connections to one running Jupyter, through the socket on which it listens.

That socket is in a folder that its container may fill with anything. The name in the folder is
looked up once and no link is followed; whatever takes the name's place later is never connected
to.
"""

import asyncio
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
from aiohttp.client_proto import ResponseHandler

from fetchml.ports.jupyter import JupyterLink

if TYPE_CHECKING:
    from aiohttp import ClientTimeout
    from aiohttp.client_reqrep import ClientRequest
    from aiohttp.tracing import Trace

SOCKET = "jupyter.sock"
"""Its name in the run folder of an attempt."""
READ_BYTES = 32 << 10
"""Of a reply that are buffered, beside what one read returns."""
_CONNECT_TRIES = 20
_CONNECT_PAUSE_SECONDS = 0.05
"""Between tries while the listener's backlog is full."""


def open_link(run_folder: Path, service_id: str, token: str) -> JupyterLink:
    """Raises OSError if there is no socket (yet), or another kind of file in its place."""
    with _folder(run_folder) as folder:
        fd = os.open(SOCKET, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    if not stat.S_ISSOCK(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(f"{SOCKET} is no socket")
    return JupyterLink(fd, service_id, token)


async def connect(link: JupyterLink) -> socket.socket:
    """Open a connection. Raises OSError."""
    for _ in range(_CONNECT_TRIES):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            connection.connect(link.socket_path)
        except BlockingIOError:
            connection.close()
            await asyncio.sleep(_CONNECT_PAUSE_SECONDS)
        except OSError:
            connection.close()
            raise
        else:
            return connection
    raise TimeoutError("it accepts no connection")


def http_session(link: JupyterLink, *, answer_seconds: float) -> aiohttp.ClientSession:
    """Return a client that reaches only this Jupyter, whatever the URL names.

    It keeps no cookies and decompresses nothing. Each request has a connection of its own, so that
    no rest of one reply is taken for the next. `answer_seconds`: longest wait for the next byte of
    a reply.
    """
    return aiohttp.ClientSession(
        connector=_LinkConnector(link),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        timeout=aiohttp.ClientTimeout(total=None, sock_read=answer_seconds),
        read_bufsize=READ_BYTES,
    )


class _LinkConnector(aiohttp.BaseConnector):
    def __init__(self, link: JupyterLink) -> None:
        super().__init__(force_close=True, limit=0)
        self._link = link

    async def _create_connection(
        self,
        req: "ClientRequest",
        traces: list["Trace"],
        timeout: "ClientTimeout",  # noqa: ASYNC109 - aiohttp's own signature
    ) -> ResponseHandler:
        connection = None
        try:
            connection = await connect(self._link)
            _, protocol = await self._loop.create_unix_connection(self._factory, sock=connection)
        except OSError as error:
            if connection is not None:
                connection.close()
            raise aiohttp.ClientConnectorError(req.connection_key, error) from error
        return protocol


@contextmanager
def _folder(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
