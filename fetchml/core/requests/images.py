"""Which images tasks may use: patterns over the whole name of an image."""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

ANY = ("*",)
"""The patterns that allow every image."""
_HUB = "docker.io"
_ID = re.compile("(sha256:)?[0-9a-f]{1,64}")
_WILD = re.compile(r"[*?\[]")


def fault(image: str, allowed: Sequence[str]) -> str | None:
    """Why an image may not be used; None: it may."""
    if "*" in allowed:
        return None
    names = _names(image)
    if any(fnmatchcase(name, _whole(pattern)) for pattern in allowed for name in names):
        return None
    shown = ", ".join(allowed) or "none"
    return f"is not among the images that this server allows: {shown} ([tasks] allow_images)"


def _names(image: str) -> tuple[str, ...]:
    """The whole name, with its tag or digest, and without."""
    if _ID.fullmatch(image):
        # The engine takes what looks like an image's id for one: it names any image on the machine.
        return (f"sha256:{image.removeprefix('sha256:')}",)
    name, _, digest = image.partition("@")
    repository, tag = _split_tag(name)
    whole = _whole(repository)
    # With a digest the engine ignores the tag.
    return (f"{whole}@{digest}" if digest else f"{whole}:{tag or 'latest'}", whole)


def _whole(name: str) -> str:
    """With the registry that is meant; of a pattern too, unless it begins with any text."""
    first, slash, rest = name.partition("/")
    if name.startswith("*"):
        return name
    if not slash:
        # `python:3.*` and `python`: the colon is a tag's.
        return name if name.startswith("sha256:") else f"{_HUB}/library/{name}"
    if first == "index.docker.io":
        first = _HUB
    if first == _HUB:
        wild = _WILD.search(rest.partition("/")[0])
        return f"{_HUB}/{rest}" if "/" in rest or wild else f"{_HUB}/library/{rest}"
    is_registry = "." in first or ":" in first or first == "localhost" or first.lower() != first
    return name if is_registry else f"{_HUB}/{name}"


def _split_tag(name: str) -> tuple[str, str]:
    repository, colon, tag = name.rpartition(":")
    return (repository, tag) if colon and "/" not in tag else (name, "")
