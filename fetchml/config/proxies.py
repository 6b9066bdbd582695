"""The client of a request that proxies forward."""

import functools
import ipaddress
from collections.abc import Sequence
from typing import Self

_Ip = ipaddress.IPv4Address | ipaddress.IPv6Address


class Network:
    """An address (`10.0.0.5`) or a network (`10.0.0.0/24`) of proxies."""

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
    """The trusted proxies: only their X-Forwarded-For counts."""

    def __init__(self, trusted: Sequence[Network] = ()) -> None:
        self._trusted = trusted
        self.is_trusted = functools.lru_cache(maxsize=1024)(self._look_up)
        """Returns whether an address is a trusted proxy's."""

    def client_of(self, peer: str, forwarded_for: str | None) -> str:
        """Return the client's address. `peer`: the address of the connection.

        Each proxy appends the address of its own peer to `forwarded_for`. So the list is read from
        its right end, and only as far as trusted proxies wrote it: the rest may be forged.
        """
        client = peer
        calls = forwarded_for.split(",") if forwarded_for and self._trusted else []
        while calls and self.is_trusted(client):
            address = _address(calls.pop())
            if address is None:
                break
            client = str(address)
        return client

    def is_shared(self, peer: str) -> bool:
        """Return whether many clients may use this address: that of a trusted proxy, or of this
        host, whose proxies and tunnels need no setting."""
        address = _address(peer)
        return address is not None and (address.is_loopback or self.is_trusted(peer))

    def _look_up(self, text: str) -> bool:
        address = _address(text)
        return address is not None and any(address in network for network in self._trusted)


@functools.lru_cache(maxsize=4096)
def caller_of(address: str) -> str:
    """Return what limits by address count: the address, or its /64 network for IPv6, since one
    client has at least such a network."""
    client = _address(address)
    if not isinstance(client, ipaddress.IPv6Address):
        return address if client is None else str(client)
    return str(ipaddress.IPv6Network((int(client) >> 64 << 64, 64)))


def _address(text: str) -> _Ip | None:
    """Parse an address, with or without a port, which some proxies append."""
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
    # A socket for both families reports IPv4 addresses in this form.
    return getattr(address, "ipv4_mapped", None) or address
