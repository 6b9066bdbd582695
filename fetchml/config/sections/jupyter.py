"""Jupyter services."""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from fetchml.config.address import Address
from fetchml.config.sections.types import Count, Domain, Text, about


class JupyterSettings(msgspec.Struct, frozen=True):
    """`[jupyter]`"""

    root: Annotated[
        Path | None,
        about(
            "Directory for the workspaces of all Jupyter services.",
            default="`jupyter` in the data directory, or in `[slurm] shared_dir`",
        ),
    ] = None
    shared: Annotated[
        tuple[Text, ...],
        about(
            "Patterns of shared workspaces, in which every user may start services. Every other "
            "workspace belongs to the user who first used its name. With `[auth] private` no "
            "workspace is shared."
        ),
    ] = ("shared/*",)
    idle_seconds: Annotated[
        Count,
        about(
            "Seconds without activity after which the server stops a Jupyter service, with a "
            "warning first. 0: never."
        ),
    ] = 14_400
    images: Annotated[
        dict[Text, Text],
        about(
            "Aliases for images: a table from the name in a request to the image. Names without "
            "an entry are used as the image.",
            default="none",
        ),
    ] = msgspec.field(default_factory=dict)
    command: Annotated[
        tuple[Text, ...],
        Meta(min_length=1),
        about(
            "Command that starts JupyterLab without a container: a program on the server's `PATH` "
            "or next to its Python, and its first arguments. With `--launcher slurm`, a program "
            "on the nodes. Containers run the `jupyter` of their image."
        ),
    ] = ("jupyter-lab",)
    domain: Annotated[
        Domain | None,
        about(
            "Serve each Jupyter service at its own origin: `*.HOST` serves it at `<id>.HOST` on "
            "the server's port. Requires a wildcard DNS record and, with TLS, a certificate for "
            "`*.HOST`. For local use, `*.localhost` requires neither.",
            default="all services share the server's origin",
        ),
    ] = None
    http: Annotated[
        Address | None,
        about(
            "Address of a second listener that serves only Jupyter services, so that their "
            "scripts cannot use the page's session. For servers without a wildcard domain. Not "
            "supported behind a proxy that adds TLS.",
            default="none",
        ),
    ] = None
