"""`/ui/session`: signing in to the page and out of it, and the tickets of its links."""

import contextlib

from aiohttp import web

from fetchml.api.http.body import read_object
from fetchml.api.http.errors import BodyTooLarge
from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Route
from fetchml.api.http.sessions import SessionCredentials, is_from, session_cookie
from fetchml.api.task_json import rfc3339
from fetchml.auth.admission import Admission
from fetchml.auth.sessions import Session
from fetchml.auth.sign_in import SignedIn, SignIn
from fetchml.core.model import Principal
from fetchml.errors import FieldViolation, Forbidden, RateLimited, ValidationFailed
from fetchml.jupyter.origin import JupyterOrigins, ServerAddress
from fetchml.system.clock import Clock

MAX_BODY_BYTES = 4096
"""No key was shown yet, so the body is small."""
MAX_SECRET_CHARACTERS = 1024
MAX_PATH_CHARACTERS = 16_384
"""Longest path of a link, with its query."""

_SHARED = (
    "Jupyter services share this address, and a script in a notebook could use a cookie. The "
    "session is kept in this page only, so a reload asks for the key again. [jupyter] domain or "
    "[jupyter] http changes that"
)
_PROXIED = (
    "The address of this page is not the one that the server sees, so it sets no cookie and a "
    "reload asks for the key again. [server] public_url, and a proxy that keeps the Host header, "
    "change that"
)
_OLD_BROWSER = (
    "This browser does not mark its requests (Sec-Fetch-Site), so the server sets no cookie and a "
    "reload asks for the key again"
)


class SessionOperations:
    def __init__(
        self,
        admission: Admission,
        sign_in: SignIn,
        credentials: SessionCredentials,
        origins: JupyterOrigins,
        *,
        private: bool,
        body_timeout_seconds: float,
    ) -> None:
        self._admission = admission
        self._sign_in = sign_in
        self._credentials = credentials
        self._origins = origins
        self._private = private
        self._body_timeout_seconds = body_timeout_seconds
        self._now_ms = Clock()

    def routes(self) -> list[Route]:
        path = "/ui/session"
        return [
            Route("GET", path, self.get, keyless=True),
            Route("POST", path, self.post, keyless=True),
            Route("DELETE", path, self.delete, keyless=True),
            Route("POST", f"{path}/code", self.code, keyless=True),
            Route("POST", f"{path}/tickets", self.ticket),
        ]

    async def get(self, request: RestRequest) -> web.StreamResponse:
        """Return how the page may sign in, and who is signed in."""
        server_address = self._credentials.server_address(request)
        self._credentials.admit_if_any(request)
        session = request.session
        if session is None:
            return request.json(self._how(request, server_address))
        return request.json(
            self._how(request, server_address) | self._whose(request.principal, session)
        )

    async def post(self, request: RestRequest) -> web.StreamResponse:
        """Exchange a key or a one-time code for a session."""
        kind, secret = _secret_in(await self._small_body(request))
        server_address = self._credentials.server_address(request)
        with_cookie = self._why_memory(request, server_address) is None
        begin = self._sign_in.with_key if kind == "key" else self._sign_in.with_code
        signed_in = await begin(secret, request.address, with_cookie=with_cookie)
        with contextlib.suppress(RateLimited):  # A valid key is never locked out.
            self._credentials.admit_if_any(request)
        if request.session is not None:
            await self._sign_in.out(request.principal, request.session)
        return self._begun(request, server_address, signed_in)

    async def delete(self, request: RestRequest) -> web.StreamResponse:
        """End the session that the request presents. Without one nothing changes."""
        server_address = self._credentials.server_address(request)
        self._credentials.admit_if_any(request)
        if request.session is not None:
            await self._sign_in.out(request.principal, request.session)
        response = request.empty()
        if server_address is not None and is_from(server_address, request.http):
            response.headers["Set-Cookie"] = session_cookie(server_address, "", 0)
        return response

    async def code(self, request: RestRequest) -> web.StreamResponse:
        """Return whom a one-time code signs in: anyone can send a link with one, so the page asks
        before it uses it."""
        code = _text(await self._small_body(request), "code", MAX_SECRET_CHARACTERS)
        key = self._sign_in.key_of_code(code, request.address)
        return request.json({"user": key.name, "role": str(key.role)})

    async def ticket(self, request: RestRequest) -> web.StreamResponse:
        """Return a one-time ticket, with which the browser itself may read one path."""
        body = await read_object(request, self._body_timeout_seconds)
        path = _text(body, "path", MAX_PATH_CHARACTERS)
        if request.session is None:
            raise Forbidden("Tickets belong to sessions of the page: send the API key instead")
        return request.json({"ticket": self._admission.tickets.create(request.session, path)})

    async def _small_body(self, request: RestRequest) -> dict[str, object]:
        length = request.http.content_length
        if length is None or length > MAX_BODY_BYTES:
            raise BodyTooLarge(MAX_BODY_BYTES)
        return await read_object(request, self._body_timeout_seconds)

    def _begun(
        self, request: RestRequest, server_address: ServerAddress | None, signed_in: SignedIn
    ) -> web.StreamResponse:
        who, (session, token, cookie) = signed_in
        body = self._how(request, server_address) | self._whose(who, session) | {"token": token}
        response = request.json_response(body, status=201)
        if server_address is not None and cookie is not None:
            seconds = (session.expires_at - self._now_ms()) // 1000
            response.headers["Set-Cookie"] = session_cookie(server_address, cookie, seconds)
            # A notebook may have left pages and service workers here while it shared this origin.
            # The browser has cleared them before it shows the page this reply, whose token the
            # page then stores.
            response.headers["Clear-Site-Data"] = '"cache", "storage"'
        return response

    def _how(self, request: RestRequest, server_address: ServerAddress | None) -> dict[str, object]:
        why = self._why_memory(request, server_address)
        how: dict[str, object] = {"mode": "cookie" if why is None else "memory"}
        if why is not None:
            how["reason"] = why
        if (origin := self._origins.at("{id}", server_address)) is not None:
            how["jupyter_origin"] = origin
        return how

    def _whose(self, who: Principal, session: Session) -> dict[str, object]:
        return {
            "user": who.user,
            "role": str(who.role),
            "private": self._private,
            "expires_at": rfc3339(session.expires_at),
        }

    def _why_memory(self, request: RestRequest, server_address: ServerAddress | None) -> str | None:
        """Return why the page must keep the session in memory; `None` if a cookie is safe."""
        headers = request.http.headers
        if self._origins.at("{id}", server_address) is None:
            return _SHARED
        origin = headers.get("Origin")
        if server_address is None or (origin is not None and origin != server_address.origin):
            return _PROXIED
        # On loopback, the mark is also how Jupyter's redirect recognizes a browser.
        if not self._origins.are_separate and headers.get("Sec-Fetch-Site") != "same-origin":
            return _OLD_BROWSER
        if request.http.method == "POST" and not is_from(server_address, request.http):
            return _PROXIED
        return None


def _secret_in(body: dict[str, object]) -> tuple[str, str]:
    """Return whether it is a `key` or a `code`, and its text. Raises ValidationFailed."""
    present = [name for name in ("key", "code") if name in body]
    if len(present) != 1:
        raise ValidationFailed([FieldViolation("body", "must have either key or code")])
    return present[0], _text(body, present[0], MAX_SECRET_CHARACTERS)


def _text(body: dict[str, object], name: str, most: int) -> str:
    """Raises ValidationFailed."""
    value = body.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= most:
        rule = f"must be a text of 1 to {most} characters"
        raise ValidationFailed([FieldViolation(name, rule)])
    return value
