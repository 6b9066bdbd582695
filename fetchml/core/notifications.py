"""Notifications: which addresses get a webhook, and the outbox of messages to them.

The field `notify` of a request, a user's settings and the server's settings list the addresses. The
addresses of hosts that the server may connect to are those of `core.addresses`.

A row of the outbox is one message to one address. It stays until it is delivered, or its owner or
its age removes it. A receiver that hangs occupies only the places of its own user.
"""

import ipaddress
import json
import re
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from enum import StrEnum
from heapq import heappop, heappush
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from fetchml.core.addresses import AddressRules, is_allowed_url
from fetchml.core.model import DEFAULT_EVENTS, EventKind, NotifyTarget, Value
from fetchml.core.requests.checks import Violation, also, described, line, no_duplicates, read

MAX_TARGETS = 5
"""Addresses of one task, of one user's default, and of the server's."""
MAX_URL = 2048
"""Characters."""
MAX_HOST = 253
"""Characters; no name may have more (RFC 1035)."""
_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?", re.ASCII | re.IGNORECASE)
"""A name, or an IPv4 address."""


def url_fault(url: str) -> str | None:
    """Return why a URL is none that a webhook may have, or `None`."""
    if wrong := line(url):
        return wrong
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return "must hold visible ASCII characters only: encode all others"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "must be a URL"
    if parts.scheme not in ("http", "https"):
        return "must be a URL of http or https"
    if not parts.hostname or port == 0:
        return "must name a host"
    if "@" in parts.netloc:
        return "must hold no user and password"
    if not _is_host(parts.hostname, in_brackets="[" in parts.netloc):
        return (
            f"must name a host of at most {MAX_HOST} characters: an IP address, or parts of 1 to "
            "63 letters, digits, - and _"
        )
    return "must hold no fragment (#)" if "#" in url else None


def _is_host(host: str, *, in_brackets: bool) -> bool:
    """Whether a look-up may find the host. Nothing is ever delivered to any other."""
    if len(host) > MAX_HOST:
        return False
    if not in_brackets:
        return _NAME.fullmatch(host) is not None
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


Url = Annotated[str, Meta(min_length=1, max_length=MAX_URL, extra=also(url_fault))]


class NotifyRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An item of `notify`."""

    url: Url
    on: Annotated[
        tuple[EventKind, ...],
        Meta(min_length=1, max_length=len(EventKind), extra=no_duplicates("an event")),
    ] = DEFAULT_EVENTS


def _named_once(value: Sequence[Mapping[str, object]]) -> str | None:
    seen = set[object]()
    for index, each in enumerate(value):
        if each["url"] in seen:
            return f"item {index} url appears twice: list all of its events in one item"
        seen.add(each["url"])
    return None


NotifyRequests = Annotated[
    tuple[
        Annotated[NotifyRequest, Meta(extra=described("must be an object with url and on"))], ...
    ],
    Meta(max_length=MAX_TARGETS, extra=also(_named_once)),
]
"""The field `notify` of a request. Where the addresses may be is decided by `address_fault`."""


def targets_of(asked: Sequence[NotifyRequest]) -> tuple[NotifyTarget, ...]:
    return tuple(NotifyTarget(each.url, each.on) for each in asked)


def as_request(targets: Sequence[NotifyTarget]) -> list[dict[str, object]]:
    """The field's value that asks for the same."""
    return [{"url": each.url, "on": list(each.on)} for each in targets]


REFUSED = (
    "has a private or local address, which the server does not contact "
    "([notifications] allow_private, allow_hosts)"
)

OFF = "not supported: notifications are disabled ([notifications] enabled)"


def address_fault(
    targets: Sequence[NotifyTarget | NotifyRequest], rules: AddressRules | None
) -> str | None:
    """Return why the server may not ask one of these, as it is written; `None` if it may. The
    addresses of names are checked at each delivery. `rules`: `None` if it sends nothing."""
    if rules is None:
        return OFF
    for index, each in enumerate(targets):
        if not is_allowed_url(each.url, rules):
            return f"item {index} url {REFUSED}"
    return None


class DeliveryState(StrEnum):
    """The filter `state` of a list; the names are on the wire."""

    PENDING = "pending"
    """Attempts follow."""
    DEAD = "dead"
    """No longer retried; its owner may send it again."""


class InvalidNotification(Exception):
    def __init__(self, violations: list[Violation]) -> None:
        super().__init__("; ".join(f"{v.field}: {v.rule}" for v in violations))
        self.violations = violations


class _Settings(msgspec.Struct, frozen=True):
    notify: NotifyRequests


class _Address(msgspec.Struct, frozen=True):
    url: Url


def read_settings(request: Mapping[str, object], rules: AddressRules) -> tuple[NotifyTarget, ...]:
    """Return a user's default targets. Raises InvalidNotification."""
    asked, violations = read(request, _Settings)
    if asked is not None:
        targets = targets_of(asked.notify)
        if (wrong := address_fault(targets, rules)) is None:
            return targets
        violations = [Violation("notify", wrong)]
    raise InvalidNotification(violations)


def read_url(request: Mapping[str, object], rules: AddressRules) -> str:
    """Return the address of a test message, or of a secret. Raises InvalidNotification."""
    asked, violations = read(request, _Address)
    if asked is not None:
        if is_allowed_url(asked.url, rules):
            return asked.url
        violations = [Violation("url", REFUSED)]
    raise InvalidNotification(violations)


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
