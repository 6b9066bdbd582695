"""The Jupyter client: watches one running Jupyter.

1. `open_link` finds the address where Jupyter listens.
2. `answers`, until it returns true.
3. `activity`, now and then.
4. `JupyterLink.close`.
"""

import socket
import ssl
from pathlib import Path
from typing import NamedTuple, Protocol

from fetchml.core.jupyter import Activity


class JupyterEndpoint(NamedTuple):
    """A service's attempt, which runs."""

    service_id: str
    attempt: int
    run_folder: Path
    token: str
    relay_secret: bytes
    """Known to the server and to the attempt's relay on a node of a cluster."""


class JupyterConnector(Protocol):
    """Opens connections to one Jupyter."""

    tls: ssl.SSLContext | None
    """Context of the handshake that begins each connection, and in which both ends prove
    themselves; `None` if nobody else can listen there."""

    async def connect(self) -> socket.socket:
        """Open a connection. Raises OSError, also after `close`."""

    def close(self) -> None:
        """May be called again. Connections live on."""


class JupyterLink(NamedTuple):
    """A running Jupyter: the connector and the token. The caller that opens it closes it."""

    service_id: str
    token: str
    connector: JupyterConnector

    @property
    def base_path(self) -> str:
        return f"/jupyter/{self.service_id}/"

    def close(self) -> None:
        """May be called again; the link's connections live on."""
        self.connector.close()


class JupyterSilent(Exception):
    """No response, or not one of Jupyter."""


class JupyterClient(Protocol):
    """Queries a Jupyter that its user may have replaced by anything: every answer is bounded in
    time and size."""

    async def open_link(self, endpoint: JupyterEndpoint) -> JupyterLink:
        """Raises OSError if nothing listens (yet), or it is not known where."""

    async def answers(self, link: JupyterLink) -> bool:
        """Return whether it serves requests that carry its token."""

    async def activity(self, link: JupyterLink) -> Activity:
        """Return when it was last used. Raises JupyterSilent."""
