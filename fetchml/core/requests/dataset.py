"""Datasets of a request: their sources, their paths in a task, and which addresses are allowed.

A fetched dataset is one file, `<mount path>/<file name>`. A local one may be a folder, which is
mounted at the mount path itself.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from fetchml.core.model import DatasetSpec

PLACE = "/data"
"""Default parent of mount paths."""
SCHEMES = ("file", "http", "https")
"""Default schemes of sources."""
NAME = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]*")
MAX_NAME = 255

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")
_IPV4_PART = re.compile(r"0[xX][0-9a-fA-F]{1,8}|0[0-7]{0,11}|[1-9][0-9]{0,9}")
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
"""IPv6 addresses that a gateway forwards to the IPv4 address in their last 32 bits."""


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
    folder = spec.mount_path if spec.mount_path is not None else f"{PLACE}/{name}"
    return Dataset(name, scheme, location, sha256, folder, file_name)


def fault(
    specs: Sequence[DatasetSpec],
    named: Iterable[str],
    schemes: Sequence[str],
    rules: "AddressRules",
) -> str | None:
    """The fault of a request's `dataset_specs`; `None` if there is none. `named`: `datasets`."""
    places = [_Place(f"{PLACE}/{name}/", -1, f"dataset {name!r}") for name in set(named)]
    for index, spec in enumerate(specs):
        try:
            dataset = read(spec)
        except ValueError as error:
            return f"item {index} {error}"
        if dataset.scheme not in schemes:
            allowed = ", ".join(schemes) or "none"
            return f"item {index} source must be of a scheme that the server allows: {allowed}"
        if dataset.scheme in ("http", "https") and not may_be_asked(dataset.location, rules):
            return (
                f"item {index} source is at a private or local address, which the server does not "
                "ask ([datasets] allow_private, allow_hosts)"
            )
        place = dataset.folder if dataset.is_local else dataset.file
        places.append(_Place(f"{place}/", index, f"item {index}"))
    return _overlap(places)


class _Place(NamedTuple):
    """A path in the task where a dataset is mounted."""

    path: str
    """With a slash at the end."""
    number: int
    """Position in the request's `dataset_specs`; -1 for a name in `datasets`."""
    what: str


def _overlap(places: list[_Place]) -> str | None:
    """The fault of a mount path that lies inside another one; `None` if none does.

    In sorted order a path is directly followed by those inside it, so comparing neighbours is
    enough, and deep paths cost no more than reading them.
    """
    places.sort()
    pairs = [
        sorted((one, two), key=_number)
        for one, two in pairwise(places)
        if two.path.startswith(one.path)
    ]
    if not pairs:
        return None
    earlier, later = min(pairs, key=lambda pair: pair[1].number)
    return f"{later.what} lies at {later.path[:-1][:200]}, where {earlier.what} is"


def _number(place: _Place) -> int:
    return place.number


def may_be_asked(url: str, rules: "AddressRules") -> bool:
    """Whether the URL's host is allowed as written. The addresses of a name are checked when it
    is asked."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return rules.allow(host, "127.0.0.1")
    address = literal_address(host)
    return address is None or rules.allow(host, address)


def literal_address(host: str) -> str | None:
    """The IP address that a URL's host is written as, including the IPv4 forms of the C library
    (`127.1`, `0x7f000001`); `None` if the host is a name."""
    try:
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        pass
    parts = host.split(".")
    if len(parts) > 4 or not all(map(_IPV4_PART.fullmatch, parts)):
        return None
    *first, last = [
        int(p, 16 if p[:2] in ("0x", "0X") else 8 if p[0] == "0" else 10) for p in parts
    ]
    if any(number > 255 for number in first) or last >= 256 ** (4 - len(first)):
        return None
    number = sum(part << 8 * (3 - place) for place, part in enumerate(first)) + last
    return str(ipaddress.IPv4Address(number))


@dataclass(frozen=True, slots=True)
class AddressRules:
    """Hosts that datasets may be fetched from; by default only those of the public Internet."""

    allow_private: bool = False
    """Also allow addresses of private networks and of this host, except the metadata services of
    clouds."""
    allow_hosts: frozenset[str] = frozenset()
    """Hosts, as sources name them, that are allowed at any address."""

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


PUBLIC_ADDRESSES = AddressRules()

_OF_CLOUDS = frozenset(
    map(
        ipaddress.ip_address,
        ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"),
    )
)
"""Metadata services of clouds beside the link-local addresses; the last one looks public."""
_PROTOCOLS = ipaddress.ip_network("192.0.0.0/24")
"""Reserved for protocols inside a network; Python counts only a part of it as private."""
_SHARED = ipaddress.ip_network("100.64.0.0/10")
"""Carrier-grade NAT; Python counts it neither as private nor as global."""


def _innermost(
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The IPv4 address that an IPv6 address maps to; `None` if it maps to none."""
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
