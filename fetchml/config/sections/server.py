"""Where the server listens, and how it runs tasks."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from fetchml.config.address import Address
from fetchml.config.proxies import Network
from fetchml.config.sections.types import AtLeastOne, about

MAX_CONNECTIONS = 2000


class ServerSettings(msgspec.Struct, frozen=True):
    """`[server]`"""

    http: Annotated[Address, about("Listen address for REST, `/ws` and Jupyter services.")] = (
        Address("127.0.0.1", 9101)
    )
    grpc: Annotated[Address, about("Listen address for gRPC.")] = Address("127.0.0.1", 9102)
    public_url: Annotated[
        Annotated[str, Meta(pattern=r"^https?://[^\s/?#]+/?$")] | None,
        about(
            "URL at which browsers reach `http`, if it differs from the listen address, for "
            "example behind a proxy: `https://HOST` or `http://HOST:PORT`.",
            default="the listen address, or the host's name if the server listens on all addresses",
        ),
    ] = None
    trusted_proxies: Annotated[
        tuple[Network, ...],
        about(
            "Addresses or networks of trusted reverse proxies. For requests from them, the audit "
            "and the limits for callers without a key use the client address in "
            "`X-Forwarded-For`."
        ),
    ] = ()
    max_connections: Annotated[
        AtLeastOne,
        about(
            "Maximum number of open connections to `http`, and separately to `grpc`. On `http`, "
            "one address may hold a quarter of them; a trusted proxy or this host, three "
            "quarters."
        ),
    ] = MAX_CONNECTIONS
    tls_cert: Annotated[
        Path | None,
        about(
            "PEM file with the certificate for both ports, followed by its intermediate "
            "certificates. Reloaded when it changes.",
            default="none: no TLS",
        ),
    ] = None
    tls_key: Annotated[
        Path | None, about("PEM file with the private key of `tls_cert`.", default="none: no TLS")
    ] = None
    launcher: Annotated[
        Literal["docker", "process", "slurm"],
        about(
            "How tasks run. `docker`: in hardened containers. `process`: as plain child processes "
            "without isolation. `slurm`: as jobs on a Slurm cluster."
        ),
    ] = "docker"
    log_format: Annotated[
        Literal["text", "json"],
        about("Log format on stderr: `text` for people, `json` for programs."),
    ] = "text"
