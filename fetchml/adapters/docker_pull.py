"""Fetches an image, telling how far it is."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from typing import Any

import docker
from docker.errors import APIError

from fetchml.ports import PrepareError

_PROGRESS_SECONDS = 1.0
_FOR_GOOD = ("not found", "denied", "unauthorized", "manifest unknown", "does not exist", "invalid")
"""What registries say of an image that a second try would not find either."""


def pull(
    client: docker.APIClient,
    image: str,
    progress: Callable[[str], None],
    unwanted: threading.Event,
) -> None:
    """Raises PrepareError when the image can't be had. Returns early when `unwanted` is set."""
    progress(f"pulling {image}")
    next_at = time.monotonic()
    layers = _Layers()
    try:
        with closing(client.pull(image, stream=True, decode=True)) as lines:
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
    if _any_in(_FOR_GOOD, reason):
        return PrepareError(
            f"there is no image {image}, neither on this machine nor in its registry, or the "
            f"registry wants a login ({reason})",
            permanent=True,
        )
    return PrepareError(
        f"the image {image} is not on this machine, and it can't be pulled: {reason}",
        permanent=False,
    )


def _any_in(words: Iterable[str], text: str) -> bool:
    return any(word in text.lower() for word in words)
