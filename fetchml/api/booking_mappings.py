"""Bookings of GPUs, in JSON and as messages."""

from typing import Any

from fetchml.api.mapping import Field, Mapping
from fetchml.api.task_messages import time_text
from fetchml.core.bookings.closed_gpus import Booking
from fetchml.core.requests.checks import MAX_ITEMS
from fetchml.v1 import gpu_pb2

BOOKING: Mapping[Booking, gpu_pb2.Booking] = Mapping(
    gpu_pb2.Booking,
    Field("user_id", "user", keep_empty=False),
    Field("created_by", keep_empty=False),
)


def booking_fields(request: gpu_pb2.CreateBookingRequest) -> dict[str, Any]:
    """Return the fields of a request as those of a REST body."""
    fields: dict[str, Any] = {}
    if request.user_id:
        fields["user_id"] = request.user_id
    for name in ("starts_at", "ends_at"):
        if request.HasField(name):
            fields[name] = time_text(getattr(request, name))
    if request.gpu_uuids:
        fields["gpu_uuids"] = list(request.gpu_uuids[: MAX_ITEMS + 1])
    if request.HasField("gpu"):
        fields["gpu"] = request.gpu
    return fields
