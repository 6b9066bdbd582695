"""Kept environments over REST."""

from aiohttp import web

from fetchml.api.environment_mappings import KEPT_ENVIRONMENT
from fetchml.api.http.query import Query
from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Route
from fetchml.environments.kept import KeptEnvironments


class EnvironmentOperations:
    def __init__(self, environments: KeptEnvironments) -> None:
        self._environments = environments

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/v1/environments", self.list),
            Route("DELETE", "/v1/environments/{id}", self.delete),
        ]

    async def list(self, request: RestRequest) -> web.StreamResponse:
        query = Query(request.http, "user_id", "limit", "offset")
        page = self._environments.page(
            request.principal,
            user=query.text("user_id") or None,
            limit=query.number("limit"),
            offset=query.number("offset"),
        )
        body = {
            "environments": await request.rows(KEPT_ENVIRONMENT.json, page.environments),
            "total": page.total,
        }
        return request.json(body, ignored=query.ignored)

    async def delete(self, request: RestRequest, environment_id: str) -> web.StreamResponse:
        await self._environments.delete(request.principal, environment_id)
        return request.empty()
