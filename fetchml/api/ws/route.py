"""`/ws`: changes of tasks as they happen."""

from aiohttp import web

from fetchml.api.http.query import Query
from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Route
from fetchml.api.ws.handshake import Handshake
from fetchml.api.ws.messages import BatchMessages, each_change
from fetchml.api.ws.session import Timing, WatchSession
from fetchml.core.model import Status
from fetchml.engine.engine import Engine
from fetchml.views import WatchFilter

MAX_MESSAGE_BYTES = 4096
"""Largest message from a client, which sends only `ping` and `pong`."""


class WatchOperation:
    def __init__(self, engine: Engine, handshake: Handshake, timing: Timing) -> None:
        self._engine = engine
        self._handshake = handshake
        self._timing = timing
        self._batches = BatchMessages()

    def routes(self) -> list[Route]:
        # Keyless for the router only: the handshake also accepts a key sent as a protocol.
        return [Route("GET", "/ws", self.watch, keyless=True)]

    async def watch(self, request: RestRequest) -> web.StreamResponse:
        protocols = self._handshake.admit(request)
        query = Query(request.http, "since", "task_id", "status", "view", "batch")
        full, since, in_batches = query.full_view(), query.number("since"), query.flag("batch")
        where = WatchFilter(query.text("task_id"), query.status("status", tuple(Status)))
        socket = self._handshake.socket(request, protocols, MAX_MESSAGE_BYTES)

        async def session() -> None:
            await socket.prepare(request.http)
            who = request.principal
            if in_batches:
                batches = self._engine.batches.watch(who, where, since)
                messages = self._batches.of(batches, full=full)
            else:
                updates = self._engine.watches.watch(who, where, since, completes=True)
                messages = each_change(updates, full=full)
            await WatchSession(socket, messages, self._timing, hold=request.message).run()

        return await self._handshake.serve(request, socket, session)
