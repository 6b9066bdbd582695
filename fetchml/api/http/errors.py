"""What a failed request answers over HTTP: the contract's ErrorResponse, whatever went wrong."""

from http import HTTPStatus
from typing import ClassVar

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


class Unreadable(BadRequest):
    """A bad request that has a status of its own in HTTP. The contract has no code for these."""

    status: ClassVar[int]


class MethodNotAllowed(Unreadable):
    status = 405

    def __init__(self, method: str, allowed: str) -> None:
        super().__init__(f"{method[:32]} is not possible here: use {allowed}")
        self.allowed = allowed


class BodyTimeout(Unreadable):
    status = 408

    def __init__(self, seconds: float) -> None:
        super().__init__(f"The body did not arrive within {seconds:g} s")


class BodyTooLarge(Unreadable):
    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body is larger than {limit} bytes")


class HeadTooLarge(Unreadable):
    status = 400  # as for one line that is too long

    def __init__(self, limit: int) -> None:
        super().__init__(f"The request line and the headers are larger than {limit} bytes")


class HeadTimeout(Unreadable):
    status = 408

    def __init__(self, seconds: float) -> None:
        super().__init__(f"The request line and the headers did not arrive within {seconds:g} s")


class Internal(RequestError):
    """Something went wrong that clients are told nothing about; the log has it."""

    code = "INTERNAL_ERROR"

    def __init__(self) -> None:
        super().__init__("An error occurred")


def status_of(error: RequestError) -> int:
    return error.status if isinstance(error, Unreadable) else _STATUS[error.code]


def error_body(error: RequestError, trace_id: str) -> bytes:
    # A message may quote the request, with characters that UTF-8 can't hold.
    message = error.message[:MAX_MESSAGE_CHARACTERS].encode("utf-8", "replace").decode("utf-8")
    return msgspec.json.encode({"error": message, "code": error.code, "trace_id": trace_id})


def error_headers(error: RequestError) -> dict[str, str]:
    """The headers that belong to the error itself."""
    if isinstance(error, (RateLimited, Overloaded)):
        return {"Retry-After": str(error.retry_after)}
    if isinstance(error, MethodNotAllowed):
        return {"Allow": error.allowed}
    if isinstance(error, Unauthorized):
        return {"WWW-Authenticate": 'ApiKey realm="fetchml"'}
    return {}


def raw_reply(error: RequestError, trace_id: str) -> bytes:
    """A whole HTTP reply, for a connection that never got as far as a request; it is the last."""
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
