"""Signing in to the page and out of it, and the audit of both."""

from typing import NamedTuple

from fetchml.auth.admission import Admission
from fetchml.auth.audit import Audit
from fetchml.auth.sessions import Begun, Session
from fetchml.core.audit import Action
from fetchml.core.model import Key, Principal
from fetchml.errors import Forbidden, Unauthorized


class SignedIn(NamedTuple):
    principal: Principal
    begun: Begun


class SignIn:
    """Exchanges keys and one-time codes for sessions."""

    def __init__(self, admission: Admission, audit: Audit) -> None:
        self._admission = admission
        self._audit = audit

    async def create_code(self, who: Principal) -> tuple[str, int]:
        """Create a one-time code for the caller's own key; returns it and its end in milliseconds
        since the epoch (UTC). Raises Forbidden, Overloaded."""
        if who is Admission.local:
            raise Forbidden(
                "A session needs an API key: set FETCHML_API_KEY, or create a key with "
                "'fetchml keys create NAME'"
            )
        code, expires_at = self._admission.codes.create(who.key_id)
        await self._audit.done(who, Action.SIGN_IN_CODE, who.key_id)
        return code, expires_at

    async def with_key(self, secret: str, address: str, *, with_cookie: bool) -> SignedIn:
        """Raises Unauthorized, RateLimited, Overloaded."""
        principal = self._admission.admit(secret, address).principal
        return await self._begin(principal, with_cookie=with_cookie, how="key")

    def key_of_code(self, code: str, address: str) -> Key:
        """Return the key of a one-time code, which stays valid. Raises Unauthorized,
        RateLimited."""
        return self._admission.admit_code(code, address, use=False)

    async def with_code(self, code: str, address: str, *, with_cookie: bool) -> SignedIn:
        """Use up a one-time code. Raises Unauthorized, RateLimited, Overloaded."""
        key = self._admission.admit_code(code, address)
        principal = Principal(key.name, key.role, key.id, address)
        return await self._begin(principal, with_cookie=with_cookie, how="one-time code")

    async def out(self, who: Principal, session: Session) -> None:
        """End a session and all that it holds open."""
        self._admission.sessions.end(session)
        await self._audit.done(who, Action.SIGN_OUT, who.key_id)

    async def _begin(self, who: Principal, *, with_cookie: bool, how: str) -> SignedIn:
        key = self._key_of(who)
        begun = self._admission.sessions.begin(key, with_cookie=with_cookie)
        storage = "cookie" if with_cookie else "memory of the page"
        try:
            await self._audit.done(who, Action.SIGN_IN, who.key_id, f"by {how}, in a {storage}")
        except BaseException:
            self._admission.sessions.end(begun.session)
            raise
        return SignedIn(who, begun)

    def _key_of(self, who: Principal) -> Key:
        key = self._admission.key(who.key_id)
        if key is None:
            raise Unauthorized
        return key
