"""Messages by mail, Slack and the rest, through the library Apprise (extra `notify`).

The addresses hold passwords. So rows of the outbox name them by their scheme and a digest, and
nothing but this file has them.
"""

import asyncio
import hashlib
import importlib
import logging
from collections.abc import Sequence
from typing import Any

from fetchml.core.notification_outbox import text_of
from fetchml.ports.notifier import Message, NotDelivered

logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)  # It logs whole addresses.


class BadAddress(ValueError):
    """Apprise takes no such address, or is not installed. The message does not hold it."""


def name_of(address: str) -> str:
    """Return what the outbox calls an address, as `mailto:1a2b3c4d`."""
    scheme = address.partition("://")[0][:32]
    return f"{scheme}:{hashlib.sha256(address.encode()).hexdigest()[:8]}"


class AppriseNotifier:
    """Implements `Notifier`."""

    def __init__(self, addresses: Sequence[str], *, timeout_seconds: float) -> None:
        """Raises BadAddress."""
        try:
            library: Any = importlib.import_module("apprise")
        except ImportError as error:
            message = "needs the library Apprise: install fetchml[notify]"
            raise BadAddress(message) from error
        self._seconds = timeout_seconds
        self._services: dict[str, Any] = {}
        for address in addresses:
            service = library.Apprise()
            if not service.add(address):
                scheme = address.partition("://")[0][:32]
                raise BadAddress(f"has an address {scheme}://… that Apprise does not support")
            self._services[name_of(address)] = service

    async def send(self, message: Message) -> None:
        service = self._services.get(message.url)
        if service is None:
            why = "the address is no longer in the server's settings"
            raise NotDelivered(why, permanent=True)
        title, text = text_of(message.body)
        try:
            async with asyncio.timeout(self._seconds):
                taken = await service.async_notify(title=title, body=text)
        except TimeoutError as error:
            raise NotDelivered(f"timed out after {self._seconds:g} s") from error
        except Exception as error:  # Of one of a hundred services; its text may hold the address.
            raise NotDelivered(f"failed ({type(error).__name__})") from error
        if not taken:
            raise NotDelivered("the service rejected the message")

    async def close(self) -> None: ...
