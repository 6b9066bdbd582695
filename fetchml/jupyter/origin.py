"""The origins of Jupyter services: that of the server, or one for each service, whose scripts and
cookies reach nothing else."""

from urllib.parse import urlsplit


class JupyterOrigins:
    """Maps services to addresses, and host names to services."""

    def __init__(self, public_url: str, domain: str | None = None) -> None:
        """`public_url`: the server's own URL for browsers, without a slash at the end.

        `domain`: `*.HOST` if each service has a host name of its own; `None` if all share the
        server's address."""
        self._public_url = public_url
        self._suffix = None if domain is None else domain.removeprefix("*")

    @property
    def are_separate(self) -> bool:
        return self._suffix is not None

    @property
    def are_encrypted(self) -> bool:
        return self._public_url.startswith("https:")

    def origin(self, service_id: str) -> str:
        """Return the service's origin, without a slash at the end. Only if origins are separate. An
        id, being a UUID, is a DNS label."""
        own = urlsplit(self._public_url)
        port = f":{own.port}" if own.port is not None else ""
        return f"{own.scheme}://{service_id}{self._suffix}{port}"

    def url(self, service_id: str) -> str:
        """Return the service's URL, without the token, with a slash at the end."""
        if self.are_separate:
            return f"{self.origin(service_id)}/"
        return f"{self._public_url}/jupyter/{service_id}/"

    def label_of(self, host: str | None) -> str | None:
        """Return the label in a request's Host header that names a service; `None` if the request
        is for the server itself."""
        if self._suffix is None or host is None:
            return None
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        name = name.lower().removesuffix(".")
        return name.removesuffix(self._suffix) if name.endswith(self._suffix) else None
