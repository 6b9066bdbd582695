"""Which server, with which key, over TLS or not."""

import os
import re
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

import grpc

from fetchml.client.errors import BadKey, SetupError

DEFAULT_SERVER = "127.0.0.1:9102"
CONTROL = "unix:"
"""Before the path of the control socket, which only this machine's owner may use."""

CHANNEL_OPTIONS = (
    # A quiet stream whose server vanished without a word ends after a minute.
    ("grpc.keepalive_time_ms", 40_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.max_receive_message_length", -1),
    # A proxy for the web is not one for a training machine.
    ("grpc.enable_http_proxy", 0),
    # This client decides what is tried again.
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)

Metadata = tuple[tuple[str, str], ...]


class Endpoint(NamedTuple):
    """Where to connect, and what to show there."""

    server: str
    """As it was given, for people."""
    address: str
    credentials: grpc.ChannelCredentials | None
    """None: no TLS."""
    metadata: Metadata


def find_endpoint(server: str | None, key: str | None, tls_ca: str | Path | None) -> Endpoint:
    """What is None comes from FETCHML_SERVER, FETCHML_API_KEY and FETCHML_TLS_CA. Raises
    SetupError."""
    server = os.environ.get("FETCHML_SERVER") or DEFAULT_SERVER if server is None else server
    key = os.environ.get("FETCHML_API_KEY", "").strip() if key is None else key
    if key and not (key.isascii() and key.isprintable()):
        raise BadKey(
            "The API key has characters that no key has",
            "Look at FETCHML_API_KEY: did a line break or a quote get into it?",
        )
    with_tls, address = split_address(server)
    metadata = (("x-api-key", key),) if key else ()
    return Endpoint(server, address, _credentials(tls_ca) if with_tls else None, metadata)


def split_address(server: str) -> tuple[bool, str]:
    """Whether TLS is wanted (`https://HOST:PORT`), and HOST:PORT, or `unix:PATH`. Raises
    SetupError."""
    if server.startswith(CONTROL):
        return False, server
    scheme, separator, address = server.strip().rpartition("://")
    address = address.removesuffix("/")
    if not address or "/" in address or (separator and scheme not in {"http", "https"}):
        raise SetupError(
            f"{server!r} is no address of a server",
            "Give HOST:PORT, or https://HOST:PORT for a server with TLS.",
        )
    return scheme == "https", address


def is_here(server: str) -> bool:
    """Whether the server's address is a loopback one. Raises SetupError if it is none at all."""
    named = re.fullmatch(r"(?:\[(.+)\]|([^:]+))(?::[0-9]+)?", split_address(server)[1])
    host = (named[1] or named[2]) if named else ""
    try:
        return host.lower() == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def port_of(server: str) -> int | None:
    """The port in a server's address; `None` if there is none in it. Raises SetupError."""
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
        raise SetupError(f"{named}: {file} holds no certificate in PEM")
    return grpc.ssl_channel_credentials(roots)
