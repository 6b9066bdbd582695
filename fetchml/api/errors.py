"""What a failed request answers over HTTP: the contract's ErrorResponse, whatever went wrong."""

from typing import ClassVar

import msgspec

from fetchml.errors import BadRequest, RateLimited, RequestError, Unauthorized

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
    if isinstance(error, RateLimited):
        return {"Retry-After": str(error.retry_after)}
    if isinstance(error, MethodNotAllowed):
        return {"Allow": error.allowed}
    if isinstance(error, Unauthorized):
        return {"WWW-Authenticate": 'ApiKey realm="fetchml"'}
    return {}
