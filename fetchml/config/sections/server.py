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

    http: Annotated[Address, about("Address of REST, `/ws` and Jupyter services.")] = Address(
        "127.0.0.1", 9101
    )
    grpc: Annotated[Address, about("Address of gRPC.")] = Address("127.0.0.1", 9102)
    public_url: Annotated[
        Annotated[str, Meta(pattern=r"^https?://[^\s/?#]+/?$")] | None,
        about(
            "URL at which browsers reach `http` if it is not the address itself, as behind a "
            "proxy: `https://HOST` or `http://HOST:PORT`.",
            default="the address itself, or the host's name if that is every address",
        ),
    ] = None
    trusted_proxies: Annotated[
        tuple[Network, ...],
        about(
            "Addresses or networks of proxies in front of this server. The audit, and the limits "
            "on callers without a key, take the client's address from their X-Forwarded-For."
        ),
    ] = ()
    max_connections: Annotated[
        AtLeastOne,
        about(
            "Most open connections to `http`, and as many to `grpc`. One address may hold a "
            "fourth of each; a trusted proxy, and this host itself, three fourths."
        ),
    ] = MAX_CONNECTIONS
    tls_cert: Annotated[
        Path | None,
        about(
            "Certificate of both ports, in PEM, followed by the intermediate certificates. Loaded "
            "again when it changes.",
            default="none: no TLS",
        ),
    ] = None
    tls_key: Annotated[
        Path | None, about("Private key of `tls_cert`, in PEM.", default="none: no TLS")
    ] = None
    launcher: Annotated[
        Literal["docker", "process", "slurm"],
        about(
            "How tasks run. `docker`: in hardened containers. `process`: as plain child "
            "processes, without any isolation. `slurm`: as jobs of a Slurm cluster."
        ),
    ] = "docker"
    log_format: Annotated[
        Literal["text", "json"],
        about("Format of the log on stderr: lines for people, or JSON objects."),
    ] = "text"
