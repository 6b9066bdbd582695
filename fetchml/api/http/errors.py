"""HTTP replies of failed requests: always the contract's ErrorResponse (contract reading 31)."""

from collections.abc import Callable
from http import HTTPStatus
from typing import ClassVar, NamedTuple

import msgspec

from fetchml.errors import BadRequest, Overloaded, RateLimited, RequestError, Unauthorized

SERVER = "fetchml"
MAX_MESSAGE_CHARACTERS = 4000

_STATUS = {
    "BAD_REQUEST": 400,
    "UNAUTHORIZED": 401,
    "FORBIDDEN": 403,
    "NOT_FOUND": 404,
    "CONFLICT": 409,
    "VALIDATION_ERROR": 422,
    "RATE_LIMITED": 429,
    "INTERNAL_ERROR": 500,
    "SERVICE_UNAVAILABLE": 503,
}


class HttpBadRequest(BadRequest):
    """A bad request with its own HTTP status. The contract defines no error code for these."""

    status: ClassVar[int]


class MethodNotAllowed(HttpBadRequest):
    """The path exists, but not with this method."""

    status = 405

    def __init__(self, method: str, allowed: str) -> None:
        super().__init__(f"{method[:32]} is not allowed for this path: use {allowed}")
        self.allowed = allowed


class BadlyEncodedBody(HttpBadRequest):
    """The body's encoding is malformed, so that its end is not known."""

    status = 400

    def __init__(self) -> None:
        super().__init__("The body's encoding does not match its headers")


class BodyTimeout(HttpBadRequest):
    """The body, or its next piece, did not arrive in time."""

    status = 408

    def __init__(self, seconds: float) -> None:
        super().__init__(f"The body timed out after {seconds:g} s")


class BodyTooLarge(HttpBadRequest):
    """The body exceeds the limit in bytes."""

    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body is larger than {limit} bytes")


class RangeNotSatisfiable(HttpBadRequest):
    """The file has no byte of the requested range."""

    status = 416

    def __init__(self, size: int) -> None:
        super().__init__(f"Range: the file has only {size} bytes")
        self.size = size


class InternalError(RequestError):
    """A fault of the server. Clients get no details; the log has them."""

    code = "INTERNAL_ERROR"

    def __init__(self) -> None:
        super().__init__("An error occurred")


def status_of(error: RequestError) -> int:
    """Return the error's HTTP status."""
    return error.status if isinstance(error, HttpBadRequest) else _STATUS[error.code]


def error_body(error: RequestError, trace_id: str) -> bytes:
    """Return the contract's ErrorResponse as JSON."""
    # A message may quote characters of the request that UTF-8 cannot encode.
    message = error.message[:MAX_MESSAGE_CHARACTERS].encode("utf-8", "replace").decode("utf-8")
    return msgspec.json.encode({"error": message, "code": error.code, "trace_id": trace_id})


class ErrorForm(NamedTuple):
    """How a protocol reports errors."""

    status_of: Callable[[RequestError], int]
    body: Callable[[RequestError, str], bytes]
    """A function of the error and the trace id."""


CONTRACT = ErrorForm(status_of, error_body)


def error_headers(error: RequestError) -> dict[str, str]:
    """Return the headers that this kind of error requires."""
    if isinstance(error, (RateLimited, Overloaded)):
        return {"Retry-After": str(error.retry_after)}
    if isinstance(error, RangeNotSatisfiable):
        return {"Content-Range": f"bytes */{error.size}"}
    if isinstance(error, MethodNotAllowed):
        return {"Allow": error.allowed}
    if isinstance(error, Unauthorized):
        return {"WWW-Authenticate": 'ApiKey realm="fetchml"'}
    return {}


def raw_reply(error: RequestError, trace_id: str) -> bytes:
    """Return a complete HTTP reply for a connection that closes without a valid request."""
    status = HTTPStatus(status_of(error))
    body = error_body(error, trace_id)
    headers = {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
        "Server": SERVER,
        **error_headers(error),
    }
    lines = [f"HTTP/1.1 {status.value} {status.phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body
