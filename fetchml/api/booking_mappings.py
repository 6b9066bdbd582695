"""The fields that REST and gRPC show of bookings of GPUs."""

from collections.abc import Sequence

from fetchml.api.mapping import Field, LongRows, Mapping
from fetchml.core.bookings.booking import Booking
from fetchml.v1 import gpu_pb2

BOOKING: Mapping[Booking, gpu_pb2.Booking] = Mapping(
    gpu_pb2.Booking,
    Field("user_id", "user", keep_empty=False),
    Field("created_by", keep_empty=False),
)

BOOKINGS: Mapping[Sequence[Booking], gpu_pb2.ListBookingsResponse] = Mapping(
    gpu_pb2.ListBookingsResponse, LongRows("bookings", BOOKING, lambda found: found)
)
