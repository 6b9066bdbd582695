"""Which images tasks may use: patterns over the whole name of an image, or over its path.

Some programs on the nodes of a cluster run files: a name that begins with `/` is the path of one.
"""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

ANY = ("*",)
"""The patterns that allow every image of a registry or of the host, and no path."""
_HUB = "docker.io"
_ID = re.compile("(sha256:)?[0-9a-f]{1,64}")
_WILD = re.compile(r"[*?\[]")
_BEGIN = re.compile(r"\A(?:[a-z]+://|/)")
"""The scheme of a name, or the first slash of a path."""
_NO_PART = frozenset({"", ".", ".."})


def fault(image: str, allowed: Sequence[str]) -> str | None:
    """Return why an image is not allowed; `None` if it is."""
    # File systems and some programs resolve them, and end where no pattern allows.
    if not _NO_PART.isdisjoint(_BEGIN.sub("", image).split("/")):
        return "must not have an empty part, . or .. between its slashes ([tasks] allow_images)"
    if image.startswith("/"):
        names: Sequence[str] = (image,)
        patterns = [each for each in allowed if each.startswith("/")]
    elif "*" in allowed:
        return None
    else:
        names, patterns = _names(image), [_whole(each) for each in allowed]
    if any(fnmatchcase(name, pattern) for pattern in patterns for name in names):
        return None
    shown = ", ".join(allowed) or "none"
    rule = f"is not among the images that this server allows: {shown} ([tasks] allow_images)"
    if image.startswith("/"):
        return f"{rule}: a path needs a pattern that begins with /"
    return rule


def _names(image: str) -> tuple[str, ...]:
    """The names of an image that a pattern may match: with its tag or digest, and without."""
    if _ID.fullmatch(image):
        # Docker resolves a name that looks like an image id to any image on the host.
        return (f"sha256:{image.removeprefix('sha256:')}",)
    name, _, digest = image.partition("@")
    repository, tag = _split_tag(name)
    whole = _whole(repository)
    # With a digest, Docker ignores the tag.
    return (f"{whole}@{digest}" if digest else f"{whole}:{tag or 'latest'}", whole)


def _whole(name: str) -> str:
    """A name or pattern with its registry filled in, unless a pattern begins with `*`."""
    first, slash, rest = name.partition("/")
    if name.startswith("*"):
        return name
    if not slash:
        # In `python:3.*` the colon belongs to the tag.
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
