"""The caller's secrets over REST. No reply contains a value."""

from aiohttp import web

from fetchml.api.http.body import read_object
from fetchml.api.http.query import Query
from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Route
from fetchml.api.mappings import SECRET
from fetchml.core.requests.checks import unknown_fields
from fetchml.core.requests.secrets import KNOWN_FIELDS
from fetchml.user_secrets.service import UserSecrets


class SecretOperations:
    def __init__(self, secrets: UserSecrets, *, body_timeout_seconds: float) -> None:
        self._secrets = secrets
        self._body_timeout_seconds = body_timeout_seconds

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/v1/secrets", self.list),
            Route("PUT", "/v1/secrets/{name}", self.set),
            Route("DELETE", "/v1/secrets/{name}", self.delete),
        ]

    async def list(self, request: RestRequest) -> web.StreamResponse:
        query = Query(request.http, "user_id")
        found = self._secrets.list(request.principal, query.text("user_id") or None)
        return request.json({"secrets": list(map(SECRET.json, found))}, ignored=query.ignored)

    async def set(self, request: RestRequest, name: str) -> web.StreamResponse:
        query = Query(request.http)
        fields = await read_object(request, self._body_timeout_seconds)
        done = await self._secrets.set(request.principal, name, fields)
        ignored = query.ignored + unknown_fields(fields, KNOWN_FIELDS)
        return request.json(SECRET.json(done), ignored=ignored)

    async def delete(self, request: RestRequest, name: str) -> web.StreamResponse:
        query = Query(request.http, "user_id")
        await self._secrets.delete(request.principal, name, query.text("user_id") or None)
        return request.empty()
