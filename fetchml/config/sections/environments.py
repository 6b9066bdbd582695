"""Environments: packages that uv installs for tasks."""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from fetchml.config.sections.types import AtLeastOne, Text, about


class EnvironmentSettings(msgspec.Struct, frozen=True):
    """`[environments]`"""

    uv: Annotated[
        Path | None,
        about(
            "Path of the uv executable.",
            default="the uv installed with FetchML, else the first on `PATH`",
        ),
    ] = None
    index_url: Annotated[
        Text | None,
        about(
            "Package index for builds, including a user name and password if it requires them. "
            "Packages that are built from source can read these.",
            default="uv's own default, the public index of Python packages",
        ),
    ] = None
    find_links: Annotated[
        Text | None,
        about(
            "Host directory or URL with additional packages. Without a network (`[tasks] network "
            '= "none"`) it is the only source.',
            default="none",
        ),
    ] = None
    certificates: Annotated[
        Path | None,
        about(
            "PEM file with the certificate authorities that builds trust, for a private index.",
            default="the server's environment variable `SSL_CERT_FILE`, else uv's own list",
        ),
    ] = None
    cache_bytes: Annotated[
        Annotated[int, Meta(ge=0, le=1 << 60)],
        about(
            "Maximum size of environments and uv's caches, in bytes. The least recently used are "
            "removed first. Environments in use are never removed."
        ),
    ] = 50 * 1024 * 1024 * 1024
    cpu: Annotated[AtLeastOne, about("Maximum number of CPU cores for a build in a container.")] = 2
    memory_gb: Annotated[AtLeastOne, about("Memory limit, in GiB, for a build in a container.")] = 4
    timeout_seconds: Annotated[AtLeastOne, about("Time limit for a build, in seconds.")] = 1800
