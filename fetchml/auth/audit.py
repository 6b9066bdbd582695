"""The audit: who did what, to which id, and from which address. Only admins list it.

A submitted task has no entry: `Task.sender` records its creator.
"""

import asyncio
import re
import time
from collections.abc import Callable

from fetchml.auth.limits import RateLimiter
from fetchml.core.audit import OK, Action, AuditEntry
from fetchml.core.model import Principal
from fetchml.core.permissions import AdminOnly, refusal
from fetchml.core.requests import text
from fetchml.core.requests.listing import DEFAULT_LIMIT, range_fault
from fetchml.errors import BadRequest, RequestError, forbid
from fetchml.ports.store import AuditQuery, Store
from fetchml.system.ids import IdSequence
from fetchml.system.log import redact

REFUSALS_PER_MINUTE = 6
"""Kept in the long run of each key, and of each address without a valid key."""
REFUSALS_BURST = 20
ALL_REFUSALS_PER_SECOND = 1
"""Kept of all callers together, so that no flood displaces what matters within hours."""
ALL_REFUSALS_BURST = 200
MAX_DETAIL = 400
"""Characters."""
MAX_REFUSAL = 300
"""Characters of the request and the reason. The number of omitted refusals follows them."""

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)


class Audit:
    def __init__(self, store: Store, *, clock_ms: Callable[[], int]) -> None:
        """The store may be opened after this call."""
        self._store = store
        self._clock_ms = clock_ms
        self._ids = IdSequence()
        self._refusals = RateLimiter(REFUSALS_PER_MINUTE / 60, REFUSALS_BURST)
        self._all_refusals = RateLimiter(ALL_REFUSALS_PER_SECOND, ALL_REFUSALS_BURST)
        self._left_out = 0

    def done(
        self, who: Principal, action: Action, target: str, detail: str | None = None
    ) -> asyncio.Future[None]:
        """Record an action. The future is done when the entry is durable: await it before the
        answer.

        Call this right after the change was handed to the store: one commit then has both.
        """
        return self._append(who, who.address, action, OK, target, detail)

    def refused(self, who: Principal | None, address: str, tried: str, error: RequestError) -> None:
        """Record a rejected request; `tried` is its method and path. `who`: `None` if the request
        has no valid key.

        The caller does not wait for it. Of a flood only the first refusals are kept, with the
        number of the omitted ones.
        """
        now = time.monotonic()
        caller = who.key_id if who is not None else address
        if (
            self._refusals.take(caller, now) is None
            or self._all_refusals.take("everybody", now) is None
        ):
            self._left_out += 1
            return
        detail = text.shown(f"{redact(tried)}: {redact(error.message)}", MAX_REFUSAL)
        if self._left_out:
            detail += f" ({self._left_out} more refusals before this one were not kept)"
            self._left_out = 0
        self._append(who, address, Action.ACCESS_REFUSED, error.code, None, detail)

    def _append(
        self,
        who: Principal | None,
        address: str,
        action: Action,
        outcome: str,
        target: str | None,
        detail: str | None,
    ) -> asyncio.Future[None]:
        """Append an entry. Every text becomes a line of bounded length, which can be stored."""
        at = self._clock_ms()
        return self._store.append_audit(
            AuditEntry(
                id=self._ids.next(at),
                at=at,
                action=action,
                address=text.shown(address, text.MAX_ADDRESS),
                outcome=outcome,
                target=None if target is None else text.shown(target, text.MAX_NAME),
                user=None if who is None else who.user,
                key_id=None if who is None else who.key_id,
                detail=None if detail is None else text.shown(detail, MAX_DETAIL),
            )
        )

    async def entries(
        self,
        who: Principal,
        *,
        user: str | None = None,
        action: str | None = None,
        target: str | None = None,
        since: int | None = None,
        before: str | None = None,
        limit: int | None = None,
    ) -> list[AuditEntry]:
        """Return the entries that match all arguments, newest first; `None`: no restriction.

        `since`: milliseconds since the epoch (UTC). `before`: id of an entry, for the next page.
        Raises Forbidden, BadRequest.
        """
        forbid(refusal(who, AdminOnly.AUDIT))
        if action is not None and action not in list(Action):
            raise BadRequest(f"action: must be one of {', '.join(Action)}")
        if before is not None and not _ID.fullmatch(before):
            raise BadRequest("before: must be the id of an entry")
        limit = DEFAULT_LIMIT if limit is None else limit
        if fault := range_fault("limit", limit, least=1):
            raise BadRequest(fault)
        parsed = None if action is None else Action(action)
        return await self._store.list_audit(AuditQuery(user, parsed, target, since, before, limit))
