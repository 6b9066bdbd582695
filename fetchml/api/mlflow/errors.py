"""Errors of the MLflow protocol: `{"error_code", "message"}`.

MLflow's clients repeat a request for minutes after 408, 429 and most of 5xx, so a fault that
remains has another status.
"""

import msgspec

from fetchml.api.http.errors import MAX_MESSAGE_CHARACTERS, ErrorForm, HttpBadRequest, status_of
from fetchml.errors import (
    Conflict,
    Forbidden,
    NotFound,
    RateLimited,
    RequestError,
    StorageQuotaReached,
    Unauthorized,
    Unavailable,
    ValidationFailed,
)


class AlreadyExists(HttpBadRequest):
    """The name of an experiment is taken."""

    status = 400


class EndpointNotFound(NotFound):
    """The server does not have this part of the protocol."""


class NotImplementedHere(HttpBadRequest):
    """Clients use a simpler way instead."""

    status = 501


_CODES: dict[type[RequestError], tuple[str, int]] = {
    AlreadyExists: ("RESOURCE_ALREADY_EXISTS", 400),
    NotImplementedHere: ("NOT_IMPLEMENTED", 501),
    EndpointNotFound: ("ENDPOINT_NOT_FOUND", 404),
    NotFound: ("RESOURCE_DOES_NOT_EXIST", 404),
    Unauthorized: ("UNAUTHENTICATED", 401),
    Forbidden: ("PERMISSION_DENIED", 403),
    Conflict: ("RESOURCE_CONFLICT", 409),
    StorageQuotaReached: ("QUOTA_EXCEEDED", 403),
    RateLimited: ("REQUEST_LIMIT_EXCEEDED", 429),
    Unavailable: ("TEMPORARILY_UNAVAILABLE", 503),
    ValidationFailed: ("INVALID_PARAMETER_VALUE", 400),
}


def _code_and_status(error: RequestError) -> tuple[str, int]:
    for kind in type(error).__mro__:
        if kind in _CODES:
            return _CODES[kind]
    status = status_of(error)
    return ("INTERNAL_ERROR" if status == 500 else "INVALID_PARAMETER_VALUE"), status


def _status_of(error: RequestError) -> int:
    return _code_and_status(error)[1]


def _body(error: RequestError, trace_id: str) -> bytes:
    message = error.message[:MAX_MESSAGE_CHARACTERS].encode("utf-8", "replace").decode("utf-8")
    code, _ = _code_and_status(error)
    return msgspec.json.encode({"error_code": code, "message": message, "trace_id": trace_id})


MLFLOW = ErrorForm(_status_of, _body)
