"""The origins of Jupyter services: that of the server, or others, whose scripts and cookies do not
reach the server's page."""

from typing import NamedTuple
from urllib.parse import urlsplit

from fetchml.auth.admission import Admission

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
_HERE = frozenset({"127.0.0.1", "::1", Admission.local.address})
"""Addresses of callers on this host."""
_LOOPBACK_SUFFIX = ".localhost"


class ServerAddress(NamedTuple):
    """Where a browser reaches the server, as the request shows it."""

    scheme: str
    host: str
    """In lower case, without the port; an IPv6 address in brackets."""
    port: str
    """Empty for the scheme's default."""
    direct: bool
    """Whether no header shows a proxy in between."""

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.host}{self.port and f':{self.port}'}"


class JupyterOrigins:
    """Maps services to addresses, and host names to services."""

    def __init__(
        self,
        public_url: str,
        domain: str | None = None,
        *,
        port: int | None = None,
        loopback: bool = False,
    ) -> None:
        """`public_url`: the server's own URL for browsers, without a slash at the end.

        `domain`: `*.HOST` if each service has a host name of its own. `port`: of a second listener
        for all services. `None` for both if they share the server's address.

        `loopback`: browsers that reach the server as localhost use `<id>.localhost`, which they
        resolve themselves. Without `domain` only."""
        self.public_url = public_url
        self.port = port
        self._domain = None if domain is None else domain.removeprefix("*")
        self._loopback = loopback and domain is None
        self._suffix = _LOOPBACK_SUFFIX if self._loopback else self._domain

    @property
    def are_separate(self) -> bool:
        """Return whether services never share the server's origin."""
        return self._domain is not None or self.port is not None

    @property
    def are_encrypted(self) -> bool:
        return self.public_url.startswith("https:")

    def at(
        self, service_id: str, server_address: ServerAddress | None, *, is_browser: bool = True
    ) -> str | None:
        """Return the service's origin for a client at this place, without a slash at the end;
        `None` if it shares the server's. An id, being a UUID, is a DNS label. Clients that are no
        browsers may not resolve names below localhost."""
        if self._domain is not None:
            own = urlsplit(self.public_url)
            return f"{own.scheme}://{service_id}{self._domain}{(own.port and f':{own.port}') or ''}"
        if is_browser and (origin := self.on_loopback(service_id, server_address)) is not None:
            return origin
        if self.port is not None:
            own = urlsplit(self.public_url)
            host = server_address.host if server_address is not None else _in_url(own.hostname)
            scheme = server_address.scheme if server_address is not None else own.scheme
            return f"{scheme}://{host}:{self.port}"
        return None

    def on_loopback(self, service_id: str, server_address: ServerAddress | None) -> str | None:
        """Return the service's origin for a browser that reaches the server as localhost; `None`
        for others."""
        if server_address is None or not (
            self._loopback and server_address.direct and server_address.scheme == "http"
        ):
            return None
        if server_address.host not in LOOPBACK_HOSTS:
            return None
        port = server_address.port if self.port is None else str(self.port)
        return f"http://{service_id}{_LOOPBACK_SUFFIX}{port and f':{port}'}"

    def of_port(self, label: str, server_address: ServerAddress | None) -> str | None:
        """Return the origin of a task's port, which no other program shares; `None` if there is
        none for a browser at this place."""
        if server_address is None:
            own = urlsplit(self.public_url)
            port = str(own.port or "")
            server_address = ServerAddress(own.scheme, _in_url(own.hostname), port, direct=True)
        return (
            self.on_loopback(label, server_address)
            if self.port is not None
            else self.at(label, server_address)
        )

    def url(self, service_id: str) -> str:
        """Return the service's URL, without the token, with a slash at the end.

        On loopback it is the server's own address, which every client can resolve; browsers are
        redirected."""
        if self._domain is not None:
            return f"{self.at(service_id, None)}/"
        return f"{self.at(service_id, None) or self.public_url}/jupyter/{service_id}/"

    def page_url(self, caller: str) -> str:
        """Return the page's URL for a caller at this address. Callers on this host are sent to
        localhost, where a cookie is safe."""
        own = urlsplit(self.public_url)
        is_shared = self._loopback and self.port is None
        if is_shared and caller in _HERE and _in_url(own.hostname) not in LOOPBACK_HOSTS:
            return f"http://localhost:{own.port or 80}/ui/"
        return f"{self.public_url}/ui/"

    def label_of(self, host: str | None) -> str | None:
        """Return the label in a request's Host header that names a service; `None` if the request
        is for the server itself."""
        if self._suffix is None or host is None or self._suffix not in (lower := host.lower()):
            return None
        name, _, port = lower.rpartition(":")
        name = (name if port.isdigit() else lower).removesuffix(".")
        return name.removesuffix(self._suffix) if name.endswith(self._suffix) else None


def _in_url(host: str | None) -> str:
    return f"[{host}]" if host and ":" in host else host or ""
