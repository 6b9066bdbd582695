"""Pulls an image, with progress."""

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
        "image not found, or its registry requires a login",
        True,
    ),
    (
        ("not found", "manifest unknown", "does not exist"),
        "not found on this machine or in its registry",
        True,
    ),
    (("invalid",), "invalid image name", True),
    (("no space left", "disk quota"), "the Docker engine's disk is full", False),
    (("toomanyrequests", "too many requests"), "pull limit of its registry reached", False),
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
        "cannot reach its registry from this machine",
        False,
    ),
    (("x509", "certificate", "tls:"), "TLS verification of its registry failed", False),
)
"""Parts of the engine's reason for a failed pull, the reason for the user, and whether a second try
would fail too. The first match counts."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pulls:
    """When images are pulled, and as whom."""

    when: Literal["missing", "always", "never"] = "missing"
    with_credentials: bool = True
    """Use the logins of the server's user, as the Docker SDK finds them."""


AS_NEEDED = Pulls()


def pull(
    client: "docker.APIClient",
    image: str,
    progress: Callable[[str], None],
    cancelled: threading.Event,
    *,
    with_credentials: bool,
) -> None:
    """Pull the image. Returns early once `cancelled` is set. Raises PrepareError."""
    from docker.errors import APIError  # noqa: PLC0415 - see address.py

    progress(f"pulling {image}")
    next_at = time.monotonic()
    layers = _Layers()
    try:
        # `None` lets the SDK find the login for the registry; an empty one disables it.
        login: dict[str, str] | None = None if with_credentials else {}
        with closing(client.pull(image, stream=True, decode=True, auth_config=login)) as lines:
            for line in lines:
                if cancelled.is_set():
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
    """The image's layers that are being fetched, as far as the engine has reported them."""

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
    """Return the error for the user. The registry's own text goes to the log only: it may be long,
    and name addresses and accounts of the server."""
    _log.warning(
        "Pulling an image failed", extra={"image": image, "reason": reason[:_LOGGED_CHARACTERS]}
    )
    for words, why, permanent in _CAUSES:
        if any(word in reason.lower() for word in words):
            return PrepareError(f"cannot pull image {image}: {why}", permanent=permanent)
    return PrepareError(
        f"cannot pull image {image}: the reason is in the server's log", permanent=False
    )
