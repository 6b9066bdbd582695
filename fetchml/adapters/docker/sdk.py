"""The Docker SDK, for requests that may take minutes. Import it only where it is used
(engine_http.py)."""

from collections.abc import Callable
from contextlib import closing
from typing import Any, TypeVar

import docker
from docker.constants import DEFAULT_DOCKER_API_VERSION
from docker.errors import DockerException, StreamParseError
from docker.utils import kwargs_from_env
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError
from urllib3.util import create_urllib3_context

from fetchml.adapters.docker.engine_http import REQUEST_SECONDS, EngineUnavailable, lenient

T = TypeVar("T")


class _TlsAdapter(HTTPAdapter):
    def __init__(self, verify: bool | str | None) -> None:
        self._verify = verify
        super().__init__()

    def send(
        self, request: PreparedRequest, stream: bool = False, *args: Any, **options: Any
    ) -> Response:
        # If REQUESTS_CA_BUNDLE is set, requests prefers it to the authority of the session.
        return super().send(request, stream, *args, **{**options, "verify": self._verify})

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        context = lenient(create_urllib3_context())
        super().init_poolmanager(*args, ssl_context=context, **options)


def connect(timeout: int, host: str | None = None) -> docker.APIClient:
    """Return a client for the engine's newest version of the API.

    `host` is as in DOCKER_HOST; `None` uses the environment's address, or the local socket. Raises
    DockerException and OSError if no engine answers within `timeout` seconds.
    """
    address: dict[str, Any] = {"base_url": host} if host else {**kwargs_from_env()}
    # The SDK requests the version in its constructor, before an adapter can be mounted.
    with _client(timeout, DEFAULT_DOCKER_API_VERSION, address) as first:
        version = first.version(api_version=False)["ApiVersion"]
    return _client(timeout, version, address)


def ask(host: str | None, request: Callable[[docker.APIClient], T]) -> T:
    """Run one request with its own client. Raises EngineUnavailable, also for refusals that
    `request` does not handle."""
    try:
        with closing(connect(REQUEST_SECONDS, host)) as client:
            return request(client)
    except (DockerException, StreamParseError, RequestException, HTTPError) as error:
        raise EngineUnavailable from error


def _client(timeout: int, version: str, address: dict[str, Any]) -> docker.APIClient:
    client = docker.APIClient(**address, version=version, timeout=timeout)
    if "https://" in client.adapters:
        client.mount("https://", _TlsAdapter(client.verify))
    return client
