"""Bookings: GPUs that only one user's tasks may use for a time, and the rules for a new one.

During a booking its GPUs go to tasks of its user only. Before it begins, a task of another user
starts on them only if it has to end in time: if it has a time limit that ends before the booking.

A task that still runs there when the booking begins goes on, since its owner was promised no less.
It is preempted if it is `preemptible` and the server preempts (`core.bookings.running_tasks`).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from fetchml.core.model import Task, Value
from fetchml.core.requests import checks
from fetchml.core.requests.checks import MAX_ITEMS, Id, Time, UserName, Violation, milliseconds

MARGIN_MS = 120_000
"""Time in addition to a task's time limit, to prepare and stop it."""
NONE: frozenset[str] = frozenset()


class Booking(Value, frozen=True):
    """GPUs for one user. Times are in milliseconds since the epoch (UTC)."""

    id: str
    user: str
    gpu_uuids: tuple[str, ...]
    starts_at: int
    ends_at: int
    created_at: int
    created_by: str
    """Name of the admin."""


class Bookings:
    """All bookings that have not ended. Never changed."""

    __slots__ = ("_all",)

    def __init__(self, bookings: Iterable[Booking] = ()) -> None:
        self._all = sorted(bookings, key=lambda each: (each.starts_at, each.id))

    def __bool__(self) -> bool:
        return bool(self._all)

    def closed_to(self, user: str, timeout_seconds: int, now: int) -> frozenset[str]:
        """Return the UUIDs of GPUs on which a task may not start now.

        `timeout_seconds`: its time limit; 0 if it has none.
        """
        until = now + timeout_seconds * 1000 + MARGIN_MS if timeout_seconds else None
        return frozenset(
            uuid
            for each in self._all
            if each.user != user
            and now < each.ends_at
            and (until is None or until > each.starts_at)
            for uuid in each.gpu_uuids
        )

    def closed_to_task(self, task: Task, now: int) -> frozenset[str]:
        if not self._all or not task.spec.gpu:
            return NONE
        return self.closed_to(task.user, task.spec.timeout_seconds, now)

    def of_user(self, user: str, now: int) -> frozenset[str]:
        """Return the UUIDs of the GPUs that are the user's now."""
        return frozenset(u for b in self.begun(now) if b.user == user for u in b.gpu_uuids)

    @property
    def users(self) -> frozenset[str]:
        """Names of the users with a booking."""
        return frozenset(each.user for each in self._all)

    def ends(self, now: int) -> list[int]:
        """Return when the bookings end that have not ended."""
        return [each.ends_at for each in self._all if now < each.ends_at]

    def without_ended(self, now: int) -> "Bookings":
        if all(now < each.ends_at for each in self._all):
            return self
        return Bookings(each for each in self._all if now < each.ends_at)

    def begun(self, now: int) -> list[Booking]:
        return [each for each in self._all if each.starts_at <= now < each.ends_at]

    def on(self, uuids: Iterable[str], now: int) -> list[Booking]:
        """Return the bookings of any of these GPUs that have not ended, the first one first."""
        wanted = frozenset(uuids)
        return [b for b in self._all if now < b.ends_at and not wanted.isdisjoint(b.gpu_uuids)]

    def next_change(self, now: int) -> int | None:
        """Return when the next booking begins or ends; `None` if none does."""
        times = (time for each in self._all for time in (each.starts_at, each.ends_at))
        return min((time for time in times if time > now), default=None)


MOST_BOOKINGS = 200
"""Bookings that have not ended."""
LONGEST_MS = 31 * 86_400_000
AHEAD_MS = 366 * 86_400_000
"""Longest time before a booking begins."""
PAST_MS = 60_000
"""A begin that is past by at most this much counts as now: clocks differ."""
MOST_GPUS = 1024

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


class BookingRequest(msgspec.Struct, frozen=True):
    """A request in JSON. `None`: not in the request."""

    user_id: UserName
    ends_at: Time
    starts_at: Time | None = None
    gpu_uuids: Annotated[tuple[Id, ...], Meta(min_length=1, max_length=MAX_ITEMS)] = ()
    gpu: Annotated[int, Meta(ge=1, le=MOST_GPUS)] | None = None


def read(
    fields: Mapping[str, object], now: int, uuids: Iterable[str]
) -> tuple[NewBooking | None, list[Violation]]:
    """Return the requested booking, or the violations. `uuids`: those of the host's GPUs."""
    asked, wrong = checks.read(fields, BookingRequest)
    if asked is None:
        return None, wrong
    starts_at = now if asked.starts_at is None else milliseconds(asked.starts_at) or 0
    new = NewBooking(
        asked.user_id,
        max(starts_at, now),
        milliseconds(asked.ends_at) or 0,
        asked.gpu_uuids,
        asked.gpu or 0,
    )
    return new, [*_times(new, starts_at, now), *_gpus(new, frozenset(uuids))]


def _times(new: NewBooking, starts_at: int, now: int) -> Iterable[Violation]:
    if starts_at < now - PAST_MS:
        yield Violation("starts_at", "must not be in the past")
    elif starts_at > now + AHEAD_MS:
        yield Violation("starts_at", "must be within the next 366 days")
    if new.ends_at <= new.starts_at:
        yield Violation("ends_at", "must be after starts_at, and in the future")
    elif new.ends_at - new.starts_at > LONGEST_MS:
        yield Violation("ends_at", "must be at most 31 days after starts_at")


def _gpus(new: NewBooking, uuids: frozenset[str]) -> Iterable[Violation]:
    if bool(new.gpu_uuids) == bool(new.gpu):
        yield Violation("gpu_uuids", "must name GPUs, or gpu must be their number: one of both")
    elif len(set(new.gpu_uuids)) < len(new.gpu_uuids):
        yield Violation("gpu_uuids", "must not name a GPU twice")
    elif unknown := [uuid for uuid in new.gpu_uuids if uuid not in uuids]:
        yield Violation("gpu_uuids", f"GPU {unknown[0][:96]!r} not found")
    elif new.gpu > len(uuids):
        yield Violation("gpu", f"requests {new.gpu}, but this host has {len(uuids)}")


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
