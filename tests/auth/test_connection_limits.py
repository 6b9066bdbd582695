"""Limits on open connections of addresses."""

import pytest

from fetchml.auth.limits import ConnectionLimits
from fetchml.config.proxies import Network, Proxies, caller_of
from fetchml.errors import Overloaded, TooManyConnections


@pytest.mark.parametrize(
    ("address", "caller"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:0:1:2:3:4:5", "2001:db8:0:1::/64"),
        ("2001:db8:0:1::9", "2001:db8:0:1::/64"),
        ("2001:db8:0:2::9", "2001:db8:0:2::/64"),
        ("::1", "::/64"),
        ("no address", "no address"),
        ("", ""),
    ],
)
def test_an_ipv6_network_is_one_caller(address: str, caller: str) -> None:
    assert caller_of(address) == caller


def test_one_address_holds_at_most_a_fourth() -> None:
    connections = ConnectionLimits(8, Proxies().is_shared)
    held = [connections.open(f"2001:db8::{number}") for number in range(2)]
    with pytest.raises(TooManyConnections, match="Limit of 2 connections"):
        connections.open("2001:db8::9")
    connections.close(held[0])
    connections.open("2001:db8::9")
    assert (len(connections), sum(connections.ended.values())) == (2, 1)


def test_a_proxy_and_this_host_hold_at_most_three_fourths() -> None:
    proxies = Proxies([Network.parse("10.0.0.0/24")])
    for peer in ("10.0.0.5", "127.0.0.1", "::1"):
        connections = ConnectionLimits(8, proxies.is_shared)
        for _ in range(6):
            connections.open(peer)
        with pytest.raises(TooManyConnections):
            connections.open(peer)
        connections.open("192.0.2.1")


def test_all_addresses_together_have_a_limit() -> None:
    connections = ConnectionLimits(4, Proxies().is_shared)
    for number in range(4):
        connections.open(f"192.0.2.{number}")
    with pytest.raises(Overloaded) as error:
        connections.open("192.0.2.4")
    assert error.value.retry_after == 5
