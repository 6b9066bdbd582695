"""Links to Jupyters on the nodes of a cluster, each behind its relay (shim/jupyter_relay.py).

The attempt's folder has nothing but the relay's port, and any program of the task may have written
it. The address is that which the cluster names for the attempt's node, and a handshake proves that
the attempt's own relay listens there: so a false or an old port leads to no exchange.
"""

import asyncio
import os
import re
import socket
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path

from fetchml.auth.pinned_certificate import certificate_of
from fetchml.files import untrusted
from fetchml.files.shared_disk import SharedDisk
from fetchml.ports.jupyter import JupyterLink, JupyterPlace

RECORD = "relay"
CONNECT_SECONDS = 10.0
SILENT_SECONDS = 60
"""Time after which a node that may be gone is asked whether it is there."""
GONE_SECONDS = 120
"""Time after which a node that does not answer, or takes nothing, is gone: as long as Jupyter may
take for the next byte of a reply."""
_RECORD_BYTES = 64
_MOST_NAMES = 1_000
_PORT = re.compile(rb"port=([1-9][0-9]{3,4})\n")
LOWEST_PORT, HIGHEST_PORT = 1024, 65535
"""Ports on which programs without privileges can listen."""


class RelayWay:
    """`JupyterWay` to a relay on a node."""

    def __init__(
        self, family: socket.AddressFamily, address: tuple[object, ...], tls: ssl.SSLContext
    ) -> None:
        """`address`: numeric, as `connect` takes it."""
        self.tls: ssl.SSLContext | None = tls
        self._family = family
        self._address = address
        self._is_closed = False

    async def connect(self) -> socket.socket:
        if self._is_closed:
            raise OSError("the link is closed")
        connection = socket.socket(self._family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            _detect_silence(connection)
            async with asyncio.timeout(CONNECT_SECONDS):
                await asyncio.get_running_loop().sock_connect(connection, self._address)
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        self._is_closed = True


class NodeLinks:
    """Opens links to Jupyters on nodes."""

    def __init__(self, address_of: Callable[[str, int], str | None], disk: SharedDisk) -> None:
        """`address_of`: see `Cluster`. `disk`: has the attempts' folders."""
        self._address_of = address_of
        self._disk = disk

    async def open(self, place: JupyterPlace) -> JupyterLink:
        """Raises OSError."""
        address = self._address_of(place.service_id, place.attempt)
        if address is None:
            raise OSError("it is not known on which node it runs")
        port, tls = await self._disk(partial(_prepare, place))
        async with asyncio.timeout(CONNECT_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(
                address, port, type=socket.SOCK_STREAM
            )
        family, _, _, _, numeric = found[0]
        return JupyterLink(place.service_id, place.token, RelayWay(family, numeric, tls))


def read_port(run_folder: Path) -> int:
    """Return the port that the relay has recorded. Raises OSError if there is no port, or one
    that no relay can have."""
    # Else a network disk may remember that the file was absent.
    untrusted.first_names(run_folder, _MOST_NAMES)
    folder = os.open(run_folder, untrusted.FOLDER)
    try:
        record = untrusted.read_regular(folder, RECORD, 0, _RECORD_BYTES)
    finally:
        os.close(folder)
    match = _PORT.fullmatch(record)
    if match is None or not LOWEST_PORT <= int(match[1]) <= HIGHEST_PORT:
        raise OSError("the record of the relay's port is spoilt")
    return int(match[1])


def _prepare(place: JupyterPlace) -> tuple[int, ssl.SSLContext]:
    """Return the port and the context of the handshake. Raises OSError."""
    return read_port(place.run_folder), certificate_of(place.relay_secret).client_context()


def _detect_silence(connection: socket.socket) -> None:
    """Break the connection if the node is gone: its user gets an error, and no page that hangs."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, SILENT_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, SILENT_SECONDS // 4)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GONE_SECONDS * 1000)
