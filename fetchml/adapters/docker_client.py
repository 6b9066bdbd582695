"""The Docker SDK's client, for an engine that may be reached by TCP with TLS."""

import ssl
from typing import Any

import docker
from docker.constants import DEFAULT_DOCKER_API_VERSION
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from urllib3.util import create_urllib3_context


def lenient(context: ssl.SSLContext) -> ssl.SSLContext:
    """`context`, accepting an authority without a `keyUsage` extension.

    Docker's documentation makes such authorities, and Python refuses them from 3.13 on. Whether
    the authority signed the certificate, its dates and the host's name are checked as before.
    """
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


class _TlsAdapter(HTTPAdapter):
    def __init__(self, verify: bool | str | None) -> None:
        self._verify = verify
        super().__init__()

    def send(
        self, request: PreparedRequest, stream: bool = False, *args: Any, **options: Any
    ) -> Response:
        # Where REQUESTS_CA_BUNDLE is set, requests prefers it to the authority of the session.
        return super().send(request, stream, *args, **{**options, "verify": self._verify})

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        context = lenient(create_urllib3_context())
        super().init_poolmanager(*args, ssl_context=context, **options)


def connect(timeout: int, **address: Any) -> docker.APIClient:
    """A client that speaks the engine's newest version of the API.

    `address`: `base_url` and `tls` as the SDK takes them; nothing is the machine's own socket.
    Raises DockerException and OSError if no engine answers within `timeout` seconds.
    """
    # The SDK asks for the version while it is made, before an adapter can be mounted.
    with _client(timeout, DEFAULT_DOCKER_API_VERSION, address) as first:
        version = first.version(api_version=False)["ApiVersion"]
    return _client(timeout, version, address)


def _client(timeout: int, version: str, address: dict[str, Any]) -> docker.APIClient:
    client = docker.APIClient(**address, version=version, timeout=timeout)
    if "https://" in client.adapters:
        client.mount("https://", _TlsAdapter(client.verify))
    return client
