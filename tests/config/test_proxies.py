"""The client's address behind proxies."""

import pytest

from fetchml.config.proxies import Network, Proxies

PROXIES = Proxies(
    [Network.parse("127.0.0.1"), Network.parse("10.0.0.0/8"), Network.parse("fd00::/8")]
)


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("127.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("127.0.0.1", "1.1.1.1, 203.0.113.7", "203.0.113.7"),
        ("127.0.0.1", "1.1.1.1,203.0.113.7 , 10.1.2.3", "203.0.113.7"),
        ("fd00::1", "2001:db8::7", "2001:db8::7"),
        ("127.0.0.1", "[2001:DB8:0::7]:5000", "2001:db8::7"),
        ("127.0.0.1", "203.0.113.7:5000", "203.0.113.7"),
        ("::ffff:127.0.0.1", "::ffff:203.0.113.7", "203.0.113.7"),
        ("127.0.0.1", "10.0.0.1, 10.0.0.2", "10.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", None, "127.0.0.1"),
    ],
)  # fmt: skip
def test_the_client_behind_trusted_proxies_is_found(
    peer: str, forwarded_for: str | None, client: str
) -> None:
    assert PROXIES.client_of(peer, forwarded_for) == client


@pytest.mark.parametrize("peer", ["203.0.113.7", "2001:db8::7", "", "nonsense"])
def test_x_forwarded_for_of_untrusted_peers_is_ignored(peer: str) -> None:
    assert PROXIES.client_of(peer, "127.0.0.1") == peer
    assert Proxies().client_of(peer, "127.0.0.1") == peer
    assert Proxies().client_of("127.0.0.1", peer) == "127.0.0.1"


@pytest.mark.parametrize("unreadable", ["unknown", "_hidden", "", "1.2.3", "a" * 10_000])
def test_an_unreadable_address_stands_for_the_proxy_itself(unreadable: str) -> None:
    assert PROXIES.client_of("127.0.0.1", f"203.0.113.7, {unreadable}, 10.0.0.1") == "10.0.0.1"


@pytest.mark.parametrize("text", ["", "localhost", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/24,"])
def test_malformed_networks_are_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=r"Expected an address or a network, such as 10\.0\.0\.0"):
        Network.parse(text)
