"""Which messages are sent now: those whose time has come, a few of each user at once.

A receiver that hangs occupies its own user's places only.
"""

from collections import Counter, deque
from heapq import heappop, heappush
from typing import NamedTuple

from fetchml.core.notifications.delivery import Delivery

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
