"""Raw HTTP clients: they send part of a request and read little of the reply."""

import socket
from contextlib import suppress

PUSH_SECONDS = 2


def connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)))


def push(client: socket.socket, data: bytes) -> None:
    """Send what the server takes, for as long as it takes it."""
    client.settimeout(PUSH_SECONDS)
    with suppress(OSError):  # It has closed, or takes no more.
        client.sendall(data)


def status_of(client: socket.socket, seconds: float) -> int:
    """The status of an HTTP reply of which no more than its beginning is read; 0 if the server
    closed the connection, or sent nothing within `seconds`."""
    client.settimeout(seconds)
    try:
        line = client.recv(12)
    except OSError:
        return 0
    return int(line[9:12]) if len(line) == 12 else 0
