"""Ports of tasks over REST."""

import re

from aiohttp import web

from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Route
from fetchml.api.http.sessions import place_of
from fetchml.api.jupyter.opened_ports import OpenedPorts
from fetchml.api.mappings import TASK_PORT_LINK
from fetchml.errors import BadRequest


class AccessOperations:
    def __init__(self, ports: OpenedPorts) -> None:
        self._ports = ports

    def routes(self) -> list[Route]:
        return [Route("POST", "/v1/tasks/{id}/ports/{port}", self.open)]

    async def open(self, request: RestRequest, task_id: str, port: str) -> web.StreamResponse:
        if not re.fullmatch("[0-9]{1,9}", port, re.ASCII):
            raise BadRequest("port: must be an integer")
        place = place_of(request.http, self._ports.public_url)
        link = await self._ports.open(request.principal, task_id, int(port), place, request.session)
        return request.json(TASK_PORT_LINK.json(link))
