"""GPUs over REST."""

from aiohttp import web

from fetchml.api.http.query import Query
from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Route
from fetchml.api.mappings import GPU, GPUS
from fetchml.engine.gpus.gpus import Gpus


class GpuOperations:
    def __init__(self, gpus: Gpus) -> None:
        self._gpus = gpus

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/v1/gpus", self.list),
            Route("POST", "/v1/gpus/{uuid}/drain", self.drain),
            Route("POST", "/v1/gpus/{uuid}/undrain", self.undrain),
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
