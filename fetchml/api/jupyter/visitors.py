"""Who visits a Jupyter service, and how much all visitors may hold open.

A visitor that shows the service's token, or the cookie that the server gave for it, is known.
Everybody else is a stranger, with a small room of their own: they can use Jupyter's login form, and
are in nobody's way. Jupyter itself asks everybody for its token.
"""

import hmac
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from urllib.parse import parse_qs

from aiohttp import web

from fetchml.api.jupyter.headers import Target, cookies, token_in
from fetchml.api.jupyter.page import may_carry_notice
from fetchml.auth.open_streams import OpenStreams
from fetchml.config.proxies import caller_of
from fetchml.core.requests.jupyter import login_cookie
from fetchml.errors import TooManyStreams, Unavailable
from fetchml.views import JupyterDoor

AT_ONCE = 200
"""Requests and sockets of one service, of known visitors."""
SOCKETS_AT_ONCE = 50
"""Of them: each kernel and terminal of an open page has one."""
OWNER_AT_ONCE = 300
"""Requests and sockets of all services of one user."""
IN_ALL = 400
"""Requests and sockets of all services."""
STRANGERS_BY_ADDRESS = 8
"""Requests and sockets of strangers from one address, of IPv6 from one /64 network."""
STRANGERS_AT_ONCE = 32
"""Those of strangers at one service."""
STRANGERS_IN_ALL = 64
EXCHANGE_BYTES = 768 << 10
"""The most that one request or socket holds, beside what its connection does: in each direction a
piece that was read (asyncio reads 256 KiB at most), and what Jupyter has not taken yet."""
STRANGERS_REPLY_SECONDS = 60.0
"""For a whole reply, or a socket."""

_COOKIE = "fetchml-visitor"
_ALL = "all"


class Rooms:
    """How many requests and sockets are open at once, by whom they count for."""

    def __init__(self) -> None:
        self._of_service = OpenStreams(AT_ONCE)
        self._sockets_of_service = OpenStreams(SOCKETS_AT_ONCE)
        self._of_owner = OpenStreams(OWNER_AT_ONCE)
        self._of_all = OpenStreams(IN_ALL)
        self._strangers_of_address = OpenStreams(STRANGERS_BY_ADDRESS)
        self._strangers_of_service = OpenStreams(STRANGERS_AT_ONCE)
        self._strangers = OpenStreams(STRANGERS_IN_ALL)

    @contextmanager
    def known(self, service_id: str, owner: str, *, is_socket: bool) -> Iterator[None]:
        """Around a request or socket. Raises Unavailable."""
        with ExitStack() as stack:
            try:
                stack.enter_context(self._of_service.hold(service_id))
                if is_socket:
                    stack.enter_context(self._sockets_of_service.hold(service_id))
                stack.enter_context(self._of_owner.hold(owner))
                stack.enter_context(self._of_all.hold(_ALL))
            except TooManyStreams:
                raise Unavailable(
                    f"More than {AT_ONCE} requests or {SOCKETS_AT_ONCE} sockets of this service, "
                    f"{OWNER_AT_ONCE} of its owner's services or {IN_ALL} of all services are open "
                    "at once: close some pages"
                ) from None
            yield

    @contextmanager
    def stranger(self, service_id: str, address: str) -> Iterator[None]:
        """Around a request or socket. Raises TooManyStreams, Unavailable."""
        with ExitStack() as stack:
            stack.enter_context(self._strangers_of_address.hold(caller_of(address)))
            try:
                stack.enter_context(self._strangers_of_service.hold(service_id))
                stack.enter_context(self._strangers.hold(_ALL))
            except TooManyStreams:
                raise Unavailable(
                    "Too many requests without this service's token are open at once: open the "
                    "service by its link, which holds the token"
                ) from None
            yield


def is_known(request: web.BaseRequest, target: Target, door: JupyterDoor) -> bool:
    """Whether the request shows the service's token, or the cookie for it."""
    tokens = parse_qs(target.query.removeprefix("?")).get("token", [])
    shown = [token_in(request.headers), *tokens]
    if any(_same(token, door.token) for token in shown if token):
        return True
    name = _name(target.service_id)
    proof = _proof(target.service_id, door)
    return any(each == name and _same(value, proof) for each, value in cookies(request.headers))


def greeting(
    request: web.BaseRequest, target: Target, door: JupyterDoor, status: int, given: list[str]
) -> str | None:
    """The cookie by which the visitor is known from now on: where the link was opened, or Jupyter
    itself lets somebody in. `None` if none is to be set. `status`, `given`: of Jupyter's reply,
    and the cookies that it sets."""
    name, proof = _name(target.service_id), _proof(target.service_id, door)
    sent = cookies(request.headers)
    if (name, proof) in sent:
        return None
    login = login_cookie(target.service_id)
    if request.method == "GET":
        tokens = parse_qs(target.query.removeprefix("?")).get("token", [])
        lets_in = any(_same(token, door.token) for token in tokens) or (
            status == HTTPStatus.OK
            and may_carry_notice(target.path)
            and any(each == login for each, _ in sent)
        )
    else:
        lets_in = (
            request.method == "POST"
            and target.path == "/login"
            and any(each.startswith(f"{login}=") for each in given)
        )
    if not lets_in:
        return None
    return f"{name}={proof}; Path=/jupyter/{target.service_id}/; HttpOnly; SameSite=Lax"


def _name(service_id: str) -> str:
    return f"{_COOKIE}-{service_id}"


def _proof(service_id: str, door: JupyterDoor) -> str:
    """It says nothing of the token, and opens nothing: it grants room."""
    return hmac.digest(door.token.encode(), f"visitor {service_id}".encode(), "sha256").hex()


def _same(given: str, right: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), right.encode())
