"""The verbs of notifications, which transports call. Users have their own messages; admins also
have those to the server's addresses.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

from fetchml.auth.audit import Audit
from fetchml.auth.limits import RateLimiter
from fetchml.core.addresses import AddressRules
from fetchml.core.audit import Action
from fetchml.core.model import NotifyTarget, Principal
from fetchml.core.notification_outbox import SERVER, Delivery, DeliveryState
from fetchml.core.notifications import InvalidNotification, read_settings, read_url
from fetchml.core.permissions import manages_all, may_submit
from fetchml.core.requests.listing import DEFAULT_LIMIT, page_fault
from fetchml.errors import (
    BadRequest,
    Conflict,
    FieldViolation,
    Forbidden,
    NotFound,
    RateLimited,
    ValidationFailed,
)
from fetchml.notifications.outbox import Outbox
from fetchml.notifications.sender import Sender
from fetchml.notifications.users import NotifiedUsers
from fetchml.ports.notifier import NotDelivered
from fetchml.views import Finding

T = TypeVar("T")

TESTS_PER_MINUTE = 6
"""Test messages of one user."""
TESTS_BURST = 5
TESTS_AT_ONCE = 32
"""Of all users together."""
MANY_DEAD = 100
"""Dead letters of all users that `fetchml doctor` reports as a problem."""
OFF = "Notifications are disabled on this server ([notifications] enabled)"


class NotificationPage(NamedTuple):
    notifications: Sequence[Delivery]
    """Newest first."""
    total: int
    """All that match."""
    pending: int
    dead: int
    """Both of all that the caller may see."""
    dropped: int
    """Rows that were dropped for lack of room, since the server started."""


class NotificationCounts(NamedTuple):
    """Of all users together; the last three since the server started."""

    pending: int
    dead: int
    delivered: int
    failed_attempts: int
    dropped: int


class NotificationSettings(NamedTuple):
    notify: Sequence[NotifyTarget]
    """The caller's default."""


class TestResult(NamedTuple):
    delivered: bool
    error: str | None
    """`None` if it was delivered."""
    milliseconds: int


class WebhookSecret(NamedTuple):
    secret: str
    """`whsec_` and base64."""
    host: str
    """It signs the caller's webhooks to this host and port."""


