"""Datasets of a request: their sources and their paths in a task.

A fetched dataset is one file, `<mount path>/<file name>`. A local one may be a folder, which is
mounted at the mount path itself.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, NamedTuple
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec import UNSET, Meta, UnsetType

from fetchml.core.addresses import AddressRules, is_allowed_url
from fetchml.core.model import DatasetSpec
from fetchml.core.requests.checks import also, described, line

MOUNT_ROOT = "/data"
"""Default parent of mount paths."""
SCHEMES = ("file", "http", "https")
"""Default schemes of sources."""
NAME = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]*")
MAX_NAME = 255

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")


SYSTEM_PATHS = (
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/root", "/run",
    "/sbin", "/sys", "/usr", "/var", "/.fetchml", "/workspace", "/outputs", "/checkpoint",
    "/environment",
    "/volumes", "/secrets",
)  # fmt: skip
"""System paths that no dataset may be mounted over."""

_UNTIDY = re.compile(r"//|/\.\.?(?:/|\Z)|[^/]/\Z")
"""Matches an empty part of a path, `.` or `..`, and a slash at its end."""


def _mount_path(path: str) -> str | None:
    if wrong := line(path):
        return wrong
    if not path.startswith("/") or _UNTIDY.search(path):
        return "must be an absolute path without . or .. parts"
    if path == MOUNT_ROOT:
        return f"must not be {path} itself: name a folder in it"
    if path == "/" or any(path == p or path.startswith(p + "/") for p in SYSTEM_PATHS):
        return "must not lie over a system path"
    return None


DatasetName = Annotated[
    str,
    Meta(
        max_length=MAX_NAME,
        pattern=rf"\A{NAME.pattern}\Z",
        extra=described("must be letters, digits and . _ -"),
    ),
]


class DatasetRequest(msgspec.Struct, frozen=True):
    """An item of `dataset_specs` of a create request."""

    name: DatasetName | UnsetType = UNSET
    source: Annotated[str, Meta(min_length=1, max_length=4096, extra=also(line))] | UnsetType = (
        UNSET
    )
    sha256: (
        Annotated[
            str,
            Meta(
                max_length=64,
                pattern=r"\A[0-9a-fA-F]{64}\Z",
                extra=described("must be 64 hexadecimal digits"),
            ),
        ]
        | UnsetType
    ) = UNSET
    mount_path: Annotated[str, Meta(max_length=4096, extra=also(_mount_path))] | UnsetType = UNSET

    @property
    def spec(self) -> DatasetSpec:
        return DatasetSpec(
            self.name or None, self.source or None, self.sha256 or None, self.mount_path or None
        )


@dataclass(frozen=True, slots=True)
class Dataset:
    """A DatasetSpec with its defaults filled in."""

    name: str
    scheme: str
    location: str
    """For the scheme `file` a path, absolute or below the server's root; else the URL."""
    sha256: str | None
    """Lower case."""
    folder: str
    """Absolute path in the task."""
    file_name: str

    @property
    def is_local(self) -> bool:
        return self.scheme == "file"

    @property
    def file(self) -> str:
        """Path in the task, if the dataset is a file."""
        return f"{self.folder}/{self.file_name}"


def read(spec: DatasetSpec) -> Dataset:
    """Fill in the defaults of a spec whose fields are valid one by one. Raises ValueError with the
    fault."""
    source = spec.source if spec.source is not None else spec.name
    if source is None:
        raise ValueError("needs a name or a source")
    match = _SCHEME.match(source)
    scheme = match[1].lower() if match else "file"
    location = _path(source) if scheme == "file" else _url(source, scheme)
    path = location if scheme == "file" else unquote(urlsplit(location).path)
    last = path.rstrip("/").rpartition("/")[2]
    name = spec.name
    if name is None:
        if not NAME.fullmatch(last) or len(last) > MAX_NAME:
            raise ValueError("needs a name: its source ends in none")
        name = last
    file_name = last if _is_file_name(last) else name
    sha256 = spec.sha256.lower() if spec.sha256 is not None else None
    folder = spec.mount_path if spec.mount_path is not None else f"{MOUNT_ROOT}/{name}"
    return Dataset(name, scheme, location, sha256, folder, file_name)


def fault(
    specs: Sequence[DatasetSpec],
    named: Iterable[str],
    schemes: Sequence[str],
    rules: AddressRules,
) -> str | None:
    """The fault of a request's `dataset_specs`; `None` if there is none. `named`: `datasets`."""
    mounts = [_Mount(f"{MOUNT_ROOT}/{name}/", -1, f"dataset {name!r}") for name in set(named)]
    for index, spec in enumerate(specs):
        try:
            dataset = read(spec)
        except ValueError as error:
            return f"item {index} {error}"
        if dataset.scheme not in schemes:
            allowed = ", ".join(schemes) or "none"
            return f"item {index} source must be of a scheme that the server allows: {allowed}"
        if dataset.scheme in ("http", "https") and not is_allowed_url(dataset.location, rules):
            return (
                f"item {index} source is at a private or local address, which the server does not "
                "ask ([datasets] allow_private, allow_hosts)"
            )
        path = dataset.folder if dataset.is_local else dataset.file
        mounts.append(_Mount(f"{path}/", index, f"item {index}"))
    return _overlap(mounts)


class _Mount(NamedTuple):
    """A path in the task where a dataset is mounted."""

    path: str
    """With a slash at the end."""
    number: int
    """Position in the request's `dataset_specs`; -1 for a name in `datasets`."""
    what: str


def _overlap(mounts: list[_Mount]) -> str | None:
    """The fault of a mount path that lies inside another one; `None` if none does.

    In sorted order a path is directly followed by those inside it, so comparing neighbours is
    enough, and deep paths cost no more than reading them.
    """
    mounts.sort()
    pairs = [
        sorted((one, two), key=_number)
        for one, two in pairwise(mounts)
        if two.path.startswith(one.path)
    ]
    if not pairs:
        return None
    earlier, later = min(pairs, key=lambda pair: pair[1].number)
    return f"{later.what} lies at {later.path[:-1][:200]}, where {earlier.what} is"


def _number(mount: _Mount) -> int:
    return mount.number


def _path(source: str) -> str:
    if not _SCHEME.match(source):
        path = source
    else:
        host, slash, rest = source.partition("://")[2].partition("/")
        if host.lower() not in ("", "localhost") or not slash:
            raise ValueError("source must be file:/// and an absolute path")
        path = "/" + unquote(rest)
    if not path.isprintable():
        raise ValueError("source must hold printable characters only")
    return path


def _url(source: str, scheme: str) -> str:
    if not source.isprintable() or " " in source:
        raise ValueError("source must hold no spaces")
    try:
        parts = urlsplit(source)
        _ = parts.port  # raises ValueError for a malformed port
    except ValueError as error:
        raise ValueError("source must be a URL") from error
    if not parts.netloc or (scheme in ("http", "https") and not parts.hostname):
        raise ValueError("source must name a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("source must hold no user and password: others could read them")
    return source.partition("#")[0]


def _is_file_name(name: str) -> bool:
    return (
        name not in ("", ".", "..")
        and name.isprintable()
        and "/" not in name
        and len(name.encode(errors="replace")) <= MAX_NAME
    )
