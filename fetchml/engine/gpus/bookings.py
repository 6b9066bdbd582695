"""Bookings of GPUs: kept in the store, and reported to the core."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from fetchml.attempts.hosts import TaskHost
from fetchml.auth.audit import Audit
from fetchml.core import permissions
from fetchml.core.audit import Action
from fetchml.core.bookings import booking
from fetchml.core.bookings.booking import Booking
from fetchml.core.events import BookingsChanged, Event
from fetchml.core.model import Principal
from fetchml.core.permissions import AdminOnly
from fetchml.core.state import State
from fetchml.errors import (
    Conflict,
    DiskFull,
    FieldViolation,
    NotFound,
    ValidationFailed,
    forbid,
)
from fetchml.ports.store import Store
from fetchml.records import RecordSet
from fetchml.system import failpoints
from fetchml.system.ids import IdSequence

KIND = "booking"


class BookingCounts(NamedTuple):
    """Of all users together."""

    bookings: int
    """Those that have not ended."""
    active: int
    """Those that have begun."""


class GpuBookings:
    """Used from one event loop. Verbs raise `errors.RequestError`."""

    def __init__(
        self,
        store: Store,
        state: State,
        audit: Audit,
        host: TaskHost,
        *,
        report: Callable[[Event], asyncio.Future[None]],
        clock: Callable[[], int],
        private: bool,
    ) -> None:
        """`report`: takes events to the core."""
        self._records = RecordSet(store, KIND, Booking, lambda each: each.id)
        self._store = store
        self._state = state
        self._audit = audit
        self._host = host
        self._report = report
        self._clock = clock
        self._ids = IdSequence()
        self._private = private

    async def load(self) -> None:
        """Report what is stored to the core. Before anything may start."""
        await self._records.load(self._unless_ended)
        if len(self._records):
            await self._tell()

    def list(self, who: Principal) -> Sequence[Booking]:
        """All that have not ended, in the order of their begin. A private server hides the names of
        other users."""
        now = self._clock()
        live = [each for each in self._records if now < each.ends_at]
        live.sort(key=lambda each: (each.starts_at, each.id))
        return [self._shown(who, each) for each in live]

    def counts(self) -> BookingCounts:
        now = self._clock()
        live = [each for each in self._records if now < each.ends_at]
        return BookingCounts(len(live), sum(each.starts_at <= now for each in live))

    async def create(self, who: Principal, fields: Mapping[str, object]) -> Booking:
        """Durable on return. Raises Forbidden if the caller is no admin, ValidationFailed,
        Conflict."""
        self._require_admin(who)
        return await self._records.change(self._create, who, fields)

    async def delete(self, who: Principal, booking_id: str) -> None:
        """Durable on return. Raises Forbidden if the caller is no admin, NotFound."""
        self._require_admin(who)
        await self._records.change(self._delete, who, booking_id)

    def _shown(self, who: Principal, booking: Booking) -> Booking:
        if permissions.may_see(who, booking, private=self._private):
            return booking
        return replace(booking, user="", created_by="")

    def _require_admin(self, who: Principal) -> None:
        forbid(permissions.refusal(who, AdminOnly.BOOKINGS) or self._host.booking_refusal)

    async def _create(self, who: Principal, fields: Mapping[str, object]) -> Booking:
        now = self._clock()
        new, wrong = booking.read(fields, now, self._state.gpus.inventory)
        if new is None or wrong:
            raise ValidationFailed([FieldViolation(*violation) for violation in wrong])
        if not self._store.has_room():
            raise DiskFull
        for each in [each for each in self._records if each.ends_at <= now]:
            await self._records.remove(each.id)
        if len(self._records) >= booking.MOST_BOOKINGS:
            raise Conflict(f"Limit of {booking.MOST_BOOKINGS} reservations reached: remove some")
        # GPUs out of order last: they may be back by then.
        pool = self._state.gpus
        usable = [*pool.usable()]
        best = sorted(pool.in_order(), key=lambda uuid: uuid not in usable)
        chosen = booking.choose(new, self._records, best)
        if isinstance(chosen, Booking):
            raise Conflict(f"One of these GPUs is reserved for {chosen.user} at that time already")
        if chosen is None:
            gpus = "1 GPU" if new.gpu == 1 else f"{new.gpu} GPUs"
            raise Conflict(f"{gpus} can't be reserved: {booking.NO_ROOM}")
        made = Booking(
            self._ids.next(now), new.user, chosen, new.starts_at, new.ends_at, now, who.user
        )
        await self._records.put(made)
        failpoints.reach("booking_stored")
        await self._tell()
        failpoints.reach("booking_reported")
        detail = f"{made.user}: {', '.join(made.gpu_uuids)}"
        await self._audit.done(who, Action.BOOKING_CREATE, made.id, detail)
        return made

    async def _delete(self, who: Principal, booking_id: str) -> None:
        found = self._records.get(booking_id)
        if found is None or found.ends_at <= self._clock():
            raise NotFound(f"Reservation {booking_id[:64]!r} not found")
        await self._records.remove(booking_id)
        failpoints.reach("booking_removed")
        await self._tell()
        await self._audit.done(who, Action.BOOKING_DELETE, booking_id, found.user)

    async def _unless_ended(self, booking: Booking) -> Booking | None:
        return booking if self._clock() < booking.ends_at else None

    async def _tell(self) -> None:
        await self._report(BookingsChanged(self._clock(), list(self._records)))
