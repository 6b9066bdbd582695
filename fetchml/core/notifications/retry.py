"""When a message that was not delivered is tried again, and when it is given up."""

from msgspec.structs import replace

from fetchml.core.notifications.delivery import Delivery

DAY_MS = 86_400_000
"""No attempt begins later after a message was made."""
FIRST_DELAY_MS = 5_000
MAX_DELAY_MS = 3_600_000
MAX_ERROR = 300
"""Characters."""


def delay_ms(failures: int, jitter: float, first_ms: int = FIRST_DELAY_MS) -> int:
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
    attempt would fail too. `not_before`: as the receiver asked. `first_ms`: see `delay_ms`."""
    attempts = delivery.attempts + 1
    next_at = max(now + delay_ms(attempts, jitter, first_ms), min(not_before, now + MAX_DELAY_MS))
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


def again(delivery: Delivery, now: int) -> Delivery:
    """Return the row as its owner sends it again: at once, and for another day."""
    return replace(delivery, dead_at=None, next_at=now, give_up_at=now + DAY_MS)
