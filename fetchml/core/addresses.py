"""Which addresses the server asks, for datasets and for webhooks."""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

_IPV4_PART = re.compile(r"0[xX][0-9a-fA-F]{1,8}|0[0-7]{0,11}|[1-9][0-9]{0,9}")
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
"""IPv6 addresses that a gateway forwards to the IPv4 address in their last 32 bits."""
_OF_CLOUDS = frozenset(
    map(
        ipaddress.ip_address,
        ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"),
    )
)
"""Metadata services of clouds outside the link-local range; the last address looks public."""
_PROTOCOLS = ipaddress.ip_network("192.0.0.0/24")
"""Reserved for protocols inside a network; Python counts only a part of it as private."""
_SHARED = ipaddress.ip_network("100.64.0.0/10")
"""Carrier-grade NAT; Python counts it neither as private nor as global."""


@dataclass(frozen=True, slots=True)
class AddressRules:
    """By default only hosts of the public Internet are asked."""

    allow_private: bool = False
    """Also allow addresses of private networks and of this host, except the metadata services of
    clouds."""
    allow_hosts: frozenset[str] = frozenset()
    """Hosts, as URLs name them, that are allowed at any address."""

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


def is_allowed_url(url: str, rules: AddressRules) -> bool:
    """Whether the URL's host is allowed as written. The addresses of a host name are checked
    when it is resolved."""
    return is_allowed_as_written(urlsplit(url).hostname or "", rules)


def is_allowed_as_written(host: str, rules: AddressRules) -> bool:
    """See `is_allowed_url`."""
    host = host.lower().rstrip(".")
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
    number = sum(part << 8 * (3 - index) for index, part in enumerate(first)) + last
    return str(ipaddress.IPv4Address(number))


def _innermost(
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the IPv4 address that is embedded in an IPv6 address; else the address itself."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in _TRANSLATED:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else ip)
