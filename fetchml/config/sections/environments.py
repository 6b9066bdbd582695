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
            "Path of the program uv.",
            default="the uv that was installed with FetchML, else the first on `PATH`",
        ),
    ] = None
    index_url: Annotated[
        Text | None,
        about(
            "Package index that builds use, with a name and password if it needs them: code of "
            "packages that are built can read them.",
            default="uv's own default, the public index of Python packages",
        ),
    ] = None
    find_links: Annotated[
        Text | None,
        about(
            "Folder of this host, or URL, with more packages. Without a network (`[tasks] network "
            '= "none"`) it is the only source.',
            default="none",
        ),
    ] = None
    certificates: Annotated[
        Path | None,
        about(
            "File (PEM) of the certificate authorities that builds trust, for an index of your "
            "own.",
            default="the server's variable `SSL_CERT_FILE`, else those that uv brings",
        ),
    ] = None
    cache_bytes: Annotated[
        Annotated[int, Meta(ge=0, le=1 << 60)],
        about(
            "Most bytes of environments, and of uv's caches, that are kept. The least recently "
            "used are removed first, and none that a task uses."
        ),
    ] = 50 * 1024 * 1024 * 1024
    cpu: Annotated[AtLeastOne, about("Most CPU cores of a build in a container.")] = 2
    memory_gb: Annotated[AtLeastOne, about("Memory limit of a build in a container, in GiB.")] = 4
    timeout_seconds: Annotated[AtLeastOne, about("Time limit of a build, in seconds.")] = 1800
