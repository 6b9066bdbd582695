"""Users' notification settings: their default addresses, and the secrets of their webhooks.

Webhooks are signed by the Standard Webhooks specification: HMAC-SHA256 over the message's id, the
time of the attempt and the body. A secret belongs to a user and a host, so that no receiver can
sign for another one. It is derived from the server's key and stored nowhere; its owner reads it
whenever it is needed. The record counts how often the user replaced the secrets.
"""

import base64
import hmac
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from msgspec.structs import replace

from fetchml.core.model import NotifyTarget, Value
from fetchml.core.notification_outbox import DAY_MS, Delivery
from fetchml.records import Documents, RecordSet

PREFIX = "whsec_"


def secret_of(key: bytes, user: str, url: str, generation: int = 0) -> bytes:
    """Return the secret of a user's webhooks to the URL's host. `generation`: how often the user
    replaced the secrets."""
    origin = urlsplit(url).netloc.lower()
    return hmac.digest(key, f"{user}\0{origin}\0{generation}".encode(), "sha256")


def shown(secret: bytes) -> str:
    return PREFIX + base64.b64encode(secret).decode()


def signature(secret: bytes, message_id: str, sent_at: int, body: bytes) -> str:
    """Return an entry of the header `webhook-signature`. `sent_at`: seconds since the epoch."""
    signed = f"{message_id}.{sent_at}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()


KIND = "notification_user"
OLD_SECRET_MS = DAY_MS
"""Webhooks carry signatures by the secret before a replacement too, for so long."""


class NotifiedUser(Value, frozen=True):
    """Stored; a field added later must have a default."""

    user: str
    notify: tuple[NotifyTarget, ...] = ()
    generation: int = 0
    """Number of times that the secrets were replaced."""
    replaced_at: int = 0


class NotifiedUsers:
    """Used from one event loop, after `load`."""

    def __init__(
        self, store: Documents, key: Callable[[], bytes], clock: Callable[[], int]
    ) -> None:
        """`key`: the server's key that secrets are derived from, read or made when it is needed."""
        self._records = RecordSet(store, KIND, NotifiedUser, lambda record: record.user)
        self._load_key = key
        self._key: bytes | None = None
        self._clock = clock

    async def load(self) -> None:
        await self._records.load()

    def default_of(self, user: str) -> Sequence[NotifyTarget]:
        record = self._records.get(user)
        return record.notify if record is not None else ()

    async def set_default(self, user: str, targets: Sequence[NotifyTarget]) -> None:
        """Durable on return."""

        async def work() -> None:
            await self._records.put(replace(self._of(user), notify=tuple(targets)))

        await self._records.change(work)

    async def replace_secrets(self, user: str) -> None:
        """Durable on return."""

        async def work() -> None:
            record = self._of(user)
            await self._records.put(
                replace(record, generation=record.generation + 1, replaced_at=self._clock())
            )

        await self._records.change(work)

    def secret(self, user: str, url: str) -> str:
        """Return the secret of the user's webhooks to the URL's host. Raises OSError."""
        return shown(secret_of(self._server_key(), user, url, self._of(user).generation))

    def sign(self, delivery: Delivery, sent_at: int, body: bytes) -> str:
        """Return the header `webhook-signature`. Raises OSError."""
        record = self._of(delivery.user)
        generations = [record.generation]
        if record.generation and self._clock() < record.replaced_at + OLD_SECRET_MS:
            generations.append(record.generation - 1)
        key = self._server_key()
        secrets = (secret_of(key, delivery.user, delivery.url, each) for each in generations)
        return " ".join(signature(each, delivery.id, sent_at, body) for each in secrets)

    def _of(self, user: str) -> NotifiedUser:
        return self._records.get(user) or NotifiedUser(user)

    def _server_key(self) -> bytes:
        if self._key is None:
            self._key = self._load_key()
        return self._key
