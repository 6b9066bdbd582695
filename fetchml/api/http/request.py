"""One HTTP request while it is answered: its caller, its memory, and the headers of its reply."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from fetchml.api.http.errors import CONTRACT, SERVER, ErrorForm, error_headers
from fetchml.api.http.reply import (
    JSON,
    PIECE_BYTES,
    SMALL_BYTES,
    Budgets,
    JsonReply,
    Pieces,
    Reply,
    limit_headers,
)
from fetchml.auth.admission import Admission, Admitted
from fetchml.auth.limits import RateState
from fetchml.config.proxies import caller_of
from fetchml.core.model import Principal, Task
from fetchml.errors import RateLimited, RequestError
from fetchml.pages import PAGE_BYTES, PageTooLarge
from fetchml.system.pacing import Pace

if TYPE_CHECKING:
    from fetchml.auth.sessions import Session

ROWS_PER_STEP = 16
STEP_BYTES = 1 << 20
"""Rows of a list that are encoded before other requests may run, and about as many bytes."""
MAX_IGNORED_NAME = 64
MAX_IGNORED_CHARACTERS = 1000
"""Limits of `X-FetchML-Ignored`: clients accept only a few KiB of headers in total."""

_encode = msgspec.json.Encoder().encode

_PLACEHOLDER = b"\0%d\0"
"""Stands for a large list, by its number, in the encoded reply. JSON escapes NUL in texts."""
_PLACEHOLDER_ENDS = b"\0"

_INERT = {
    "Cache-Control": "private, no-cache",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

_NOT_COUNTED = nullcontext()

T = TypeVar("T")


class RestRequest:
    """A request: `http` is aiohttp's own object, `principal` the caller once admitted."""

    __slots__ = (
        "_admission", "_body_bytes", "_budgets", "_limit", "_lists", "_row_bytes", "address",
        "http", "principal", "session", "trace_id",
    )  # fmt: skip

    _admission: Admission
    principal: Principal
    """The caller, set by `admit`. Operations that need no key must not read it."""

    def __init__(
        self,
        http: web.BaseRequest,
        trace_id: str,
        address: str = "",
        budgets: Budgets | None = None,
    ) -> None:
        """`address`: the address of the client, behind trusted proxies. `budgets`: `None` if
        everything that the request sends is small."""
        self.http = http
        self.address = address
        self.trace_id = trace_id
        self.session: Session | None = None
        """The caller's session; `None` if the caller has an API key."""
        self._limit: RateState | None = None
        self._budgets = budgets
        self._body_bytes = 0
        self._row_bytes = 0
        self._lists: list[Pieces] = []
        """Large lists of the reply, in pieces. The reply's value has their placeholders."""

    def admit(self, admission: Admission, secret: str | None) -> None:
        """Authenticate the caller and count the request against the rate limit. Raises
        Unauthorized, RateLimited."""
        self._admission = admission
        admitted = admission.admit(secret, self.address)
        self.principal, self._limit = admitted.principal, admitted.limit

    def admit_task(self, admission: Admission, task: Task | None) -> None:
        """Take the command of a task as the caller; `None` if its token is not valid. Raises
        Unauthorized, RateLimited."""
        self._admission = admission
        admitted = admission.admit_task(task, self.address)
        self.principal, self._limit = admitted.principal, admitted.limit

    def admit_session(self, admission: Admission, session: "Session", admitted: Admitted) -> None:
        """Take the caller that `admission` has admitted by a session."""
        self._admission = admission
        self.session = session
        self.principal, self._limit = admitted.principal, admitted.limit

    @property
    def admitted(self) -> Principal | None:
        """The caller; `None` if the request has no valid key or the operation needs none."""
        return getattr(self, "principal", None)

    def while_valid(self) -> AbstractContextManager[None]:
        """Bound a long reply or body by the validity of its API key and session. Raises
        Unauthorized, from within the enclosed code too."""
        return self._admission.while_valid(self.principal, self.session)

    def json(
        self, value: object, *, status: int = 200, ignored: Iterable[str] = ()
    ) -> web.StreamResponse:
        """Make a JSON reply. `ignored`: unknown names in the request, which the reply lists in
        `X-FetchML-Ignored` (contract reading 12). Raises TooManyBytes, Overloaded."""
        body = _encode(value)
        is_small = len(body) <= SMALL_BYTES and not self._lists
        if is_small and self.session is None and not ignored:
            return JsonReply(body, status, self._limit)
        response = self._json_response(body, status)
        if ignored:
            response.headers["X-FetchML-Ignored"] = _listed(ignored)
        return response

    def json_response(self, value: object, *, status: int = 200) -> web.StreamResponse:
        """Make a JSON reply that may get more headers. Raises TooManyBytes, Overloaded."""
        return self._json_response(_encode(value), status)

    def _json_response(self, body: bytes, status: int) -> web.StreamResponse:
        headers = JSON if self._limit is None else JSON | limit_headers(self._limit)
        response = self._response(self._with_lists(body), status, headers)
        if self.session is not None:
            _make_inert(response.headers)
        return response

    def _with_lists(self, body: bytes) -> Pieces:
        """Return the body with the lists instead of their placeholders."""
        before, *parts = body.split(_PLACEHOLDER_ENDS)
        pieces: list[bytes | memoryview] = [before]
        for number, after in zip(parts[::2], parts[1::2], strict=True):
            pieces += [*self._lists[int(number)], after]
        return pieces

    def raw(self, body: bytes, headers: Mapping[str, str]) -> web.StreamResponse:
        """Make a reply that is not JSON. Raises TooManyBytes, Overloaded."""
        return self._response([body], 200, self.headers(headers))

    def _response(
        self, pieces: Pieces, status: int, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        if self._budgets is None or sum(map(len, pieces)) <= SMALL_BYTES:
            return web.Response(body=b"".join(pieces), status=status, headers=headers)
        replies = self._budgets.replies
        self._release_rows()
        return Reply(replies, self.caller, pieces, status=status, headers=headers)

    async def rows(self, convert: Callable[[T], object], items: Sequence[T]) -> msgspec.Raw:
        """Encode a list as JSON. While it is built, its bytes are counted as those of a reply.

        Raises PageTooLarge, TooManyBytes, Overloaded.
        """
        taken, counted = 0, SMALL_BYTES
        first, step = 0, 1
        pieces, parts, size = list[bytes | memoryview](), list[bytes | memoryview](), 0
        pace = Pace()
        while first < len(items):
            if pace.due:
                await pace.turn()
            # Without the brackets and the 0, which leaves the comma that separates the rows.
            rows = _encode([0, *map(convert, items[first : first + step])])
            part = memoryview(rows)[2 if first else 3 : -1]
            taken += len(part)
            if taken > counted:  # Rare: most rows are small.
                if taken > PAGE_BYTES:
                    raise PageTooLarge(max(1, first))
                more = max(taken - counted, SMALL_BYTES)
                self._hold_reply(more)
                counted += more
            parts.append(part)
            size += len(part)
            if size >= PIECE_BYTES:
                pieces.append(b"".join(parts) if len(parts) > 1 else part)
                parts, size = [], 0
            first += step
            step = min(ROWS_PER_STEP, max(1, STEP_BYTES * first // taken))
        if not pieces:
            return msgspec.Raw(b"".join([b"[", *parts, b"]"]))
        # A large list is not copied into the reply: that blocks the event loop for milliseconds.
        self._lists.append([b"[", *pieces, *parts, b"]"])
        return msgspec.Raw(_PLACEHOLDER % (len(self._lists) - 1))

    def message(self, size: int) -> AbstractContextManager[None]:
        """Count a message of `size` bytes until the client has received it. Raises TooManyBytes,
        Overloaded."""
        if size <= SMALL_BYTES or self._budgets is None:
            return _NOT_COUNTED
        return self._budgets.replies.hold(self.caller, size)

    def _hold_reply(self, size: int) -> None:
        if self._budgets is not None:
            self._budgets.replies.take(self.caller, size)
            self._row_bytes += size

    @property
    def caller(self) -> str:
        """The caller that bytes are counted for: the API key, or the address without one."""
        principal = self.admitted
        return caller_of(self.address) if principal is None else principal.key_id

    def hold_body(self, size: int) -> None:
        """Count `size` more bytes of the body until `release`. Raises TooManyBytes, Overloaded."""
        if self._budgets is not None:
            self._budgets.bodies.take(self.caller, size)
            self._body_bytes += size

    def _release_rows(self) -> None:
        if self._row_bytes and self._budgets is not None:
            self._budgets.replies.give_back(self.caller, self._row_bytes)
            self._row_bytes = 0

    def release(self) -> None:
        """Stop counting the body and the encoded rows: the reply is complete."""
        if self._row_bytes:
            self._release_rows()
        if self._body_bytes and self._budgets is not None:
            self._budgets.bodies.give_back(self.caller, self._body_bytes)
            self._body_bytes = 0

    def empty(self, headers: Mapping[str, str] | None = None) -> web.Response:
        """Make a 204 reply."""
        return web.Response(status=204, headers=self.headers(headers or {}))

    def error(self, error: RequestError, form: ErrorForm = CONTRACT) -> web.Response:
        """Make an error reply (contract reading 31)."""
        if isinstance(error, RateLimited) and error.limit is not None:
            self._limit = RateState(error.limit, 0, error.retry_after)
        headers = self.headers({**JSON, **error_headers(error)})
        body = form.body(error, self.trace_id)
        return web.Response(body=body, status=form.status_of(error), headers=headers)

    def headers(self, extra: Mapping[str, str]) -> CIMultiDict[str]:
        """Return the headers of a reply that is not JSON."""
        headers = CIMultiDict(extra)
        headers["Server"] = SERVER
        if self._limit is not None:
            headers.update(limit_headers(self._limit))
        if self.session is not None:
            _make_inert(headers)
        return headers


def _make_inert(headers: CIMultiDict[str]) -> None:
    """Make a reply harmless in a browser: it may contain text that a task wrote."""
    for name, value in _INERT.items():
        headers.setdefault(name, value)


def _listed(names: Iterable[str]) -> str:
    """Join names for a header, percent-encoded since they may hold any text."""
    listed: list[str] = []
    size = 0
    for name in names:
        quoted = quote(name[:MAX_IGNORED_NAME], safe="", errors="replace")
        size += len(quoted) + 2
        if size > MAX_IGNORED_CHARACTERS:
            break
        listed.append(quoted)
    return ", ".join(listed)
