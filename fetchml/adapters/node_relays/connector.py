"""Connections to relays on the nodes of a cluster (shim/node_relay.py).

An attempt's folder has nothing but its relay's port, and any program of the task may have written
it. The address is that which the cluster names for the attempt's node, and a handshake proves that
the attempt's own relay listens there: so a false or an old port leads to no exchange.
"""

import asyncio
import os
import re
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path

from fetchml.files import untrusted

CONNECT_SECONDS = 10.0
SILENT_SECONDS = 60
"""Idle time before the first TCP keep-alive probe."""
GONE_SECONDS = 120
"""Time after which a node that does not answer, or takes nothing, is gone: as long as a program may
take for the next byte of a reply."""
_RECORD_BYTES = 200
_MOST_NAMES = 1_000
_PORT = re.compile(r"[1-9][0-9]{3,4}")
LOWEST_PORT, HIGHEST_PORT = 1024, 65535
"""Ports on which programs without privileges can listen."""


class RelayConnector:
    """`JupyterConnector` to a relay on a node."""

    def __init__(
        self, family: socket.AddressFamily, address: tuple[object, ...], tls: ssl.SSLContext | None
    ) -> None:
        """`address`: numeric, as `connect` takes it. `tls`: see `JupyterConnector`."""
        self.tls = tls
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


async def connector_to(address: str, port: int, tls: ssl.SSLContext | None) -> RelayConnector:
    """`address`: host name or IP address of the node. Raises OSError."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            resolved = await asyncio.get_running_loop().getaddrinfo(
                address, port, type=socket.SOCK_STREAM
            )
    except UnicodeError:
        raise OSError(f"invalid address of the node: {address[:100]!r} (NodeAddr)") from None
    family, _, _, _, numeric = resolved[0]
    return RelayConnector(family, numeric, tls)


def reason_of(error: OSError) -> str:
    """Return the operating system's reason why a node cannot be reached."""
    if error.errno and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error) or "no answer"


def read_record(run_folder: Path, name: str) -> Mapping[str, str]:
    """Return the `key=value` lines of a relay's record. Raises OSError if there is none, or no
    regular file."""
    # Else a network disk may remember that the file was absent.
    untrusted.first_names(run_folder, _MOST_NAMES)
    folder = os.open(run_folder, untrusted.FOLDER)
    try:
        record = untrusted.read_regular(folder, name, 0, _RECORD_BYTES)
    finally:
        os.close(folder)
    *lines, end = record.decode(errors="replace").split("\n")
    fields = {key: value for key, _, value in (line.partition("=") for line in lines)}
    if end or len(record) == _RECORD_BYTES or len(fields) < len(lines):
        raise corrupt_record()
    return fields


def port_in(record: Mapping[str, str]) -> int:
    """Raises OSError if there is no port, or one that no relay can have."""
    port = record.get("port", "")
    if not _PORT.fullmatch(port) or not LOWEST_PORT <= int(port) <= HIGHEST_PORT:
        raise corrupt_record()
    return int(port)


def corrupt_record() -> OSError:
    return OSError("the record of the relay's port is invalid")


def _detect_silence(connection: socket.socket) -> None:
    """Break the connection if the node is gone: its user gets an error, and no page that hangs."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, SILENT_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, SILENT_SECONDS // 4)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GONE_SECONDS * 1000)
