"""The RPCs of bookings of GPUs, as `fetchml.client.rpcs` has those of tasks."""

from collections.abc import Sequence
from datetime import datetime

from google.protobuf.empty_pb2 import Empty

from fetchml.client.rpcs import Rpc
from fetchml.v1 import gpu_pb2
from fetchml.v1.gpu_pb2 import Booking


def create_booking(
    user: str,
    starts_at: datetime | None,
    ends_at: datetime,
    gpu_uuids: Sequence[str],
    gpu: int | None,
) -> Rpc[Booking]:
    """Raises ValueError for a value that does not fit its field."""
    request = gpu_pb2.CreateBookingRequest(
        user_id=user, starts_at=starts_at, ends_at=ends_at, gpu_uuids=gpu_uuids, gpu=gpu
    )
    return Rpc("GpuService/CreateBooking", request, Booking, repeatable=False)


def list_bookings() -> Rpc[gpu_pb2.ListBookingsResponse]:
    request = gpu_pb2.ListBookingsRequest()
    return Rpc("GpuService/ListBookings", request, gpu_pb2.ListBookingsResponse)


def delete_booking(booking_id: str) -> Rpc[Empty]:
    request = gpu_pb2.DeleteBookingRequest(booking_id=booking_id)
    return Rpc("GpuService/DeleteBooking", request, Empty, deletes=True)
