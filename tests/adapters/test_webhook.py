"""Webhooks over HTTP: where they go, and what they make of an answer."""

import pytest

from fetchml.adapters.notifiers.webhook import WebhookNotifier
from fetchml.core.addresses import PUBLIC_ADDRESSES, AddressRules
from fetchml.ports.notifier import Message, NotDelivered
from tests.support.waiting import SECONDS
from tests.support.webhook_receiver import Receiver


def message(url: str) -> Message:
    return Message("m1", url, b'{"type":"test"}', 1_760_000_000, "v1,abc")


PRIVATE = AddressRules(allow_private=True)


async def send(url: str, rules: AddressRules = PRIVATE) -> None:
    await WebhookNotifier(rules, timeout_seconds=SECONDS).send(message(url))


async def test_headers_are_those_of_the_specification(receiver: Receiver) -> None:
    await send(receiver.url)
    [got] = receiver.got
    assert (got.id, got.body) == ("m1", b'{"type":"test"}')
    assert got.headers["webhook-timestamp"] == "1760000000"
    assert got.headers["webhook-signature"] == "v1,abc"
    assert got.headers["user-agent"].startswith("fetchml/")
    assert "cookie" not in got.headers


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f.1"])
async def test_addresses_are_checked_when_it_connects(receiver: Receiver, host: str) -> None:
    """Whatever a name was when the task was submitted."""
    url = receiver.url.replace("127.0.0.1", host)
    with pytest.raises(NotDelivered, match="private or local address") as error:
        await send(url, PUBLIC_ADDRESSES)
    assert receiver.got == []
    assert "secret" not in str(error.value)


@pytest.mark.usefixtures("resolver")
async def test_private_names_cannot_be_told_from_unknown_ones() -> None:
    found = set[tuple[str, bool]]()
    for host in ("private.example", "unknown.example"):
        with pytest.raises(NotDelivered) as error:
            await send(f"http://{host}/", PUBLIC_ADDRESSES)
        found.add((str(error.value).replace(host, "HOST"), error.value.permanent))
    assert found == {("HOST has no allowed address", False)}


async def test_redirects_are_not_followed(receiver: Receiver) -> None:
    async with Receiver().listening() as other:
        receiver.status, receiver.location = 307, other.url
        with pytest.raises(NotDelivered, match="returned 307: a redirect, which is not followed"):
            await send(receiver.url)
        assert other.got == []


async def test_refusals_are_told_apart(receiver: Receiver) -> None:
    for status, permanent in ((410, True), (404, False), (500, False)):
        receiver.status = status
        with pytest.raises(NotDelivered, match=f"127.0.0.1 returned {status}") as error:
            await send(receiver.url)
        assert error.value.permanent is permanent
        assert "secret" not in str(error.value)


async def test_what_is_no_receiver(receiver: Receiver) -> None:
    for url, why in (
        ("http://127.0.0.1:1/", "cannot reach 127.0.0.1"),
        (receiver.url.replace("http:", "https:"), "127.0.0.1"),
        ("http://a.invalid/", "a.invalid has no allowed address"),
    ):
        with pytest.raises(NotDelivered, match=why):
            await send(url)
    for host in ("xn--a", "xn--", "xn--a-.example"):
        with pytest.raises(NotDelivered, match="invalid host name") as error:
            await send(f"http://{host}/")
        assert error.value.permanent
    assert receiver.got == []
