"""Statuses of failed calls: a code, and machine-readable `google.rpc` details."""

from typing import NamedTuple

from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode
from grpc_status import rpc_status

from fetchml.errors import FieldViolation, RateLimited, RequestError, ValidationFailed

DOMAIN = "fetchml"
TRACE_KEY = "x-trace-id"
MAX_MESSAGE_BYTES = 1000
MAX_VIOLATION_BYTES = 3000
"""Both together stay below the 8 KiB of metadata that clients accept, in any encoding."""

_CODES = {
    "BAD_REQUEST": StatusCode.INVALID_ARGUMENT,
    "VALIDATION_ERROR": StatusCode.INVALID_ARGUMENT,
    "UNAUTHORIZED": StatusCode.UNAUTHENTICATED,
    "FORBIDDEN": StatusCode.PERMISSION_DENIED,
    "NOT_FOUND": StatusCode.NOT_FOUND,
    "CONFLICT": StatusCode.FAILED_PRECONDITION,
    "RATE_LIMITED": StatusCode.RESOURCE_EXHAUSTED,
    "SERVICE_UNAVAILABLE": StatusCode.UNAVAILABLE,
    "INTERNAL_ERROR": StatusCode.INTERNAL,
}


class Failure(NamedTuple):
    """The arguments of `ServicerContext.abort`."""

    code: StatusCode
    message: str
    trailing_metadata: tuple[tuple[str, str | bytes], ...]


def failure(error: RequestError | None, trace_id: str) -> Failure:
    """Return the failure for an error. `None` is a fault of the server: clients get no details."""
    reason = error.code if error else "INTERNAL_ERROR"
    message = _clipped(error.message, MAX_MESSAGE_BYTES) if error else "An error occurred"
    code = _CODES[reason]
    status = status_pb2.Status(code=code.value[0], message=message)
    status.details.add().Pack(
        error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata={"trace_id": trace_id})
    )
    if isinstance(error, ValidationFailed):
        status.details.add().Pack(_violations(error.violations))
    if isinstance(error, RateLimited):
        delay = Duration(seconds=error.retry_after)
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    carried = rpc_status.to_status(status).trailing_metadata
    return Failure(code, message, (*carried, (TRACE_KEY, trace_id)))


def _violations(violations: list[FieldViolation]) -> error_details_pb2.BadRequest:
    """Return as many violations as fit: a batch can violate thousands of rules."""
    bad_request = error_details_pb2.BadRequest()
    for violation in violations:
        bad_request.field_violations.add(
            field=_clipped(violation.field, MAX_MESSAGE_BYTES),
            description=_clipped(violation.rule, MAX_MESSAGE_BYTES),
        )
        if bad_request.ByteSize() > MAX_VIOLATION_BYTES:
            del bad_request.field_violations[-1]
            break
    return bad_request


def _clipped(text: str, limit: int) -> str:
    """Cut the text to at most `limit` bytes of valid UTF-8."""
    data = text.encode("utf-8", "replace")
    if len(data) <= limit:
        return data.decode("utf-8")
    return data[: limit - 3].decode("utf-8", "ignore") + "…"
