"""Validation of requests about notifications."""

from collections.abc import Mapping
from enum import StrEnum

from fetchml.core.addresses import AddressRules, may_be_asked
from fetchml.core.notifications import targets
from fetchml.core.notifications.addresses import REFUSED, address_fault
from fetchml.core.notifications.targets import NotifyTarget
from fetchml.core.requests.checks import Violation, check_fields


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
    fields, violations = check_fields(request, {"notify": targets.fault}, required=("notify",))
    if not violations:
        found = targets.read(fields["notify"])
        if (wrong := address_fault(found, rules)) is None:
            return found
        violations = [Violation("notify", wrong)]
    raise InvalidNotification(violations)


def read_url(request: Mapping[str, object], rules: AddressRules) -> str:
    """Return the address of a test message, or of a secret. Raises InvalidNotification."""
    fields, violations = check_fields(request, {"url": targets.url_fault}, required=("url",))
    if not violations:
        if may_be_asked(str(fields["url"]), rules):
            return str(fields["url"])
        violations = [Violation("url", REFUSED)]
    raise InvalidNotification(violations)
