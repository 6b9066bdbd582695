"""Whom a request comes from, where a proxy hands it on."""

import functools
import ipaddress
from collections.abc import Sequence
from typing import Self

_Ip = ipaddress.IPv4Address | ipaddress.IPv6Address


class Network:
    """Addresses of proxies: one (`10.0.0.5`), or a network of them (`10.0.0.0/24`)."""

    __slots__ = ("_network",)

    def __init__(self, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> None:
        self._network = network

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError."""
        try:
            return cls(ipaddress.ip_network(text))
        except ValueError as error:
            raise ValueError("Expected an address or a network, such as 10.0.0.0/24") from error

    def __contains__(self, address: _Ip) -> bool:
        return address in self._network

    def __str__(self) -> str:
        return str(self._network)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Network) and self._network == other._network

    def __hash__(self) -> int:
        return hash(self._network)


class Proxies:
    """The proxies whose X-Forwarded-For is believed."""

    def __init__(self, trusted: Sequence[Network] = ()) -> None:
        self._trusted = trusted
        self._is_trusted = functools.lru_cache(maxsize=1024)(self._look_up)

    def client_of(self, peer: str, forwarded_for: str | None) -> str:
        """Address of the client. `peer`: that of the connection.

        Each proxy adds at the right of `forwarded_for` whom it was called by. So it is read from
        there, and only as far as trusted proxies wrote it: what is left of that may be invented.
        """
        client = peer
        calls = forwarded_for.split(",") if forwarded_for and self._trusted else []
        while calls and self._is_trusted(client):
            address = _address(calls.pop())
            if address is None:
                break
            client = str(address)
        return client

    def is_shared(self, peer: str) -> bool:
        """Whether many clients may stand behind this address: a trusted proxy, or this machine,
        whose proxies and tunnels need no setting."""
        address = _address(peer)
        return address is not None and (address.is_loopback or self._is_trusted(peer))

    def _look_up(self, text: str) -> bool:
        address = _address(text)
        return address is not None and any(address in network for network in self._trusted)


@functools.lru_cache(maxsize=4096)
def caller_of(address: str) -> str:
    """What limits by address count: the address itself, or of IPv6 its /64 network, which is the
    least that one client is given."""
    found = _address(address)
    if not isinstance(found, ipaddress.IPv6Address):
        return address if found is None else str(found)
    return str(ipaddress.IPv6Network((int(found) >> 64 << 64, 64)))


def _address(text: str) -> _Ip | None:
    """Some proxies write the port too."""
    host = text.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    # A scope id names an interface of another machine, and may be any text.
    host = host.partition("%")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    # So a socket for both families names those of the old one.
    return getattr(address, "ipv4_mapped", None) or address
