"""Options of Jupyter services."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fetchml.core.requests import images as image_rules


@dataclass(frozen=True, slots=True)
class JupyterOptions:
    images: Mapping[str, str]
    """Requested name → the image that runs."""
    idle_ms: int
    """Time without activity after which a service is stopped; 0: never."""
    private: bool
    has_containers: bool
    """`False` if Jupyter runs as a plain process."""
    public_url: str
    """The server's own URL for browsers, without a slash at the end."""
    command: tuple[str, ...] = ("jupyter-lab",)
    """Command of a plain process."""
    relay: Path | None = None
    """Path, on the nodes of a cluster, of the program that runs Jupyter there; `None` if it runs on
    this host."""
    relay_ports: str = "0-0"
    """Range of the ports on which that program listens; `0-0`: any."""
    domain: str | None = None
    """`*.HOST` if each service has a host name of its own; `None` if all share the server's."""
    port: int | None = None
    """Of a second listener for all services; `None` without one."""
    loopback: bool = False
    """Whether browsers that reach the server as localhost use `<id>.localhost`."""
    allow_images: tuple[str, ...] = image_rules.ANY
    """Patterns of the images that requests may name, besides the names in `images`."""

    shared: tuple[str, ...] = ("shared/*",)
    """Patterns of the workspaces in which every user may work."""

    def image_fault(self, image: str) -> str | None:
        """Return why requests may not name this image; `None` if they may."""
        if image in self.images:
            return None
        return image_rules.fault(image, self.allow_images)
