"""Fetches an image, telling how far it is."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from fetchml.ports.launcher import PrepareError

if TYPE_CHECKING:
    import docker

_PROGRESS_SECONDS = 1.0
_LOGGED_CHARACTERS = 2000
_CAUSES = (
    (
        ("denied", "unauthorized", "authentication required", "no basic auth"),
        "there is no such image, or its registry wants a login",
        True,
    ),
    (
        ("not found", "manifest unknown", "does not exist"),
        "neither this machine nor its registry has it",
        True,
    ),
    (("invalid",), "its registry or the Docker engine rejects its name", True),
    (("no space left", "disk quota"), "the Docker engine's disk is full", False),
    (("toomanyrequests", "too many requests"), "its registry limits the pulls", False),
    (
        (
            "no such host",
            "connection refused",
            "timeout",
            "timed out",
            "deadline exceeded",
            "network is unreachable",
            "no route to host",
            "temporary failure",
            "server misbehaving",
        ),
        "its registry can't be reached from this machine",
        False,
    ),
    (("x509", "certificate", "tls:"), "its registry's TLS certificate is not trusted", False),
)
"""Of a failed pull, by what its reason contains: why, and whether a second try would fail too. The
first that fits counts."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pulls:
    """When images are pulled, and as whom."""

    when: Literal["missing", "always", "never"] = "missing"
    with_credentials: bool = True
    """With the logins of the server's user, as the Docker SDK finds them."""


AS_NEEDED = Pulls()


def pull(
    client: "docker.APIClient",
    image: str,
    progress: Callable[[str], None],
    unwanted: threading.Event,
    *,
    with_credentials: bool,
) -> None:
    """Raises PrepareError when the image can't be had. Returns early when `unwanted` is set."""
    from docker.errors import APIError  # noqa: PLC0415 - see address.py

    progress(f"pulling {image}")
    next_at = time.monotonic()
    layers = _Layers()
    try:
        # None: what the SDK finds for the registry. An empty one is no login at all.
        login: dict[str, str] | None = None if with_credentials else {}
        with closing(client.pull(image, stream=True, decode=True, auth_config=login)) as lines:
            for line in lines:
                if unwanted.is_set():
                    return
                if "error" in line:
                    raise _refusal(image, str(line["error"]))
                layers.update(line)
                if layers.total and time.monotonic() >= next_at:
                    next_at = time.monotonic() + _PROGRESS_SECONDS
                    progress(f"pulling {image}: {layers}")
    except APIError as error:
        raise _refusal(image, error.explanation or str(error)) from error


class _Layers:
    """The image's parts that are being fetched, as far as the engine has told of them."""

    def __init__(self) -> None:
        self._bytes: dict[str, tuple[int, int]] = {}

    def update(self, line: Mapping[str, Any]) -> None:
        detail = line.get("progressDetail") or {}
        if line.get("status") == "Downloading" and detail.get("total"):
            self._bytes[line["id"]] = (int(detail.get("current", 0)), int(detail["total"]))
        elif line.get("status") == "Download complete" and line.get("id") in self._bytes:
            total = self._bytes[line["id"]][1]
            self._bytes[line["id"]] = (total, total)

    @property
    def total(self) -> int:
        return sum(total for _, total in self._bytes.values())

    def __str__(self) -> str:
        done = sum(current for current, _ in self._bytes.values())
        return f"{100 * done // self.total} % of {-(-self.total // 10**6)} MB"


def _refusal(image: str, reason: str) -> PrepareError:
    """What the user is told. The registry's own words go to the log: they may be long, and name
    addresses and accounts that are the server's."""
    _log.warning(
        "An image can't be pulled", extra={"image": image, "reason": reason[:_LOGGED_CHARACTERS]}
    )
    for words, why, permanent in _CAUSES:
        if any(word in reason.lower() for word in words):
            return PrepareError(f"the image {image} can't be pulled: {why}", permanent=permanent)
    return PrepareError(
        f"the image {image} can't be pulled: the reason is in the server's log", permanent=False
    )
