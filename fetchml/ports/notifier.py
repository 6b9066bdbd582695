"""The notifier: sends one message to one address, once. The outbox decides when, and again."""

from typing import NamedTuple, Protocol


class Message(NamedTuple):
    id: str
    """The same at each attempt: the receiver drops what it has had."""
    url: str
    body: bytes
    """JSON."""
    sent_at: int
    """Seconds since the epoch (UTC)."""
    signatures: str = ""
    """The header `webhook-signature`; empty for channels without one."""


class NotDelivered(Exception):
    """The attempt failed. The message is for the message's owner: it names the host at most, not
    the whole address."""

    def __init__(
        self, message: str, *, permanent: bool = False, retry_after_seconds: int = 0
    ) -> None:
        super().__init__(message)
        self.permanent = permanent
        """Another attempt would fail too."""
        self.retry_after_seconds = retry_after_seconds
        """As the receiver asked; 0 if it did not."""


class Notifier(Protocol):
    async def send(self, message: Message) -> None:
        """Return when the receiver has taken the message, within a bounded time.

        Raises NotDelivered. A cancelled call may have delivered it.
        """

    async def close(self) -> None: ...
