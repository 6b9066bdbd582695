"""What a dataset may be: where it comes from, where a task sees it, which addresses are asked.

A fetched dataset is one file, `<mount path>/<file name>`; a local one may be a folder, which then
is the mount path itself.
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
"""Where a task finds its datasets unless they say otherwise."""
SCHEMES = ("file", "http", "https")
"""What sources may begin with unless the server's owner says otherwise."""
NAME = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]*")
MAX_NAME = 255

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")
_IPV4_PART = re.compile(r"0[xX][0-9a-fA-F]{1,8}|0[0-7]{0,11}|[1-9][0-9]{0,9}")
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


def fault(
    specs: Sequence[DatasetSpec],
    named: Iterable[str],
    schemes: Sequence[str],
    rules: "AddressRules",
) -> str | None:
    """What is wrong with a request's `dataset_specs`; `named`: its `datasets`."""
    places = [_Place(f"{PLACE}/{name}/", -1, f"dataset {name!r}") for name in set(named)]
    for index, spec in enumerate(specs):
        try:
            dataset = read(spec)
        except ValueError as error:
            return f"item {index} {error}"
        if dataset.scheme not in schemes:
            allowed = ", ".join(schemes) or "none"
            return f"item {index} source must be of a scheme that the server allows: {allowed}"
        if dataset.scheme in ("http", "https") and not _may_be_asked(dataset.location, rules):
            return (
                f"item {index} source is at a private or local address, which the server does not "
                "ask ([datasets] allow_private, allow_hosts)"
            )
        place = dataset.folder if dataset.is_local else dataset.file
        places.append(_Place(f"{place}/", index, f"item {index}"))
    return _overlap(places)


class _Place(NamedTuple):
    """Where a task sees a dataset."""

    path: str
    """With a slash at its end."""
    number: int
    """In the request's `dataset_specs`; -1: it is named in `datasets`."""
    what: str


def _overlap(places: list[_Place]) -> str | None:
    """Which place lies in another one, in words; `None` if none does.

    In sorted order whatever lies in a place directly follows it, so comparing neighbours is
    enough: deep paths cost no more than the time that it takes to read them.
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


def _may_be_asked(url: str, rules: "AddressRules") -> bool:
    """Whether the host in the URL may be asked, as far as its name tells: names are resolved when
    the dataset is fetched, and checked then."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return rules.allow(host, "127.0.0.1")
    address = literal_address(host)
    return address is None or rules.allow(host, address)


def literal_address(host: str) -> str | None:
    """The IP address that a host of a URL is written as, in the forms of IPv4 too that only the C
    library knows (`127.1`, `0x7f000001`). `None` if it is a name."""
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


PUBLIC_ADDRESSES = AddressRules()

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
