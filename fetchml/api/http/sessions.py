"""The session of a request: in a header, as a WebSocket protocol, or in a cookie."""

from aiohttp import web

from fetchml.api.http.place import is_from, place_of
from fetchml.api.http.request import RestRequest
from fetchml.auth.admission import Admission
from fetchml.errors import Forbidden, Unauthorized
from fetchml.jupyter.origin import JupyterOrigins, Place

SESSION_HEADER = "X-FetchML-Session"
SESSION_PROTOCOL = "fetchml.session."
"""Prefix of the protocol that carries a session's token: scripts set no headers of WebSockets."""
_COOKIE = "fetchml-session"
MAX_COOKIE_BYTES = 16_384
"""Longer `Cookie` headers hold no session: browsers send no such."""


class SessionCredentials:
    """Admits requests by their sessions."""

    def __init__(self, admission: Admission, origins: JupyterOrigins) -> None:
        self._admission = admission
        self._origins = origins

    def place(self, request: RestRequest) -> Place | None:
        return place_of(request.http, self._origins.public_url)

    def admit(self, request: RestRequest, protocol: str | None = None) -> None:
        """Admit a request without an API key. `protocol`: the session's token, if a WebSocket
        protocol has it. Raises Unauthorized, Forbidden, RateLimited."""
        if (found := self.token_in(request, protocol)) is None:
            request.admit(self._admission, None)
        else:
            token, in_cookie = found
            request.admit_session(self._admission, token, in_cookie=in_cookie)

    def admit_if_any(self, request: RestRequest) -> None:
        """Admit a request if it presents a valid session. Raises RateLimited."""
        try:
            if self.token_in(request) is not None:
                self.admit(request)
        except (Unauthorized, Forbidden):
            return

    def token_in(
        self, request: RestRequest, protocol: str | None = None
    ) -> tuple[str, bool] | None:
        """Return the token that the request presents, and whether in a cookie; `None` without one.
        Raises Unauthorized, Forbidden."""
        http = request.http
        if token := protocol or http.headers.get(SESSION_HEADER):
            return token, False
        place = self.place(request)
        tokens = cookies_of(http, place)
        if not tokens:
            return None
        if len(set(tokens)) > 1:
            # A page of another origin can plant a second cookie, but not replace the first.
            raise Unauthorized("Several session cookies were sent: delete this site's cookies")
        if not is_from(place, http):
            raise Forbidden(
                "A session cookie counts only for requests that the page itself sends. Other "
                "clients send an API key"
            )
        return tokens[0], True


def cookie_name(place: Place) -> str:
    """Return the cookie's name: cookies of all ports of a host are sent to each. With TLS its
    prefix makes browsers refuse one that another host name or an unencrypted page has set."""
    prefix = "__Host-" if place.scheme == "https" else ""
    return f"{prefix}{_COOKIE}-{place.port or 'default'}"


def session_cookie(place: Place, token: str, seconds: int) -> str:
    """Return the value of `Set-Cookie`. No seconds: the cookie is removed."""
    secure = "; Secure" if place.scheme == "https" else ""
    value = f"{cookie_name(place)}={token}; Path=/; Max-Age={max(0, seconds)}"
    return f"{value}; HttpOnly; SameSite=Strict{secure}"


def cookies_of(request: web.BaseRequest, place: Place | None) -> list[str]:
    """Return the tokens of all session cookies that were sent for this place."""
    given = ";".join(request.headers.getall("Cookie", ()))
    if place is None or not given or len(given) > MAX_COOKIE_BYTES:
        return []
    pairs = (part.strip().partition("=") for part in given.split(";"))
    name = cookie_name(place)
    return [value for each, _, value in pairs if each == name]
