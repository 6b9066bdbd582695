"""The rules for a new booking."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from fetchml.core.bookings.closed_gpus import Booking
from fetchml.core.requests import times
from fetchml.core.requests.checks import Violation, check_fields, integer, line, list_of, matching

MOST_BOOKINGS = 200
"""Bookings that have not ended."""
LONGEST_MS = 31 * 86_400_000
AHEAD_MS = 366 * 86_400_000
"""Longest time before a booking begins."""
PAST_MS = 60_000
"""A begin that is past by at most this much counts as now: clocks differ."""
MOST_GPUS = 1024

_NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")
NO_ROOM = "fewer have no other reservation at that time (fetchml reservations ls)"


class NewBooking(NamedTuple):
    """A booking as it was requested."""

    user: str
    starts_at: int
    ends_at: int
    gpu_uuids: tuple[str, ...]
    """Empty if the server chooses."""
    gpu: int
    """Number of GPUs that the server chooses."""


def read(
    fields: Mapping[str, object], now: int, known: Iterable[str]
) -> tuple[NewBooking | None, list[Violation]]:
    """Read a request in JSON. Return the booking, or the violations. `known`: UUIDs of the host's
    GPUs."""
    found, wrong = check_fields(fields, _RULES, required=("user_id", "ends_at"))
    if wrong:
        return None, wrong
    starts_at = times.milliseconds(str(found["starts_at"])) if "starts_at" in found else now
    ends_at = times.milliseconds(str(found["ends_at"]))
    if starts_at is None or ends_at is None:
        return None, [Violation("ends_at", times.RULE)]
    uuids = tuple(str(each) for each in _items(found.get("gpu_uuids")))
    count = found.get("gpu", 0)
    new = NewBooking(
        str(found["user_id"]),
        max(starts_at, now),
        ends_at,
        uuids,
        count if isinstance(count, int) else 0,
    )
    return new, [*_times(new, starts_at, now), *_gpus(new, frozenset(known))]


def _items(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()


def _times(new: NewBooking, starts_at: int, now: int) -> Iterable[Violation]:
    if starts_at < now - PAST_MS:
        yield Violation("starts_at", "must not be in the past")
    elif starts_at > now + AHEAD_MS:
        yield Violation("starts_at", "must be within the next 366 days")
    if new.ends_at <= new.starts_at:
        yield Violation("ends_at", "must be after starts_at, and in the future")
    elif new.ends_at - new.starts_at > LONGEST_MS:
        yield Violation("ends_at", "must be at most 31 days after starts_at")


def _gpus(new: NewBooking, known: frozenset[str]) -> Iterable[Violation]:
    if bool(new.gpu_uuids) == bool(new.gpu):
        yield Violation("gpu_uuids", "must name GPUs, or gpu must be their number: one of both")
    elif len(set(new.gpu_uuids)) < len(new.gpu_uuids):
        yield Violation("gpu_uuids", "must not name a GPU twice")
    elif unknown := [uuid for uuid in new.gpu_uuids if uuid not in known]:
        yield Violation("gpu_uuids", f"there is no GPU {unknown[0][:96]!r}")
    elif new.gpu > len(known):
        yield Violation("gpu", f"asks for {new.gpu}, this host has {len(known)}")


def choose(
    new: NewBooking, bookings: Iterable[Booking], usable: Sequence[str]
) -> tuple[str, ...] | Booking | None:
    """Return the GPUs of a new booking; another booking if it overlaps that one; `None` if too few
    are left. `usable`: UUIDs to choose from, the best first."""
    overlapping = [b for b in bookings if b.starts_at < new.ends_at and new.starts_at < b.ends_at]
    taken = {uuid: b for b in overlapping for uuid in b.gpu_uuids}
    if new.gpu_uuids:
        return next((taken[uuid] for uuid in new.gpu_uuids if uuid in taken), new.gpu_uuids)
    free = [uuid for uuid in usable if uuid not in taken]
    return tuple(free[: new.gpu]) if len(free) >= new.gpu else None


_RULES = {
    "user_id": matching(_NAME, 64, "must be the name of a key"),
    "starts_at": times.time_fault,
    "ends_at": times.time_fault,
    "gpu_uuids": list_of(line(256, empty=False), empty=False),
    "gpu": integer(1, MOST_GPUS),
}
