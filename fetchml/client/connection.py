"""The server to connect to: its address, the API key, TLS."""

import os
import re
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

import grpc

from fetchml.client.errors import BadKey, SetupError

DEFAULT_SERVER = "127.0.0.1:9102"
CONTROL = "unix:"
"""The prefix of a control socket's path. Only the data directory's owner can use that socket."""

CHANNEL_OPTIONS = (
    # Detect within a minute that the server of a quiet stream has vanished.
    ("grpc.keepalive_time_ms", 40_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.max_receive_message_length", -1),
    # Else a connection is found by its address alone, and the control sockets of two servers may
    # have the same one in turn (/proc/self/fd/N).
    ("grpc.use_local_subchannel_pool", 1),
    # The proxy of http_proxy is for the web, not for a training machine.
    ("grpc.enable_http_proxy", 0),
    # rpc.py decides about retries.
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)

Metadata = tuple[tuple[str, str], ...]


class Endpoint(NamedTuple):
    """A server's address and the credentials for it."""

    server: str
    """The address as it was given, for messages."""
    address: str
    credentials: grpc.ChannelCredentials | None
    """`None` without TLS."""
    metadata: Metadata


def find_endpoint(server: str | None, key: str | None, tls_ca: str | Path | None) -> Endpoint:
    """Return the endpoint of a client. An argument that is `None` is taken from FETCHML_SERVER,
    FETCHML_API_KEY or FETCHML_TLS_CA. Raises SetupError."""
    server = os.environ.get("FETCHML_SERVER") or DEFAULT_SERVER if server is None else server
    key = os.environ.get("FETCHML_API_KEY", "").strip() if key is None else key
    if key and not (key.isascii() and key.isprintable()):
        raise BadKey(
            "Invalid character in the API key",
            "Check FETCHML_API_KEY for a line break or a quote.",
        )
    with_tls, address = split_address(server)
    metadata = (("x-api-key", key),) if key else ()
    return Endpoint(server, address, _credentials(tls_ca) if with_tls else None, metadata)


def split_address(server: str) -> tuple[bool, str]:
    """Return whether an address specifies TLS (`https://HOST:PORT`), and its HOST:PORT, or
    `unix:PATH`. Raises SetupError."""
    if server.startswith(CONTROL):
        return False, server
    scheme, separator, address = server.strip().rpartition("://")
    address = address.removesuffix("/")
    if not address or "/" in address or (separator and scheme not in {"http", "https"}):
        raise SetupError(
            f"{server!r} is not a server address",
            "Give HOST:PORT, or https://HOST:PORT for TLS.",
        )
    return scheme == "https", address


def is_here(server: str) -> bool:
    """Return whether an address is a loopback one. Raises SetupError if it is not an address."""
    named = re.fullmatch(r"(?:\[(.+)\]|([^:]+))(?::[0-9]+)?", split_address(server)[1])
    host = (named[1] or named[2]) if named else ""
    try:
        return host.lower() == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def port_of(server: str) -> int | None:
    """Return the port of an address; `None` if it has none. Raises SetupError."""
    port = split_address(server)[1].rpartition(":")[2]
    return int(port) if port.isascii() and port.isdigit() else None


def _credentials(tls_ca: str | Path | None) -> grpc.ChannelCredentials:
    file = os.environ.get("FETCHML_TLS_CA") if tls_ca is None else str(tls_ca)
    if not file:
        return grpc.ssl_channel_credentials()
    named = "FETCHML_TLS_CA" if tls_ca is None else "tls_ca"
    try:
        roots = Path(file).read_bytes()
    except OSError as error:
        raise SetupError(f"{named}: cannot read {file}: {error.strerror}") from error
    if b"-----BEGIN CERTIFICATE-----" not in roots:
        raise SetupError(f"{named}: {file} contains no PEM certificate")
    return grpc.ssl_channel_credentials(roots)