class Notifications:
    """Used from one event loop. Verbs raise `errors.RequestError`."""

    def __init__(
        self,
        outbox: Outbox,
        sender: Sender,
        users: NotifiedUsers,
        audit: Audit,
        *,
        rules: AddressRules | None,
        make_test: Callable[[str, str], Delivery],
    ) -> None:
        """`rules`: permitted addresses; `None` if the server sends nothing. `make_test`: a test
        message of a user to a URL."""
        self.outbox = outbox
        self.sender = sender
        self._users = users
        self._audit = audit
        self._rules = rules
        self._make_test = make_test
        self._tests = RateLimiter(TESTS_PER_MINUTE / 60, TESTS_BURST)
        self._testing = 0

    @property
    def enabled(self) -> bool:
        return self._rules is not None

    @property
    def counts(self) -> NotificationCounts:
        outbox, sender = self.outbox, self.sender
        return NotificationCounts(
            outbox.pending,
            outbox.dead,
            sender.delivered,
            sender.failed_attempts,
            outbox.dropped_in_all,
        )

    def findings(self) -> Sequence[Finding]:
        """Return the findings of `fetchml doctor`."""
        counts = self.counts
        if not self.enabled:
            return [Finding("notifications", "turned off")]
        summary = f"{counts.pending} wait, {counts.dead} dead letters, {counts.dropped} dropped"
        fix = ""
        if counts.dead >= MANY_DEAD:
            fix = "See the errors (fetchml notifications ls --dead), and correct the addresses."
        return [Finding("notifications", summary, fix)]

    def page(
        self,
        who: Principal,
        *,
        state: str | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> NotificationPage:
        if state is not None and state not in list(DeliveryState):
            raise BadRequest(f"state: must be one of {', '.join(DeliveryState)}")
        limit, offset = DEFAULT_LIMIT if limit is None else limit, offset or 0
        if fault := page_fault(limit, offset, least=1):
            raise BadRequest(fault)
        rows = [row for owner in _owners(who) for row in self.outbox.of(owner)]
        rows.sort(key=lambda row: row.id, reverse=True)
        dead = sum(row.dead_at is not None for row in rows)
        wanted = [
            row for row in rows if state is None or (row.dead_at is None) == (state == "pending")
        ]
        return NotificationPage(
            wanted[offset : offset + limit],
            len(wanted),
            len(rows) - dead,
            dead,
            sum(self.outbox.dropped.get(owner, 0) for owner in _owners(who)),
        )

    async def retry(self, who: Principal, delivery_id: str) -> Delivery:
        """Send a message again, at once and for another day."""
        self._require_user(who)
        row = self.outbox.get(delivery_id)
        if row is None or row.user not in _owners(who):
            raise NotFound(f"Notification {delivery_id[:64]!r} not found")
        if not self.enabled:
            raise Conflict(OFF)
        renewed = self.sender.send_again(row)
        await self._audit.done(who, Action.NOTIFICATION_RETRY, delivery_id, row.type)
        await self.sender.save()
        return renewed

    def settings(self, who: Principal) -> NotificationSettings:
        return NotificationSettings(self._users.default_of(who.user))

    async def set_settings(
        self, who: Principal, request: Mapping[str, object]
    ) -> NotificationSettings:
        """Replace the caller's default. Durable on return."""
        self._require_user(who)
        targets = self._read(read_settings, request)
        await self._users.set_default(who.user, targets)
        detail = "1 address" if len(targets) == 1 else f"{len(targets)} addresses"
        await self._audit.done(who, Action.NOTIFICATION_SETTINGS, who.user, detail)
        return self.settings(who)

    def secret(self, who: Principal, url: str | None) -> WebhookSecret:
        """Return the secret that signs the caller's webhooks to the URL's host."""
        self._require_user(who)
        target = self._read(read_url, {} if url is None else {"url": url})
        return WebhookSecret(self._users.secret(who.user, target), host_of(target))

    async def replace_secrets(self, who: Principal) -> None:
        """Replace all secrets of the caller. For a day webhooks carry signatures by both."""
        self._require_user(who)
        await self._users.replace_secrets(who.user)
        await self._audit.done(who, Action.NOTIFICATION_SECRETS, who.user)

    async def test(self, who: Principal, request: Mapping[str, object]) -> TestResult:
        """Send a test message and wait for the receiver's answer."""
        self._require_user(who)
        url = self._read(read_url, request)
        begun = time.monotonic()
        if self._testing >= TESTS_AT_ONCE or self._tests.take(who.user, begun) is None:
            wait = self._tests.retry_after(who.user, begun)
            raise RateLimited(wait, message=f"Too many test messages: try again in {wait} s")
        error = None
        self._testing += 1
        try:
            await self.sender.send(self._make_test(who.user, url))
        except NotDelivered as failure:
            error = str(failure)
        finally:
            self._testing -= 1
        took = int((time.monotonic() - begun) * 1000)
        await self._audit.done(who, Action.NOTIFICATION_TEST, host_of(url), error or "delivered")
        return TestResult(error is None, error, took)

    def _read(
        self, read: Callable[[Mapping[str, object], AddressRules], T], request: Mapping[str, object]
    ) -> T:
        if self._rules is None:
            raise Conflict(OFF)
        try:
            return read(request, self._rules)
        except InvalidNotification as error:
            violations = [FieldViolation(*violation) for violation in error.violations]
            raise ValidationFailed(violations) from None

    def _require_user(self, who: Principal) -> None:
        if not may_submit(who):
            raise Forbidden("Viewers get no notifications, because they submit no tasks")


def _owners(who: Principal) -> tuple[str, ...]:
    """Return the owners whose messages are shown to the caller."""
    return (who.user, SERVER) if manages_all(who) else (who.user,)


def host_of(url: str) -> str:
    """Return host and port as the URL spells them."""
    return urlsplit(url).netloc.lower()
