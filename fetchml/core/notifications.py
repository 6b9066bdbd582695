"""Which addresses get a webhook: the field `notify` of a request, a user's settings and the
server's. The hosts that the server may connect to are those of `core.addresses`; when a message is
sent, and sent again, is decided in `core.notification_outbox`.
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from fetchml.core.addresses import AddressRules, is_allowed_url
from fetchml.core.model import DEFAULT_EVENTS, EventKind, NotifyTarget
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
