"""What can go wrong with a request. Raised by the engine, mapped to a reply by the transports.

The message is for the client: it says what was wrong and what to do, and holds no secret.
"""

from typing import ClassVar, NamedTuple


class RequestError(Exception):
    """Base of all errors that a client may be told about."""

    code: ClassVar[str]
    """The contract's `ErrorResponse.code`."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class BadRequest(RequestError):
    """The request can't be read: not JSON, a bad query, a body too large."""

    code = "BAD_REQUEST"


class FieldViolation(NamedTuple):
    field: str
    rule: str


MAX_VIOLATIONS = 100
"""That are listed in one answer: a batch can break thousands of rules."""


class ValidationFailed(RequestError):
    """Well-formed, but it breaks a rule."""

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
        """Requests that the key may make at once; None: it is no key's limit."""


class TooManyStreams(RateLimited):
    """The caller holds as many streams (watches, followed logs, downloads) as it may."""

    RETRY_AFTER = 10

    def __init__(self, per_caller: int) -> None:
        message = f"More than {per_caller} streams open at once: close some"
        super().__init__(self.RETRY_AFTER, message=message)


class TooManyConnections(RateLimited):
    """The address holds as many connections as it may."""

    RETRY_AFTER = 10

    def __init__(self, per_address: int) -> None:
        message = f"More than {per_address} connections from this address: close some"
        super().__init__(self.RETRY_AFTER, message=message)


class TooManyBytes(RateLimited):
    """The caller makes the server hold as many bytes as it may."""

    RETRY_AFTER = 5

    def __init__(self, what: str, per_caller: int) -> None:
        message = f"More than {per_caller >> 20} MiB of your {what} at once: ask for less, or wait"
        super().__init__(self.RETRY_AFTER, message=message)


class QueueQuotaReached(RateLimited):
    """As many of the user's tasks wait as the owner allows."""

    RETRY_AFTER = 10

    def __init__(self, message: str) -> None:
        super().__init__(self.RETRY_AFTER, message=message)


class StorageQuotaReached(RateLimited):
    """The user's files take as much of the server's disk as the owner allows."""

    RETRY_AFTER = 60

    def __init__(self, message: str) -> None:
        super().__init__(self.RETRY_AFTER, message=message)


class Unavailable(RequestError):
    """The server can't take this now (draining, disk nearly full)."""

    code = "SERVICE_UNAVAILABLE"


class DiskFull(Unavailable):
    """The server's disk has no space for this, or is about to have none."""

    REASON = "the server's disk is nearly full: free some space on it"
    """For messages that name it as a cause."""

    def __init__(self) -> None:
        super().__init__(f"The {self.REASON.removeprefix('the ')}")


class Overloaded(Unavailable):
    """All callers together hold as much of something as there is."""

    RETRY_AFTER = 5

    def __init__(self, message: str) -> None:
        super().__init__(f"{message}: try again in {self.RETRY_AFTER} s")
        self.retry_after = self.RETRY_AFTER
        """Whole seconds, at least 1."""
