"""The environments that the cache keeps, for their users: listed, removed, counted."""

from collections.abc import Sequence
from typing import NamedTuple

from fetchml.auth.audit import Audit
from fetchml.core import permissions
from fetchml.core.audit import Action
from fetchml.core.model import Principal
from fetchml.core.requests.listing import DEFAULT_LIMIT, page_fault
from fetchml.environments.cache import Record
from fetchml.environments.service import EnvironmentCounts, Environments
from fetchml.errors import BadRequest, Conflict, Forbidden, NotFound

_USED = "The environment is in use by tasks: remove it when they have ended"


class KeptEnvironment(NamedTuple):
    record: Record
    tasks: int
    """Number of tasks that hold it now."""


class EnvironmentPage(NamedTuple):
    environments: Sequence[KeptEnvironment]
    """The last used first."""
    total: int
    """All that match and that the caller may see."""


class KeptEnvironments:
    """Used from one event loop. Verbs raise `errors.RequestError`.

    An environment is visible to its user and to admins, whether the server is private or not.
    """

    def __init__(self, environments: Environments, audit: Audit) -> None:
        self._environments = environments
        self._audit = audit

    def counts(self) -> EnvironmentCounts:
        return self._environments.counts()

    def page(
        self,
        who: Principal,
        *,
        user: str | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> EnvironmentPage:
        """Return the environments that `who` may see, the last used first."""
        limit = DEFAULT_LIMIT if limit is None else limit
        offset = offset or 0
        if fault := page_fault(limit, offset):
            raise BadRequest(fault)
        cache = self._environments.cache
        found = [
            each
            for each in cache.records()
            if permissions.may_see(who, each, private=True) and user in (None, each.user)
        ]
        found.sort(key=lambda each: (each.used_ns, each.id), reverse=True)
        held = cache.held()
        shown = found[offset : offset + limit]
        return EnvironmentPage([KeptEnvironment(e, held.get(e.id, 0)) for e in shown], len(found))

    async def delete(self, who: Principal, environment_id: str) -> None:
        """Remove an environment that no task holds. Raises NotFound, Forbidden, Conflict."""
        cache = self._environments.cache
        record = cache.record(environment_id)
        unknown = NotFound(f"There is no environment {environment_id[:64]!r}")
        if record is None or not permissions.may_see(who, record, private=True):
            raise unknown
        if not permissions.may_end(who, record):
            raise Forbidden("Only its user and admins may remove an environment")
        if not await self._environments.remove([record]):
            # Another request, or the limit of the cache, may have removed it meanwhile.
            raise unknown if cache.record(environment_id) is None else Conflict(_USED)
        detail = f"{record.kind} {record.path}"
        await self._audit.done(who, Action.ENVIRONMENT_DELETE, record.id, detail)
