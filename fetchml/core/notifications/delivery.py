"""A row of the outbox: one message to one address. It stays until it is delivered, or its owner or
its age removes it."""

from enum import StrEnum

from fetchml.core.values import Value

SERVER = ""
"""The owner of what goes to the addresses of the server's settings; admins see it."""


class Channel(StrEnum):
    """The way that a message goes. Stored."""

    WEBHOOK = "webhook"
    APPRISE = "apprise"
    """Mail, Slack and others; to addresses of the server's settings only."""


class Delivery(Value, frozen=True):
    """Stored; a field added later must have a default."""

    id: str
    """A UUIDv7; the header `webhook-id` of each attempt."""
    user: str
    """The owner: the task's user, or `SERVER`."""
    type: str
    """`task.completed` and so on."""
    url: str
    created_at: int
    give_up_at: int
    """No attempt begins later."""
    next_at: int
    """Earliest time of the next attempt."""
    task_id: str = ""
    """Empty for a sweep's message."""
    sweep_id: str = ""
    body: str = ""
    """JSON; empty for a sweep's, which is made from its counts when it is sent."""
    channel: Channel = Channel.WEBHOOK
    attempts: int = 0
    """Attempts that failed."""
    error: str | None = None
    """The reason why the last attempt failed; `None` if none did."""
    dead_at: int | None = None
    """When it was given up; `None` while it is pending."""
