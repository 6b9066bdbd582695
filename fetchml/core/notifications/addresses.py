"""The addresses of a task's webhooks, checked as they are written (`core.addresses`)."""

from collections.abc import Sequence

from fetchml.core.addresses import AddressRules, may_be_asked
from fetchml.core.notifications.targets import NotifyTarget

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
