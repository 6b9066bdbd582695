"""Visitors of Jupyter services, and limits on the requests and sockets that they hold open.

A visitor that presents the service's token, or the cookie that the server set for it, is
authenticated. All others are anonymous and share small limits of their own: they can use Jupyter's
login form but cannot block anyone. Jupyter itself requires its token from every visitor.
"""

import hmac
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from urllib.parse import parse_qs

from aiohttp import web

from fetchml.api.proxy.headers import Target, cookies, token_in
from fetchml.api.proxy.page import may_carry_notice
from fetchml.auth.limits import stream_limit
from fetchml.config.proxies import caller_of
from fetchml.core.jupyter import login_cookie
from fetchml.errors import TooManyStreams, Unavailable
from fetchml.views import VisitorPolicy

OPEN_BY_SERVICE = 200
"""Requests and sockets of one service's authenticated visitors."""
SOCKETS_BY_SERVICE = 50
"""Sockets among them: each kernel and terminal of an open page has one."""
OPEN_BY_OWNER = 300
"""Requests and sockets of authenticated visitors at all services of one owner."""
OPEN_IN_ALL = 400
"""Requests and sockets of authenticated visitors at all services."""
ANONYMOUS_BY_ADDRESS = 8
"""Requests and sockets of anonymous visitors from one IPv4 address or IPv6 /64 network."""
ANONYMOUS_BY_SERVICE = 32
"""Requests and sockets of anonymous visitors at one service."""
ANONYMOUS_IN_ALL = 64
"""Requests and sockets of anonymous visitors at all services."""
EXCHANGE_BYTES = 768 << 10
"""Most memory of one request or socket, in addition to its connection's: in each direction one
piece (asyncio reads at most 256 KiB), and bytes that Jupyter has not read yet."""
ANONYMOUS_REPLY_SECONDS = 60.0
"""Longest time for a complete reply, or for a socket, of an anonymous visitor."""

_COOKIE = "fetchml-visitor"
_ALL = "all"


class VisitorLimits:
    """Counts open requests and sockets by service, owner and address."""

    def __init__(self) -> None:
        self._by_service = stream_limit(OPEN_BY_SERVICE)
        self._sockets_by_service = stream_limit(SOCKETS_BY_SERVICE)
        self._by_owner = stream_limit(OPEN_BY_OWNER)
        self._in_all = stream_limit(OPEN_IN_ALL)
        self._anonymous_by_address = stream_limit(ANONYMOUS_BY_ADDRESS)
        self._anonymous_by_service = stream_limit(ANONYMOUS_BY_SERVICE)
        self._anonymous_in_all = stream_limit(ANONYMOUS_IN_ALL)

    @contextmanager
    def authenticated(self, service_id: str, owner: str, *, is_socket: bool) -> Iterator[None]:
        """Count an authenticated visitor's open request or socket. Raises Unavailable."""
        with ExitStack() as stack:
            try:
                stack.enter_context(self._by_service.hold(service_id))
                if is_socket:
                    stack.enter_context(self._sockets_by_service.hold(service_id))
                stack.enter_context(self._by_owner.hold(owner))
                stack.enter_context(self._in_all.hold(_ALL))
            except TooManyStreams:
                raise Unavailable(
                    f"More than {OPEN_BY_SERVICE} requests or {SOCKETS_BY_SERVICE} sockets of this "
                    f"service, {OPEN_BY_OWNER} of its owner's services or {OPEN_IN_ALL} of all "
                    "services are open at one time: close some pages"
                ) from None
            yield

    @contextmanager
    def anonymous(self, service_id: str, address: str) -> Iterator[None]:
        """Count an anonymous visitor's request or socket while it is open. Raises TooManyStreams
        for the address, Unavailable for the service and in all."""
        with ExitStack() as stack:
            stack.enter_context(self._anonymous_by_address.hold(caller_of(address)))
            try:
                stack.enter_context(self._anonymous_by_service.hold(service_id))
                stack.enter_context(self._anonymous_in_all.hold(_ALL))
            except TooManyStreams:
                raise Unavailable(
                    "Too many requests without this service's token are open at one time: open the "
                    "service by its link, which holds the token"
                ) from None
            yield


def is_authenticated(request: web.BaseRequest, target: Target, policy: VisitorPolicy) -> bool:
    """Return whether the request presents the service's token, or the cookie for it."""
    tokens = parse_qs(target.query.removeprefix("?")).get("token", [])
    presented = [token_in(request.headers), *tokens]
    if any(_same(token, policy.token) for token in presented if token):
        return True
    name = _name(target.service_id)
    proof = _proof(target.service_id, policy)
    return any(each == name and _same(value, proof) for each, value in cookies(request.headers))


def visitor_cookie(
    request: web.BaseRequest,
    target: Target,
    policy: VisitorPolicy,
    status: int,
    set_cookies: list[str],
) -> str | None:
    """Return the cookie that authenticates the visitor from now on. It is set when the service's
    link is opened, or when Jupyter itself logs the visitor in.

    `status`, `set_cookies`: the status of Jupyter's reply, and the cookies that it sets. Returns
    `None` if no cookie is to be set.
    """
    name, proof = _name(target.service_id), _proof(target.service_id, policy)
    sent = cookies(request.headers)
    if (name, proof) in sent:
        return None
    login = login_cookie(target.service_id)
    if request.method == "GET":
        tokens = parse_qs(target.query.removeprefix("?")).get("token", [])
        lets_in = any(_same(token, policy.token) for token in tokens) or (
            status == HTTPStatus.OK
            and may_carry_notice(target.path)
            and any(each == login for each, _ in sent)
        )
    else:
        lets_in = (
            request.method == "POST"
            and target.path == "/login"
            and any(each.startswith(f"{login}=") for each in set_cookies)
        )
    if not lets_in:
        return None
    return f"{name}={proof}; Path=/jupyter/{target.service_id}/; HttpOnly; SameSite=Lax"


def _name(service_id: str) -> str:
    return f"{_COOKIE}-{service_id}"


def _proof(service_id: str, policy: VisitorPolicy) -> str:
    """Return the cookie's value. It does not reveal the token or grant access; it only selects the
    limits that apply."""
    return hmac.digest(policy.token.encode(), f"visitor {service_id}".encode(), "sha256").hex()


def _same(actual: str, expected: str) -> bool:
    return hmac.compare_digest(actual.encode("utf-8", "surrogatepass"), expected.encode())
