"""Addresses that get a webhook: the field `notify` of a request, with the events that raise one, a
user's default addresses, and the addresses that the server may ask (`core.addresses`)."""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from urllib.parse import urlsplit

import msgspec

from fetchml.core.addresses import AddressRules, may_be_asked
from fetchml.core.requests.checks import NULL, Violation, check_fields, line
from fetchml.core.values import Value

MAX_TARGETS = 5
"""Addresses of one task, of one user's default, and of the server's."""
MAX_URL = 2048
"""Characters."""
MAX_HOST = 253
"""Characters; no name may have more (RFC 1035)."""
_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?", re.ASCII | re.IGNORECASE)
"""A name, or an IPv4 address."""


class EventKind(StrEnum):
    """An event in the life of a task. The names are on the wire."""

    STARTED = "started"
    """An attempt's command was started; retries included."""
    COMPLETED = "completed"
    FAILED = "failed"
    """Cancelled included."""
    PREEMPTED = "preempted"
    """It made way for a more urgent task and is queued again."""
    IDLE = "idle"
    """Its GPUs have done nothing for a time."""


DEFAULT_EVENTS = (EventKind.COMPLETED, EventKind.FAILED)


class NotifyTarget(Value, frozen=True):
    """Stored with the task; a field added later must have a default."""

    url: str
    on: tuple[EventKind, ...] = DEFAULT_EVENTS

    @property
    def shown_url(self) -> str:
        """Scheme and host: the rest of a webhook's address often grants access, and others see
        the task."""
        return shown_url(self.url)


def shown_url(url: str) -> str:
    parts = urlsplit(url)
    rest = "/…" if parts.path.strip("/") or parts.query else ""
    return f"{parts.scheme}://{parts.netloc}{rest}"


def fault(value: object) -> str | None:
    """Return the fault of the field's value, or `None`. Where the addresses may be is
    `address_fault`'s."""
    if not isinstance(value, list):
        return "must be a list"
    if len(value) > MAX_TARGETS:
        return f"must not have more than {MAX_TARGETS} items"
    seen = set[str]()
    for index, each in enumerate(value):
        if wrong := _target_fault(each):
            return f"item {index} {wrong}"
        if each["url"] in seen:
            return f"item {index} url is there already: put all of its events into one item"
        seen.add(each["url"])
    return None


def _target_fault(value: object) -> str | None:
    if not isinstance(value, dict):
        return "must be an object with url and on"
    if unknown := [name for name in value if name not in ("url", "on")]:
        return f"must have url and on only, not {str(unknown[0])[:64]!r}"
    if "url" not in value:
        return "needs a url"
    if wrong := url_fault(value["url"]):
        return f"url {wrong}"
    return events_fault(value["on"]) if "on" in value else None


_line = line(MAX_URL, empty=False)


def url_fault(url: object) -> str | None:
    """Return why a URL is none that a webhook may have, or `None`."""
    wrong = NULL if url is None else _line(url)
    if wrong is not None:
        return wrong
    text = str(url)
    if not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
        return "must hold visible ASCII characters only: encode all others"
    try:
        parts = urlsplit(text)
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
    return "must hold no fragment (#)" if "#" in text else None


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


def events_fault(value: object) -> str | None:
    if not isinstance(value, list) or not value:
        return f"on must be a list of at least one of {', '.join(EventKind)}"
    if len(value) > len(EventKind) or not all(
        isinstance(each, str) and each in list(EventKind) for each in value
    ):
        return f"on must be a list of {', '.join(EventKind)}"
    return "on names an event twice" if len(set(value)) < len(value) else None


def read(value: object) -> tuple[NotifyTarget, ...]:
    """Convert a valid value of the field."""
    return msgspec.convert(value, tuple[NotifyTarget, ...])


def as_request(targets: Sequence[NotifyTarget]) -> list[dict[str, object]]:
    """The field's value that asks for the same."""
    return [{"url": each.url, "on": list(each.on)} for each in targets]


REFUSED = (
    "is at a private or local address, which the server does not ask "
    "([notifications] allow_private, allow_hosts)"
)

OFF = "can't be used: this server sends no notifications ([notifications] enabled is false)"


def address_fault(targets: Sequence[NotifyTarget], rules: AddressRules | None) -> str | None:
    """Return why the server may not ask one of these, as it is written; `None` if it may. The
    addresses of names are checked at each delivery. `rules`: `None` if it sends nothing."""
    if rules is None:
        return OFF
    for index, each in enumerate(targets):
        if not may_be_asked(each.url, rules):
            return f"item {index} url {REFUSED}"
    return None


class DeliveryState(StrEnum):
    """The filter `state` of a list; the names are on the wire."""

    PENDING = "pending"
    """Attempts follow."""
    DEAD = "dead"
    """It was given up; its owner may send it again."""


class InvalidNotification(Exception):
    def __init__(self, violations: list[Violation]) -> None:
        super().__init__("; ".join(f"{v.field}: {v.rule}" for v in violations))
        self.violations = violations


def read_settings(request: Mapping[str, object], rules: AddressRules) -> tuple[NotifyTarget, ...]:
    """Return a user's default targets. Raises InvalidNotification."""
    fields, violations = check_fields(request, {"notify": fault}, required=("notify",))
    if not violations:
        found = read(fields["notify"])
        if (wrong := address_fault(found, rules)) is None:
            return found
        violations = [Violation("notify", wrong)]
    raise InvalidNotification(violations)


def read_url(request: Mapping[str, object], rules: AddressRules) -> str:
    """Return the address of a test message, or of a secret. Raises InvalidNotification."""
    fields, violations = check_fields(request, {"url": url_fault}, required=("url",))
    if not violations:
        if may_be_asked(str(fields["url"]), rules):
            return str(fields["url"])
        violations = [Violation("url", REFUSED)]
    raise InvalidNotification(violations)
