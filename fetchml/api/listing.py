"""Lists of tasks: filters, and pagination by offset or by token, for REST and gRPC alike."""

import base64
import binascii
import struct
import zlib
from typing import NamedTuple
from uuid import UUID

import msgspec

from fetchml.core.model import Status, Task
from fetchml.core.requests import listing as rules
from fetchml.core.requests.listing import (
    DEFAULT_LIMIT,
    STATUS_FILTER,
    Filters,
    page_fault,
    range_fault,
)
from fetchml.errors import BadRequest
from fetchml.ports.store import TaskPage, TaskQuery

_TOKEN = struct.Struct(">q16sI")
"""The last task's `created_at` and id, and a checksum of the filters."""

_encode = msgspec.json.Encoder().encode


class ListRequest(NamedTuple):
    """A list request as a transport has read it. `None` or empty: not in the request."""

    filters: Filters
    status: Status | None = None
    """The contract's filter: one of `STATUS_FILTER`."""
    states: tuple[Status, ...] = ()
    limit: int | None = None
    offset: int | None = None
    page_size: int = 0
    page_token: str = ""
    full: bool = False


class Listing(NamedTuple):
    """A validated list request."""

    query: TaskQuery
    """With a page token it requests one extra task, which shows whether there is a next page."""
    size: int
    """Largest number of tasks in the page."""
    by_token: bool
    impossible: bool
    """`status` and `states` exclude each other: no task can match."""
    checksum: int
    """Of the filters; a token holds it."""

    def shown(self, page: TaskPage) -> list[Task]:
        """The tasks of the page, without the extra one."""
        return page.tasks[: self.size]

    def next_token(self, page: TaskPage) -> str | None:
        """The token of the next page; `None` if there is none, or the request pages by offset.
        Tasks created later do not shift that page."""
        if not self.by_token or not (page.cut or len(page.tasks) > self.size):
            return None
        last = self.shown(page)[-1]
        packed = _TOKEN.pack(last.created_at, UUID(last.id).bytes, self.checksum)
        return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def listing(request: ListRequest) -> Listing:
    """Validate the request (contract readings 1 and 15). Raises BadRequest."""
    by_token = bool(request.page_size or request.page_token)
    if by_token and (request.limit is not None or request.offset is not None):
        raise BadRequest("Use limit and offset, or page_size and page_token, not both")
    if wrong := rules.fault(request.filters):
        raise BadRequest(f"{wrong.field}: {wrong.rule}")
    states = request.states
    impossible = False
    if (status := request.status) is not None:
        if status not in STATUS_FILTER:
            allowed = ", ".join(STATUS_FILTER)
            raise BadRequest(f"status: must be one of {allowed}; use states for {status}")
        impossible = bool(states) and status not in states
        states = (status,)
    if by_token:
        limit, offset = request.page_size or DEFAULT_LIMIT, 0
        fault = range_fault("page_size", limit, least=1)
    else:
        limit = DEFAULT_LIMIT if request.limit is None else request.limit
        offset = request.offset or 0
        fault = page_fault(limit, offset)
    if fault:
        raise BadRequest(fault)
    filters = request.filters
    checksum = _checksum(filters, states, impossible)
    query = TaskQuery(
        states=states,
        user=filters.user or None,
        job_name_prefix=filters.job_name_prefix or None,
        experiment_id=filters.experiment_id or None,
        sweep_id=filters.sweep_id or None,
        fold_sweeps=filters.fold_sweeps,
        # A list of one experiment would be one task.
        fold_experiments=filters.fold_experiments and not filters.experiment_id,
        text=filters.text or None,
        labels=tuple(rules.label(each) for each in filters.labels),
        created_after=filters.created_after,
        created_before=filters.created_before,
        id_suffix=filters.id_suffix or None,
        limit=limit + by_token,
        offset=offset,
        before=_position(request.page_token, checksum) if request.page_token else None,
        brief=not request.full,
    )
    return Listing(query, limit, by_token, impossible, checksum)


def _position(token: str, checksum: int) -> tuple[int, str]:
    """Return the last task's `created_at` and id. Raises BadRequest."""
    try:
        packed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        created_at, task_id, filters = _TOKEN.unpack(packed)
    except (binascii.Error, ValueError, struct.error):
        raise BadRequest("page_token: invalid; start again without it") from None
    if filters != checksum:
        raise BadRequest("page_token: belongs to other filters; start again without it")
    return created_at, str(UUID(bytes=task_id))


def _checksum(filters: Filters, states: tuple[Status, ...], impossible: bool) -> int:
    return zlib.crc32(_encode([sorted(set(states)), impossible, *filters]))
