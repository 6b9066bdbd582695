"""Queries of ListTasks: filters, and pagination by offset or by token."""

import base64
import binascii
import struct
import zlib
from typing import NamedTuple
from uuid import UUID

from fetchml.api.task_messages import states_of, wants_full
from fetchml.core.model import Task
from fetchml.core.requests.paging import (
    DEFAULT_LIMIT,
    MAX_OFFSET,
    STATUS_FILTER,
    range_fault,
)
from fetchml.errors import BadRequest
from fetchml.ports.store import TaskQuery
from fetchml.v1 import task_pb2

_TOKEN = struct.Struct(">q16sI")
"""The last task's `created_at` and id, and a checksum of the filters."""


class Listing(NamedTuple):
    """A validated ListTasks request."""

    query: TaskQuery
    """With a page token it requests one extra task, which shows whether there is a next page."""
    size: int
    """Largest number of tasks in the page."""
    by_token: bool
    impossible: bool
    """`status` and `states` exclude each other: no task can match."""


def listing(request: task_pb2.ListTasksRequest) -> Listing:
    """Validate the request (contract readings 1 and 15). Raises BadRequest."""
    by_token = bool(request.page_size or request.page_token)
    if by_token and (request.HasField("limit") or request.HasField("offset")):
        raise BadRequest("Use limit and offset, or page_size and page_token, not both")
    states = states_of(request.states)
    impossible = False
    if request.HasField("status"):
        (status,) = states_of([request.status], "status")
        if status not in STATUS_FILTER:
            known = ", ".join(STATUS_FILTER)
            raise BadRequest(f"status: must be one of {known}; use states for {status}")
        impossible = bool(states) and status not in states
        states = (status,)
    if by_token:
        limit, offset = request.page_size or DEFAULT_LIMIT, 0
        faults = [range_fault("page_size", limit, least=1)]
    else:
        limit = request.limit if request.HasField("limit") else DEFAULT_LIMIT
        offset = request.offset
        faults = [range_fault("limit", limit), range_fault("offset", offset, most=MAX_OFFSET)]
    for fault in filter(None, faults):
        raise BadRequest(fault)
    query = TaskQuery(
        states=states,
        user=request.user_id or None,
        job_name_prefix=request.job_name_prefix or None,
        experiment_id=request.experiment_id or None,
        limit=limit + by_token,
        offset=offset,
        before=_decode_token(request) if request.page_token else None,
        brief=not wants_full(request.view),
    )
    return Listing(query, limit, by_token, impossible)


def page_token(request: task_pb2.ListTasksRequest, last: Task) -> str:
    """Return the token of the page after `last`. Tasks created later do not shift that page."""
    packed = _TOKEN.pack(last.created_at, UUID(last.id).bytes, _filter_checksum(request))
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def _decode_token(request: task_pb2.ListTasksRequest) -> tuple[int, str]:
    """Return the last task's `created_at` and id. Raises BadRequest."""
    token = request.page_token
    try:
        packed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        created_at, task_id, filters = _TOKEN.unpack(packed)
    except (binascii.Error, ValueError, struct.error):
        raise BadRequest("page_token: is not valid; start again without it") from None
    if filters != _filter_checksum(request):
        raise BadRequest("page_token: belongs to other filters; start again without it")
    return created_at, str(UUID(bytes=task_id))


def _filter_checksum(request: task_pb2.ListTasksRequest) -> int:
    filters = task_pb2.ListTasksRequest()
    filters.CopyFrom(request)
    for paging in ("page_size", "page_token", "view"):
        filters.ClearField(paging)
    return zlib.crc32(filters.SerializeToString(deterministic=True))
