"""How a call fails: one class for each code of the contract, with all that the server has told."""

from collections.abc import Iterable
from typing import Any, ClassVar, NamedTuple

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

DOMAIN = "fetchml"


class SetupError(ValueError):
    """No client can be made from what was given: the address, the key, or a file for TLS."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class BadKey(SetupError):
    """What was given as the API key can be none."""


class BadFolder(Exception):
    """A folder that can't be kept as a snapshot."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class FieldViolation(NamedTuple):
    field: str
    rule: str


class CallError(Exception):
    """Base of all failed calls."""

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
        """Which fields of the request break which rule."""
        self.trace_id = trace_id
        """The request's id in the server's log. None: no server of FetchML has answered."""
        self.retry_after = retry_after
        """Seconds that the server asks to wait."""


class InternalError(CallError):
    """The server failed, or the call did in a way that nothing tells of."""


class BadRequest(CallError):
    """The request can't be read."""

    code = "BAD_REQUEST"


class ValidationFailed(BadRequest):
    """The request breaks a rule: `violations` has the fields."""

    code = "VALIDATION_ERROR"


class Unauthorized(CallError):
    """The API key is missing or wrong."""

    code = "UNAUTHORIZED"


class Forbidden(CallError):
    """The key's role does not allow it."""

    code = "FORBIDDEN"


class NotFound(CallError):
    """Nothing has that id."""

    code = "NOT_FOUND"


class Conflict(CallError):
    """It does not fit the state of what it is about."""

    code = "CONFLICT"


class RateLimited(CallError):
    """Too many requests, or streams: nothing was done."""

    code = "RATE_LIMITED"


class Unavailable(CallError):
    """The server can't do it now. Whether it was done is not known."""

    code = "SERVICE_UNAVAILABLE"


class Unreachable(Unavailable):
    """No server has answered."""


class DeadlineExceeded(Unavailable):
    """No answer came in time."""


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
"""For what does not come from the server itself: from gRPC, or from a proxy before it."""


def call_error(error: Any, server: str) -> CallError:
    """What a grpc.RpcError tells. `server`: the address, for people."""
    said = error.details() or ""
    told = _details(error.trailing_metadata() or ())
    info = next((each for each in told if isinstance(each, error_details_pb2.ErrorInfo)), None)
    if info is None or info.domain != DOMAIN:
        failed = _not_ours(error.code(), said, server)
    else:
        failed = _BY_CODE.get(info.reason, InternalError)(
            said, trace_id=info.metadata.get("trace_id")
        )
    for each in told:
        if isinstance(each, error_details_pb2.BadRequest):
            failed.violations = tuple(
                FieldViolation(found.field, found.description) for found in each.field_violations
            )
        elif isinstance(each, error_details_pb2.RetryInfo):
            failed.retry_after = each.retry_delay.ToMilliseconds() / 1000
    failed.__cause__ = error
    return failed


def _not_ours(status: grpc.StatusCode, said: str, server: str) -> CallError:
    kind = _BY_STATUS.get(status)
    if kind is RateLimited and "larger than max" in said:
        return BadRequest(said)  # the message's size; it will not shrink
    if kind is RateLimited and "Concurrent RPC limit" in said:
        return RateLimited("The server has as many calls open as it takes: try again later")
    if kind is Unreachable or (status == grpc.StatusCode.INTERNAL and "RST_STREAM" in said):
        return Unreachable(f"Cannot reach a server at {server}")
    if kind is DeadlineExceeded:
        return DeadlineExceeded(f"The server at {server} did not answer in time")
    if kind is None:
        return InternalError(f"{said or 'The call failed'} ({status.name})")
    return kind(said)


def _details(metadata: Iterable[tuple[str, str | bytes]]) -> list[Message]:
    """Those that are known of the google.rpc details in a call's trailers."""
    found: list[Message] = []
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
                        found.append(message)
        except DecodeError:
            continue
    return found
