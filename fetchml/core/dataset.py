"""What a dataset may be: where it comes from, where a task sees it, which addresses are asked.

A fetched dataset is one file, `<mount path>/<file name>`; a local one may be a folder, which then
is the mount path itself.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from fetchml.core.model import DatasetSpec

PLACE = "/data"
"""Where a task finds its datasets unless they say otherwise."""
SCHEMES = ("file", "http", "https")
"""What sources may begin with unless the server's owner says otherwise."""
NAME = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]*")
MAX_NAME = 255

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
"""Addresses of IPv6 that a gateway sends on to the IPv4 address in their last 32 bits."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A DatasetSpec with all that it leaves open filled in."""

    name: str
    scheme: str
    location: str
    """Of `file` a path, absolute or below the server's root; else the URL."""
    sha256: str | None
    """Lower case."""
    folder: str
    """Absolute, in the task."""
    file_name: str

    @property
    def is_local(self) -> bool:
        return self.scheme == "file"

    @property
    def file(self) -> str:
        """Where the task sees it if it is a file."""
        return f"{self.folder}/{self.file_name}"


def read(spec: DatasetSpec) -> Dataset:
    """Raises ValueError: what is wrong with it. Each field is as its own rule wants it."""
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
    folder = spec.mount_path if spec.mount_path is not None else f"{PLACE}/{name}"
    return Dataset(name, scheme, location, sha256, folder, file_name)


def fault(specs: Sequence[DatasetSpec], named: Iterable[str], schemes: Sequence[str]) -> str | None:
    """What is wrong with a request's `dataset_specs`; `named`: its `datasets`."""
    taken = _Node()
    for name in named:
        taken.put(f"{PLACE}/{name}", f"dataset {name!r}")
    for index, spec in enumerate(specs):
        try:
            dataset = read(spec)
        except ValueError as error:
            return f"item {index} {error}"
        if dataset.scheme not in schemes:
            allowed = ", ".join(schemes) or "none"
            return f"item {index} source must be of a scheme that the server allows: {allowed}"
        place = dataset.folder if dataset.is_local else dataset.file
        if (what := taken.put(place, f"item {index}")) is not None:
            return f"item {index} lies at {place[:200]}, where {what} is"
    return None


class _Node:
    """A folder of the task, as far as datasets lie in it: thousands of places are looked through
    in the time that it takes to read them."""

    __slots__ = ("first", "inside", "is_place")

    def __init__(self) -> None:
        self.inside: dict[str, _Node] = {}
        self.is_place = False
        self.first = ""
        """What lies here, or, of what lies below, what came first."""

    def put(self, path: str, what: str) -> str | None:
        """What is there already, above or below the path."""
        node = self
        for part in path.split("/"):
            if node.is_place:
                return node.first
            node.first = node.first or what
            node = node.inside.setdefault(part, _Node())
        if node.first:
            return node.first
        node.is_place, node.first = True, what
        return None


@dataclass(frozen=True, slots=True)
class AddressRules:
    """Which machines the server asks for datasets: by itself only those of the public Internet."""

    allow_private: bool = False
    """Also those of private networks and of this machine, but none where clouds give out their
    machines' secrets."""
    allow_hosts: frozenset[str] = frozenset()
    """Hosts, as sources name them, that may have any address."""

    def allow(self, host: str, address: str) -> bool:
        if host.lower().rstrip(".") in self.allow_hosts:
            return True
        ip = _innermost(ipaddress.ip_address(address))
        if ip.is_multicast or ip.is_link_local or ip.is_unspecified or ip in _OF_CLOUDS:
            return False
        if isinstance(ip, ipaddress.IPv6Address) and ip.is_site_local:
            return self.allow_private
        if ip in _PROTOCOLS:
            return self.allow_private
        if self.allow_private and (ip.is_private or ip in _SHARED):
            return ip.is_loopback or not ip.is_reserved
        return ip.is_global and not ip.is_reserved


_OF_CLOUDS = frozenset(
    map(
        ipaddress.ip_address,
        ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"),
    )
)
"""Where clouds answer their machines, beside the link-local addresses; the last looks public."""
_PROTOCOLS = ipaddress.ip_network("192.0.0.0/24")
"""For protocols inside a network; Python counts only a part of it as private."""
_SHARED = ipaddress.ip_network("100.64.0.0/10")
"""Between a provider and its customers; Python counts it neither as private nor as global."""


def _innermost(
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in _TRANSLATED:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else ip)


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
        _ = parts.port  # raises for what is none
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
