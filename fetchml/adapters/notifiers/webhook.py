"""Webhooks by HTTP POST: to permitted addresses only, redirects are not followed, and nothing of
the reply is read but its head."""

import asyncio
import re

import aiohttp
from yarl import URL

from fetchml import __version__
from fetchml.adapters.checked_hosts import CheckedHosts, HostRefused, NameNotFound, pinned
from fetchml.core.addresses import AddressRules
from fetchml.core.notifications import REFUSED
from fetchml.ports.notifier import Message, NotDelivered

MAX_LINE_BYTES = 4096
"""Of the status line and of each header of the reply."""
GONE = 410
_SECONDS = re.compile(r"[0-9]{1,6}", re.ASCII)


class WebhookNotifier:
    """Implements `Notifier`."""

    def __init__(self, rules: AddressRules, *, timeout_seconds: float) -> None:
        """`timeout_seconds`: for the look-up of the name, and for the request."""
        self._hosts = CheckedHosts(rules, "webhook", timeout_seconds)
        self._seconds = timeout_seconds

    async def send(self, message: Message) -> None:
        url, host = _url(message)
        try:
            addresses = await self._hosts.addresses(host, url.port or 0)
            async with (
                asyncio.timeout(self._seconds),
                aiohttp.ClientSession(
                    connector=pinned(addresses),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    auto_decompress=False,
                    max_line_size=MAX_LINE_BYTES,
                    max_field_size=MAX_LINE_BYTES,
                ) as session,
                session.post(
                    url, data=message.body, headers=_headers(message), allow_redirects=False
                ) as reply,
            ):
                _require_taken(host, reply)
        except NameNotFound as error:
            raise NotDelivered(str(error)) from error
        except HostRefused as error:
            raise NotDelivered(f"{host} {REFUSED}") from error
        except TimeoutError as error:
            raise NotDelivered(
                f"timed out after {self._seconds:g} s: no response from {host}"
            ) from error
        except aiohttp.ClientConnectorCertificateError as error:
            reason = error.certificate_error
            raise NotDelivered(f"TLS verification of {host} failed: {reason}") from error
        except aiohttp.ClientConnectorError as error:
            why = error.os_error.strerror or "no connection"
            raise NotDelivered(f"cannot reach {host}: {why}") from error
        except (aiohttp.ClientError, ValueError) as error:  # Its text may hold the whole URL.
            raise NotDelivered(f"invalid HTTP response from {host}") from error

    async def close(self) -> None: ...


def _url(message: Message) -> tuple[URL, str]:
    """Return the URL and its host. Raises NotDelivered."""
    try:
        url = URL(message.url, encoded=True)
        return url, url.host or ""
    except ValueError as error:  # The text has a part `xn--` that encodes nothing.
        raise NotDelivered("invalid host name in the address", permanent=True) from error


def _headers(message: Message) -> dict[str, str]:
    return {
        "Content-Type": "application/json",
        "User-Agent": f"fetchml/{__version__}",
        "webhook-id": message.id,
        "webhook-timestamp": str(message.sent_at),
        "webhook-signature": message.signatures,
    }


def _require_taken(host: str, reply: aiohttp.ClientResponse) -> None:
    """Raises NotDelivered."""
    status = reply.status
    if 200 <= status < 300:
        return
    if status == GONE:
        raise NotDelivered(f"{host} returned 410: the address no longer exists", permanent=True)
    what = "a redirect, which is not followed" if 300 <= status < 400 else "no success"
    wait = reply.headers.get("Retry-After", "")
    seconds = int(wait) if _SECONDS.fullmatch(wait) else 0
    raise NotDelivered(f"{host} returned {status}: {what}", retry_after_seconds=seconds)
