"""Bookings: GPUs that only one user's tasks may use for a time.

During a booking its GPUs go to tasks of its user only. Before it begins, a task of another user
starts on them only if it has to end in time: if it has a time limit that ends before the booking.

A task that still runs there when the booking begins goes on, since nobody promised its owner less.
It is preempted if it is `preemptible` and the server preempts (`core.bookings.running_tasks`).
"""

from collections.abc import Iterable

from fetchml.core.model import Task, Value

MARGIN_MS = 120_000
"""Time that a task is granted beside its time limit: to be prepared, and to be stopped."""
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
