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
            "Folder of the workspaces of all Jupyter services.",
            default="the folder `jupyter` of the data directory, or of `[slurm] shared_dir`",
        ),
    ] = None
    shared: Annotated[
        tuple[Text, ...],
        about(
            "Patterns of the workspaces in which every user may start services. Any other one "
            "belongs to the user who named it first. With `[auth] private` none is shared."
        ),
    ] = ("shared/*",)
    idle_seconds: Annotated[
        Count,
        about(
            "Seconds without activity after which a Jupyter service is stopped, with a warning "
            "before. 0: never."
        ),
    ] = 14_400
    images: Annotated[
        dict[Text, Text],
        about(
            "Names that requests may give for an image, each with the image that runs. A name "
            "that is not listed runs as it is.",
            default="none",
        ),
    ] = msgspec.field(default_factory=dict)
    command: Annotated[
        tuple[Text, ...],
        Meta(min_length=1),
        about(
            "Command that starts JupyterLab with `--launcher process`: a program on the server's "
            "`PATH` or beside its Python, and its first arguments. With `--launcher slurm` it is "
            "a program of the nodes. Containers run the `jupyter` of their image."
        ),
    ] = ("jupyter-lab",)
    domain: Annotated[
        Domain | None,
        about(
            "Serve each Jupyter service at an origin of its own: with `*.HOST`, at `<id>.HOST` on "
            "the server's own port. This needs a wildcard DNS entry and, with TLS, a certificate "
            "for `*.HOST`; on this host `*.localhost` needs neither.",
            default="all services share the server's address",
        ),
    ] = None
    http: Annotated[
        Address | None,
        about(
            "Address of a second listener, which serves Jupyter services and nothing else: their "
            "scripts then cannot use the session of the page. For a server without a domain of "
            "its own; not behind a proxy that adds TLS.",
            default="none",
        ),
    ] = None
