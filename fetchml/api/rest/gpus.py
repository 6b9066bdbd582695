"""GPUs over REST."""

from aiohttp import web

from fetchml.api.booking_mappings import BOOKING
from fetchml.api.http.body import read_object
from fetchml.api.http.query import Query
from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Route
from fetchml.api.mappings import GPU, GPUS
from fetchml.core.bookings.requests import KNOWN_FIELDS
from fetchml.core.requests.checks import unknown_fields
from fetchml.engine.gpus.gpus import Gpus


class GpuOperations:
    def __init__(self, gpus: Gpus, *, body_timeout_seconds: float) -> None:
        self._gpus = gpus
        self._body_timeout_seconds = body_timeout_seconds

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/v1/gpus", self.list),
            Route("POST", "/v1/gpus/{uuid}/drain", self.drain),
            Route("POST", "/v1/gpus/{uuid}/undrain", self.undrain),
            Route("GET", "/v1/bookings", self.bookings),
            Route("POST", "/v1/bookings", self.book),
            Route("DELETE", "/v1/bookings/{id}", self.unbook),
        ]

    async def list(self, request: RestRequest) -> web.StreamResponse:
        query = Query(request.http)
        return request.json(GPUS.json(self._gpus.list(request.principal)), ignored=query.ignored)

    async def drain(self, request: RestRequest, uuid: str) -> web.StreamResponse:
        query = Query(request.http)
        return request.json(
            GPU.json(await self._gpus.drain(request.principal, uuid)), ignored=query.ignored
        )

    async def undrain(self, request: RestRequest, uuid: str) -> web.StreamResponse:
        query = Query(request.http)
        return request.json(
            GPU.json(await self._gpus.undrain(request.principal, uuid)), ignored=query.ignored
        )

    async def bookings(self, request: RestRequest) -> web.StreamResponse:
        query = Query(request.http)
        found = self._gpus.bookings.list(request.principal)
        body = {"bookings": await request.rows(BOOKING.json, found)}
        return request.json(body, ignored=query.ignored)

    async def book(self, request: RestRequest) -> web.StreamResponse:
        query = Query(request.http)
        fields = await read_object(request, self._body_timeout_seconds)
        made = await self._gpus.bookings.create(request.principal, fields)
        ignored = query.ignored + unknown_fields(fields, KNOWN_FIELDS)
        return request.json(BOOKING.json(made), status=201, ignored=ignored)

    async def unbook(self, request: RestRequest, booking_id: str) -> web.StreamResponse:
        await self._gpus.bookings.delete(request.principal, booking_id)
        return request.empty()
