"""The Jupyter client: watches one running Jupyter.

1. `open_link` pins the socket on which Jupyter listens.
2. `answers`, until it returns true.
3. `activity`, now and then.
4. `JupyterLink.close`.
"""

import os
from pathlib import Path
from typing import Protocol

from fetchml.core.requests.jupyter import Activity


class JupyterLink:
    """The way to one running Jupyter. Whoever opens it closes it; its connections live on."""

    def __init__(self, fd: int, service_id: str, token: str) -> None:
        """`fd`: of the socket's name, opened with O_PATH; the link owns it from now on."""
        self._fd: int | None = fd
        self.service_id = service_id
        self.token = token

    @property
    def base_path(self) -> str:
        return f"/jupyter/{self.service_id}/"

    @property
    def socket_path(self) -> str:
        """The path for one immediate `connect`: after `close` it may name another file.

        Raises OSError if the link is closed.
        """
        if self._fd is None:
            raise OSError("the link is closed")
        return f"/proc/self/fd/{self._fd}"

    def close(self) -> None:
        """May be called again."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class JupyterSilent(Exception):
    """Jupyter did not answer, or not as Jupyter does."""


class JupyterClient(Protocol):
    """Queries a Jupyter that its user may have replaced by anything: every answer is bounded in
    time and size."""

    def open_link(self, run_folder: Path, service_id: str, token: str) -> JupyterLink:
        """Raises OSError if there is no socket (yet) in the attempt's run folder."""

    async def answers(self, link: JupyterLink) -> bool:
        """Return whether it serves requests that carry its token."""

    async def activity(self, link: JupyterLink) -> Activity:
        """Return when it was last used. Raises JupyterSilent."""
