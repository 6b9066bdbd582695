"""The audit log over REST."""

from aiohttp import web

from fetchml.api.http.query import Query
from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Route
from fetchml.api.mappings import AUDIT_ENTRY
from fetchml.auth.audit import Audit


class AuditOperations:
    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    def routes(self) -> list[Route]:
        return [Route("GET", "/v1/audit", self.list)]

    async def list(self, request: RestRequest) -> web.StreamResponse:
        query = Query(request.http, "user_id", "action", "target", "since", "before", "limit")
        entries = await self._audit.entries(
            request.principal,
            user=query.text("user_id"),
            action=query.text("action"),
            target=query.text("target"),
            since=query.time("since"),
            before=query.text("before"),
            limit=query.number("limit"),
        )
        body = {"entries": await request.rows(AUDIT_ENTRY.json, entries)}
        return request.json(body, ignored=query.ignored)
