"""The calls for bookings of GPUs."""

from collections.abc import Sequence
from datetime import datetime

from fetchml.client import booking_rpcs
from fetchml.client.aio.env import AsyncEnvironments
from fetchml.v1.gpu_pb2 import Booking


class AsyncBookings(AsyncEnvironments):
    async def reserve(
        self,
        user: str,
        *,
        until: datetime,
        since: datetime | None = None,
        gpu_uuids: Sequence[str] = (),
        gpu: int | None = None,
    ) -> Booking:
        """Reserve GPUs for a user: these, or `gpu` of them that the server chooses. For admins.

        Times need a time zone; without `since` it begins now.
        """
        return await self.call(booking_rpcs.create_booking(user, since, until, gpu_uuids, gpu))

    async def reservations(self) -> Sequence[Booking]:
        """Return the reservations that have not ended, in the order of their begin."""
        return (await self.call(booking_rpcs.list_bookings())).bookings

    async def remove_reservation(self, booking_id: str) -> None:
        """Remove a reservation, also one that has begun. For admins."""
        await self.call(booking_rpcs.delete_booking(booking_id))
