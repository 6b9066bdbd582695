"""The outbox of notifications: which message is sent next, when a failed one is sent again, and
when it is given up.

A row of the outbox is one message to one address. It stays until it is delivered, or its owner or
its age removes it. A receiver that hangs occupies only the places of its own user.
"""

import json
from collections import Counter, deque
from enum import StrEnum
from heapq import heappop, heappush
from typing import Any, NamedTuple

from msgspec.structs import replace

from fetchml.core.model import Value


class DeliveryState(StrEnum):
    """The filter `state` of a list; the names are on the wire."""

    PENDING = "pending"
    """Attempts follow."""
    DEAD = "dead"
    """No longer retried; its owner may send it again."""


SERVER = ""
"""The owner of what goes to the addresses of the server's settings; admins see it."""


class Channel(StrEnum):
    """The channel of a message. Stored."""

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
    """When the last attempt failed; `None` while it is pending."""


DAY_MS = 86_400_000
"""No attempt begins later after a message was made."""
FIRST_DELAY_MS = 5_000
MAX_DELAY_MS = 3_600_000
MAX_ERROR = 300
"""Characters."""


def retry_delay_ms(failures: int, jitter: float, first_ms: int = FIRST_DELAY_MS) -> int:
    """Return the time until the next attempt, by the failures in a row: from `first_ms`, doubled
    each time, at most an hour. `jitter`: a random number from 0 to 1, which makes it up to a half
    shorter, so that a receiver that comes back does not get everything at once."""
    longest = min(first_ms << min(failures - 1, 20), MAX_DELAY_MS)
    return longest - int(longest * jitter / 2)


def after_failure(
    delivery: Delivery,
    now: int,
    error: str,
    jitter: float,
    *,
    permanent: bool = False,
    not_before: int = 0,
    first_ms: int = FIRST_DELAY_MS,
) -> Delivery:
    """Return the row after a failed attempt: pending, or a dead letter. `permanent`: another
    attempt would fail too. `not_before`: as the receiver asked. `first_ms`: of `retry_delay_ms`."""
    attempts = delivery.attempts + 1
    next_at = max(
        now + retry_delay_ms(attempts, jitter, first_ms), min(not_before, now + MAX_DELAY_MS)
    )
    dead = permanent or next_at > delivery.give_up_at
    return replace(
        delivery,
        attempts=attempts,
        error=error[:MAX_ERROR],
        next_at=next_at,
        dead_at=now if dead else None,
    )


def expired(delivery: Delivery, now: int) -> Delivery:
    """Return the row as a dead letter, because its day is over."""
    error = delivery.error or "not sent within a day"
    return replace(delivery, dead_at=now, error=error)


def resent(delivery: Delivery, now: int) -> Delivery:
    """Return the row as its owner sends it again: at once, and for another day."""
    return replace(delivery, dead_at=None, next_at=now, give_up_at=now + DAY_MS)


SENT_AT_ONCE = 256
"""Messages of all users that are being sent."""
SENT_AT_ONCE_BY_USER = 4


class DueMessages(NamedTuple):
    to_send: list[Delivery]
    """Each is reported back with `sent` when its attempt has ended."""
    expired: list[Delivery]
    """Messages whose time for attempts is over; they are no longer in the queue."""


class DeliveryQueue:
    """The pending messages. The caller passes all times; nothing here waits."""

    def __init__(self) -> None:
        self._waiting: dict[str, Delivery] = {}
        self._sending: dict[str, Delivery] = {}
        self._sending_by_user = Counter[str]()
        self._times: list[tuple[int, str]] = []
        """A heap of (`next_at`, id). It may name messages that were removed or replaced."""
        self._due: dict[str, deque[str]] = {}
        """Ids of messages whose time has come, by user; users in the order of their turns."""

    def __len__(self) -> int:
        """Number of messages that wait or are being sent."""
        return len(self._waiting) + len(self._sending)

    def is_sending(self, delivery_id: str) -> bool:
        return delivery_id in self._sending

    def add(self, delivery: Delivery) -> None:
        """Add a message, or replace one that waits."""
        self._waiting[delivery.id] = delivery
        heappush(self._times, (delivery.next_at, delivery.id))

    def remove(self, delivery_id: str) -> None:
        """Remove a message that waits. An attempt that has begun continues."""
        self._waiting.pop(delivery_id, None)

    def take(self, now: int) -> DueMessages:
        """Return the messages to send now, one of each user in turn, and the expired ones."""
        taken = DueMessages([], [])
        while self._times and self._times[0][0] <= now:
            next_at, delivery_id = heappop(self._times)
            delivery = self._waiting.get(delivery_id)
            if delivery is not None and delivery.next_at == next_at:
                self._due.setdefault(delivery.user, deque()).append(delivery_id)
        users = deque(self._due)
        while users and len(self._sending) < SENT_AT_ONCE:
            user = users.popleft()
            if self._take_one(user, now, taken):
                users.append(user)
        return taken

    def _take_one(self, user: str, now: int, taken: DueMessages) -> bool:
        """Take one message of a user. Return whether the user may have another one to send."""
        if self._sending_by_user[user] >= SENT_AT_ONCE_BY_USER:
            return False
        due = self._due.pop(user)
        while due:
            delivery = self._waiting.get(due.popleft())
            if delivery is None or delivery.next_at > now:  # Removed, or replaced by a later one.
                continue
            del self._waiting[delivery.id]
            if delivery.give_up_at < now:
                taken.expired.append(delivery)
                continue
            taken.to_send.append(delivery)
            self._sending[delivery.id] = delivery
            self._sending_by_user[user] += 1
            break
        if due:
            self._due[user] = due  # Behind all others.
        return bool(due)

    def sent(self, delivery_id: str) -> None:
        """Note that an attempt has ended. A message that is tried again is added again."""
        user = self._sending.pop(delivery_id).user
        self._sending_by_user[user] -= 1
        if not self._sending_by_user[user]:
            del self._sending_by_user[user]

    def next_at(self) -> int | None:
        """Return when `take` may find more; `None` if only a change of the queue can bring more."""
        return self._times[0][0] if self._times else None


class Text(NamedTuple):
    title: str
    """One line."""
    text: str


def text_of(body: bytes) -> Text:
    """Return what a webhook's body reports. `body`: as the server has made it."""
    message: dict[str, Any] = json.loads(body)
    data = message["data"]
    if "task" in data:
        return _of_task(str(message["type"]).removeprefix("task."), data["task"], data["links"])
    if "sweep" in data:
        return _of_sweep(data["sweep"], data["links"])
    return Text("FetchML: a test message", str(data.get("message", "")))


def _of_task(event: str, task: dict[str, Any], links: dict[str, str]) -> Text:
    words = {"idle": "leaves its GPUs idle", "preempted": "was preempted by a more urgent task"}
    lines = [f"Task {task['id']} of {task['user_id']}"]
    if error := task.get("error"):
        lines.append(str(error))
    return Text(f"{task['job_name']} {words.get(event, event)}", "\n".join([*lines, links["page"]]))


def _of_sweep(sweep: dict[str, Any], links: dict[str, str]) -> Text:
    counts = ", ".join(f"{number} {status}" for status, number in sweep["counts"].items())
    return Text(f"Sweep {sweep.get('name', sweep['id'])} ended", f"{counts}\n{links['sweep']}")
