"""API keys over REST, for admins."""

from aiohttp import web

from fetchml.api.http.body import read_object
from fetchml.api.http.query import Query
from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Route
from fetchml.api.mappings import KEY
from fetchml.auth.key_manager import KeyManager
from fetchml.core.requests.checks import unknown_fields
from fetchml.core.requests.key import KNOWN_FIELDS


class KeyOperations:
    def __init__(self, keys: KeyManager, *, body_timeout_seconds: float) -> None:
        self._keys = keys
        self._body_timeout_seconds = body_timeout_seconds

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/v1/keys", self.list),
            Route("POST", "/v1/keys", self.create),
            Route("POST", "/v1/keys/{id}/revoke", self.revoke),
        ]

    async def list(self, request: RestRequest) -> web.StreamResponse:
        query = Query(request.http)
        body = {"keys": await request.rows(KEY.json, self._keys.list(request.principal))}
        return request.json(body, ignored=query.ignored)

    async def create(self, request: RestRequest) -> web.StreamResponse:
        query = Query(request.http)
        fields = await read_object(request, self._body_timeout_seconds)
        key, secret = await self._keys.create_from(request.principal, fields)
        ignored = query.ignored + unknown_fields(fields, KNOWN_FIELDS)
        body = {"key": KEY.json(key), "secret": secret}
        return request.json(body, status=201, ignored=ignored)

    async def revoke(self, request: RestRequest, key_id: str) -> web.StreamResponse:
        query = Query(request.http)
        revoked = await self._keys.revoke(request.principal, key_id)
        return request.json(KEY.json(revoked), ignored=query.ignored)
