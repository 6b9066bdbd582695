"""Errors of requests: raised by the engine, mapped to replies by the transports.

The message is for the client: it names the problem and the remedy, and holds no secret.
"""

from typing import ClassVar, NamedTuple


class RequestError(Exception):
    """Base of all errors that clients may see."""

    code: ClassVar[str]
    """The contract's `ErrorResponse.code`."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class BadRequest(RequestError):
    """The request cannot be read: not JSON, a bad query, a body too large."""

    code = "BAD_REQUEST"


class FieldViolation(NamedTuple):
    field: str
    rule: str


MAX_VIOLATIONS = 100
"""Violations that one answer lists: a batch can break thousands of rules."""


class ValidationFailed(RequestError):
    """The request is well-formed but breaks a rule."""

    code = "VALIDATION_ERROR"

    def __init__(self, violations: list[FieldViolation]) -> None:
        super().__init__("; ".join(f"{v.field}: {v.rule}" for v in violations))
        self.violations = violations


class Unauthorized(RequestError):
    code = "UNAUTHORIZED"

    def __init__(self, message: str = "Invalid or missing API key") -> None:
        super().__init__(message)


class Forbidden(RequestError):
    code = "FORBIDDEN"


def forbid(refusal: str | None) -> None:
    """Raise Forbidden with the refusal, if there is one."""
    if refusal is not None:
        raise Forbidden(refusal)


class NotFound(RequestError):
    code = "NOT_FOUND"


class Conflict(RequestError):
    code = "CONFLICT"


class RateLimited(RequestError):
    code = "RATE_LIMITED"

    def __init__(
        self, retry_after: int, limit: int | None = None, message: str | None = None
    ) -> None:
        super().__init__(message or f"Rate limit exceeded: try again in {retry_after} s")
        self.retry_after = retry_after
        """Whole seconds, at least 1."""
        self.limit = limit
        """Requests that the key may make at once; `None` if the limit is not that of a key."""


class TooManyStreams(RateLimited):
    """The caller has as many open streams (watches, followed logs, downloads) as allowed."""

    RETRY_AFTER = 10

    def __init__(self, per_caller: int) -> None:
        message = f"Limit of {per_caller} open streams reached: close some"
        super().__init__(self.RETRY_AFTER, message=message)


class TooManyConnections(RateLimited):
    """The address has as many open connections as allowed."""

    RETRY_AFTER = 10

    def __init__(self, per_address: int) -> None:
        message = f"Limit of {per_address} connections per address reached: close some"
        super().__init__(self.RETRY_AFTER, message=message)


class TooManyBytes(RateLimited):
    """The caller occupies as many bytes of the server's memory as allowed."""

    RETRY_AFTER = 5

    def __init__(self, what: str, per_caller: int) -> None:
        message = f"Limit of {per_caller >> 20} MiB of your {what} reached: request less, or wait"
        super().__init__(self.RETRY_AFTER, message=message)


class QueueQuotaReached(RateLimited):
    """As many of the user's tasks wait as the quota allows."""

    RETRY_AFTER = 10

    def __init__(self, message: str) -> None:
        super().__init__(self.RETRY_AFTER, message=message)


class StorageQuotaReached(RateLimited):
    """The user's files take as much disk space as the quota allows."""

    RETRY_AFTER = 60

    def __init__(self, message: str) -> None:
        super().__init__(self.RETRY_AFTER, message=message)


class Unavailable(RequestError):
    """The server cannot accept this now (draining, disk nearly full)."""

    code = "SERVICE_UNAVAILABLE"


class DiskFull(Unavailable):
    """The server's disk has no space for this, or is about to have none."""

    REASON = "the server's disk is nearly full: free some space on it"
    """Phrase to embed in other messages."""

    def __init__(self) -> None:
        super().__init__(f"The {self.REASON.removeprefix('the ')}")


class Overloaded(Unavailable):
    """All callers together have used up a resource of the server."""

    RETRY_AFTER = 5

    def __init__(self, message: str) -> None:
        super().__init__(f"{message}: try again in {self.RETRY_AFTER} s")
        self.retry_after = self.RETRY_AFTER
        """Whole seconds, at least 1."""
