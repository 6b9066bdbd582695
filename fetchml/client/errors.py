"""Errors of calls: one class for each code of the contract, with the server's details."""

from collections.abc import Iterable
from typing import Any, ClassVar, NamedTuple

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

DOMAIN = "fetchml"


class SetupError(ValueError):
    """The address, the API key or the TLS file of a client is invalid. `hint` is what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class BadKey(SetupError):
    """The API key contains an invalid character."""


class BadFolder(Exception):
    """A folder cannot be uploaded as a snapshot. `hint` is what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class FieldViolation(NamedTuple):
    """A field of the request, and the rule that it breaks."""

    field: str
    rule: str


class CallError(Exception):
    """Base class of all errors of calls."""

    code: ClassVar[str] = "INTERNAL_ERROR"
    """The contract's `ErrorResponse.code`."""

    def __init__(
        self,
        message: str,
        *,
        violations: tuple[FieldViolation, ...] = (),
        trace_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.violations = violations
        """The fields of the request that break a rule."""
        self.trace_id = trace_id
        """The request's id in the server's log; `None` if no FetchML server answered."""
        self.retry_after = retry_after
        """Seconds to wait before a retry; `None` if the server names none."""


class InternalError(CallError):
    """The server failed, or the call failed for an unknown reason."""


class BadRequest(CallError):
    """The request cannot be read."""

    code = "BAD_REQUEST"


class ValidationFailed(BadRequest):
    """The request breaks a rule; `violations` lists the fields."""

    code = "VALIDATION_ERROR"


class Unauthorized(CallError):
    """The API key is missing or wrong."""

    code = "UNAUTHORIZED"


class Forbidden(CallError):
    """The key's role does not permit the call."""

    code = "FORBIDDEN"


class NotFound(CallError):
    """No resource has that id."""

    code = "NOT_FOUND"


class Conflict(CallError):
    """The state of the resource does not allow the call."""

    code = "CONFLICT"


class RateLimited(CallError):
    """There are too many requests or streams. Nothing was done."""

    code = "RATE_LIMITED"


class Unavailable(CallError):
    """The server cannot answer now. The call may have taken effect."""

    code = "SERVICE_UNAVAILABLE"


class Unreachable(Unavailable):
    """No server answered."""


class DeadlineExceeded(Unavailable):
    """No answer arrived in time."""


_BY_CODE: dict[str, type[CallError]] = {
    kind.code: kind
    for kind in (
        InternalError, BadRequest, ValidationFailed, Unauthorized, Forbidden, NotFound, Conflict,
        RateLimited, Unavailable,
    )
}  # fmt: skip

_BY_STATUS: dict[grpc.StatusCode, type[CallError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: BadRequest,
    grpc.StatusCode.UNAUTHENTICATED: Unauthorized,
    grpc.StatusCode.PERMISSION_DENIED: Forbidden,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.FAILED_PRECONDITION: Conflict,
    grpc.StatusCode.RESOURCE_EXHAUSTED: RateLimited,
    grpc.StatusCode.UNAVAILABLE: Unreachable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
}
"""The classes of errors that gRPC itself or a proxy reports."""


def call_error(error: Any, server: str) -> CallError:
    """Convert a grpc.RpcError. `server` is the address that messages name."""
    text = error.details() or ""
    details = _details(error.trailing_metadata() or ())
    info = next((each for each in details if isinstance(each, error_details_pb2.ErrorInfo)), None)
    if info is None or info.domain != DOMAIN:
        failed = _foreign_error(error.code(), text, server)
    else:
        failed = _BY_CODE.get(info.reason, InternalError)(
            text, trace_id=info.metadata.get("trace_id")
        )
    for each in details:
        if isinstance(each, error_details_pb2.BadRequest):
            failed.violations = tuple(
                FieldViolation(violation.field, violation.description)
                for violation in each.field_violations
            )
        elif isinstance(each, error_details_pb2.RetryInfo):
            failed.retry_after = each.retry_delay.ToMilliseconds() / 1000
    failed.__cause__ = error
    return failed


def _foreign_error(status: grpc.StatusCode, text: str, server: str) -> CallError:
    """Return an error that did not come from a FetchML server."""
    kind = _BY_STATUS.get(status)
    if kind is RateLimited and "larger than max" in text:
        return BadRequest(text)  # the message is too large: a retry would fail again
    if kind is RateLimited and "Concurrent RPC limit" in text:
        return RateLimited("Server limit of open calls reached: try again later")
    if kind is Unreachable or (status == grpc.StatusCode.INTERNAL and "RST_STREAM" in text):
        if server.startswith("unix:"):  # Its path leads through a descriptor: it means nothing.
            return Unreachable("Cannot reach the server on this machine")
        return Unreachable(f"Cannot reach a server at {server}")
    if kind is DeadlineExceeded:
        return DeadlineExceeded(f"Timed out: no response from the server at {server}")
    if kind is None:
        return InternalError(f"{text or 'The call failed'} ({status.name})")
    return kind(text)


def _details(metadata: Iterable[tuple[str, str | bytes]]) -> list[Message]:
    """Return the google.rpc details of known types in a call's trailers."""
    messages: list[Message] = []
    for name, value in metadata:
        if name != "grpc-status-details-bin" or not isinstance(value, bytes):
            continue
        try:
            for packed in status_pb2.Status.FromString(value).details:
                for kind in (
                    error_details_pb2.ErrorInfo,
                    error_details_pb2.BadRequest,
                    error_details_pb2.RetryInfo,
                ):
                    message = kind()
                    if packed.Unpack(message):
                        messages.append(message)
        except DecodeError:
            continue
    return messages
