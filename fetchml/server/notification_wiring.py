"""Notifications, by the settings: which addresses are permitted, and what sends the messages."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from fetchml.adapters.notifiers.apprise import AppriseNotifier, BadAddress, name_of
from fetchml.adapters.notifiers.webhook import WebhookNotifier
from fetchml.api.notification_bodies import Bodies
from fetchml.auth.audit import Audit
from fetchml.config.settings import Settings
from fetchml.core.addresses import PUBLIC_ADDRESSES, AddressRules, is_allowed_url
from fetchml.core.notification_outbox import FIRST_DELAY_MS, Channel, Delivery
from fetchml.core.notifications import MAX_TARGETS, url_fault
from fetchml.engine.sweep_records import KnownSweeps
from fetchml.files.layout import NOTIFICATIONS_KEY
from fetchml.files.own_file import load_key
from fetchml.notifications.notification_service import Notifications
from fetchml.notifications.outbox import Notices, Outbox, OutboxLimits, ServerTarget
from fetchml.notifications.sender import Sender
from fetchml.notifications.users import NotifiedUsers
from fetchml.ports.notifier import Notifier
from fetchml.ports.store import Store
from fetchml.server.cannot_start import CannotStart
from fetchml.system.ids import IdSequence


@dataclass(frozen=True, slots=True)
class NotificationOptions:
    rules: AddressRules | None = PUBLIC_ADDRESSES
    """Permitted addresses; `None` if the server sends nothing."""
    server: tuple[ServerTarget, ...] = ()
    """Targets of tasks and users that name none."""
    limits: OutboxLimits = OutboxLimits()  # noqa: RUF009 - immutable
    public_url: str = ""
    """The server's URL for browsers, without a final slash."""
    first_delay_ms: int = FIRST_DELAY_MS
    """Until the second attempt of a message."""


class NotificationParts(NamedTuple):
    notices: Notices
    sender: Sender
    service: Notifications


def notify_addresses(settings: Settings) -> AddressRules | None:
    """`None` if the server sends nothing."""
    section = settings.notifications
    if not section.enabled:
        return None
    return AddressRules(section.allow_private, frozenset(map(str.lower, section.allow_hosts)))


def notification_options(settings: Settings, public_url: str) -> NotificationOptions:
    """Raises CannotStart."""
    section, rules = settings.notifications, notify_addresses(settings)
    for url in section.urls:
        fault = url_fault(url)
        if fault is None and rules is not None and not is_allowed_url(url, rules):
            fault = "is at a private or local address: set allow_private or allow_hosts"
        if fault is not None:
            raise CannotStart(f"[notifications] urls: {fault}")
    if len(section.urls) > MAX_TARGETS:
        raise CannotStart(f"[notifications] urls: must not have more than {MAX_TARGETS} items")
    if len(section.apprise) > MAX_TARGETS:
        raise CannotStart(f"[notifications] apprise: must not have more than {MAX_TARGETS} items")
    targets = tuple(ServerTarget(url, section.on) for url in section.urls) + tuple(
        ServerTarget(name_of(address), section.on, Channel.APPRISE) for address in section.apprise
    )
    return NotificationOptions(
        rules,
        targets,
        OutboxLimits(section.user_messages),
        public_url,
        section.retry_seconds * 1000,
    )


def notifiers(settings: Settings) -> Mapping[Channel, Notifier]:
    """Raises CannotStart."""
    rules = notify_addresses(settings)
    if rules is None:
        return {}
    section, seconds = settings.notifications, settings.notifications.timeout_seconds
    by_channel: dict[Channel, Notifier] = {
        Channel.WEBHOOK: WebhookNotifier(rules, timeout_seconds=seconds)
    }
    if section.apprise:
        try:
            by_channel[Channel.APPRISE] = AppriseNotifier(section.apprise, timeout_seconds=seconds)
        except BadAddress as error:
            raise CannotStart(f"[notifications] apprise {error}") from error
    return by_channel


async def assemble_notifications(
    store: Store,
    options: NotificationOptions,
    data_dir: Path,
    senders: Mapping[Channel, Notifier],
    sweeps: KnownSweeps,
    audit: Audit,
    *,
    clock: Callable[[], int],
    ids: IdSequence,
) -> NotificationParts:
    """Nothing is sent yet on return: see `Sender.sending`."""
    users = NotifiedUsers(store, lambda: load_key(data_dir / NOTIFICATIONS_KEY), clock)
    await users.load()
    outbox = Outbox(store, options.limits)
    bodies = Bodies(options.public_url)

    def render_sweep(delivery: Delivery) -> str:
        sweep_id = delivery.sweep_id
        return bodies.of_sweep(delivery, sweeps.records.get(sweep_id), sweeps.counts.of(sweep_id))

    def make_test(user: str, url: str) -> Delivery:
        now = clock()
        body = bodies.of_test(user, now)
        return Delivery(ids.next(now), user, "test", url, now, now, now, body=body)

    sender = Sender(
        outbox,
        store,
        senders,
        clock=clock,
        sign=users.sign,
        render_sweep=render_sweep,
        first_delay_ms=options.first_delay_ms,
    )
    sender.add(await outbox.load())
    notices = Notices(
        outbox,
        own_default=users.default_of,
        server=options.server,
        render=bodies.of_task,
        new_id=ids.next,
        enabled=options.rules is not None,
    )
    service = Notifications(outbox, sender, users, audit, rules=options.rules, make_test=make_test)
    return NotificationParts(notices, sender, service)
