"""The HTTP server, which every request passes and which gives every error the contract's form.

It uses aiohttp's low-level server with its own router, so that nothing stands between the parser
and a handler except the code in this file.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from http import HTTPStatus

from aiohttp import web

from fetchml.api.http.connection import ConnectionServer
from fetchml.api.http.errors import CONTRACT, ErrorForm, HttpBadRequest, InternalError
from fetchml.api.http.framing import checked, is_last
from fetchml.api.http.reply import Budgets
from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Router
from fetchml.api.http.sessions import SessionCredentials
from fetchml.api.http.streams import Streams
from fetchml.api.mlflow.routes import MlflowOperations
from fetchml.api.operation_table import operations
from fetchml.api.proxy.jupyter import JupyterProxy
from fetchml.api.proxy.task_ports import AccessOperations, OpenedPorts, TaskPorts, port_in
from fetchml.api.rest.logs import LogOperations
from fetchml.api.rest.metrics import Metrics
from fetchml.api.rest.operation_routes import routes
from fetchml.api.rest.outputs import OutputOperations
from fetchml.api.rest.resources import ExperimentOperations, JupyterOperations, SweepOperations
from fetchml.api.rest.snapshots import SnapshotOperations
from fetchml.api.rest.status import ServerOperations
from fetchml.api.rest.tasks import TaskOperations
from fetchml.api.services import ApiServices
from fetchml.api.trace import new_trace
from fetchml.api.ui.routes import PageOperations
from fetchml.api.ui.session import SessionOperations
from fetchml.api.ws.handshake import Handshake
from fetchml.api.ws.shell import ShellOperation
from fetchml.api.ws.watch import Timing, WatchOperation
from fetchml.auth.limits import ConnectionLimits
from fetchml.auth.sign_in import SignIn
from fetchml.config.settings import MAX_CONNECTIONS
from fetchml.config.tls import Certificate
from fetchml.core.requests.text import is_valid
from fetchml.errors import BadRequest, Forbidden, RequestError, Unauthorized
from fetchml.system.log import current_trace

BACKLOG = 1024
MAX_PATH_IN_LOG = 200
GATEWAY_PATH = "/mlflow"
GATEWAY = 0
"""Stands for the socket of tasks among ports."""
_NOT_UTF8 = "The path or the query is not valid UTF-8: percent-encode it"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HttpTimeouts:
    """Time limits of the HTTP server in seconds."""

    body: float = 30
    """Longest time from a request's head to the end of its body."""
    handshake: float = 10
    """Longest time of a TLS handshake."""
    idle: float = 75
    """A connection without a complete request is closed after this time."""
    send: float = 30
    """A connection is closed if its client reads nothing of a reply, a log or a file for this long.
    The Jupyter proxy also applies it to clients that send nothing of a body."""
    streams_close: float = 3
    """Time for streams to send the reason to their clients when the server shuts down."""
    requests_finish: float = 5
    """Time for other requests to be answered when the server shuts down."""
    jupyter_answer: float = 120
    """A proxied request fails if Jupyter sends nothing, or reads nothing, for this long."""
    ws: Timing = field(default_factory=Timing)


class HttpServer:
    """Serves REST, `/ws`, the page, and the Jupyter proxy."""

    def __init__(
        self,
        api: ApiServices,
        timeouts: HttpTimeouts | None = None,
        *,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self._admission = api.admission
        self._audit = api.audit
        self._timeouts = timeouts = timeouts or HttpTimeouts()
        self._streams = Streams()
        self._router = Router()
        self._runner: web.ServerRunner | None = None
        self._listeners: list[asyncio.AbstractServer] = []
        self._budgets = budgets = Budgets()
        self._connections = ConnectionLimits(max_connections, api.admission.is_shared)
        self._dropping: asyncio.Task[None] | None = None
        metrics = Metrics(
            self._router.routes, self._streams.__len__, self._connections, budgets, api.access
        )
        self._origins = api.jupyter.origins
        proxy = JupyterProxy(
            api.jupyter,
            api.admission,
            self._streams,
            api.jupyter.origins,
            client_seconds=timeouts.send,
            jupyter_seconds=timeouts.jupyter_answer,
        )
        self._at_origin = proxy.at_origin
        ports = TaskPorts(
            api.access,
            api.admission,
            self._streams,
            api.jupyter.origins,
            proxy.limits,
            client_seconds=timeouts.send,
            task_seconds=timeouts.jupyter_answer,
        )
        self._at_port_origin = ports.at_origin
        self._jupyter_port = api.jupyter.origins.port
        self._at_gateway = Router()
        """What tasks reach by their socket: nothing but the protocol by which they log."""
        self._at_jupyter_port = Router()
        for route in proxy.routes_at_port():
            self._at_jupyter_port.add(route)
        self._credentials = SessionCredentials(api.admission, api.jupyter.origins)
        handshake = Handshake(
            api.admission, self._credentials, self._streams, timeouts.ws.close_within
        )
        for route in routes(operations(api), body_timeout_seconds=timeouts.body):
            self._router.add(route)
        for by_hand in (
            TaskOperations(api.engine, body_timeout_seconds=timeouts.body),
            ExperimentOperations(api.experiments, body_timeout_seconds=timeouts.body),
            SweepOperations(api.engine, body_timeout_seconds=timeouts.body),
            SnapshotOperations(
                api.snapshots,
                self._streams,
                body_timeout_seconds=timeouts.body,
                send_timeout_seconds=timeouts.send,
            ),
            JupyterOperations(api.jupyter, body_timeout_seconds=timeouts.body),
            LogOperations(api.engine, self._streams, send_timeout_seconds=timeouts.send),
            OutputOperations(api.engine, self._streams, send_timeout_seconds=timeouts.send),
            ServerOperations(api.engine, api.gpus, api.secrets, api.environments, metrics),
            AccessOperations(OpenedPorts(api.access, api.admission, api.jupyter.origins)),
            WatchOperation(api.engine, handshake, timeouts.ws),
            ShellOperation(api.access, handshake, timeouts.ws),
            SessionOperations(
                api.admission,
                SignIn(api.admission, api.audit),
                self._credentials,
                api.jupyter.origins,
                private=api.jupyter.private,
                body_timeout_seconds=timeouts.body,
            ),
            PageOperations(),
            MlflowOperations(
                api,
                self._credentials,
                self._streams,
                body_timeout_seconds=timeouts.body,
                send_timeout_seconds=timeouts.send,
            ),
            proxy,
        ):
            for route in by_hand.routes():
                self._router.add(route)
                if route.path.startswith(f"{GATEWAY_PATH}/"):
                    self._at_gateway.add(route)

    async def start(
        self,
        sockets: Iterable[socket.socket],
        certificate: Certificate | None = None,
        gateway: socket.socket | None = None,
    ) -> None:
        """Listen on bound sockets, with TLS if there is a certificate. `gateway`: the socket for
        tasks, without TLS; `None` if there is none. Raises OSError."""
        server = ConnectionServer(
            self._answer,
            self._connections,
            idle_seconds=self._timeouts.idle,
            send_seconds=self._timeouts.send,
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=self._timeouts.requests_finish)
        await self._runner.setup()
        self._dropping = asyncio.create_task(server.drop_stalled_forever())
        tls = certificate.server_context() if certificate else None
        for bound in sockets:
            listener = await asyncio.get_running_loop().create_server(
                server,
                sock=bound,
                backlog=BACKLOG,
                ssl=tls,
                # A connection is counted for its address only after the handshake.
                ssl_handshake_timeout=self._timeouts.handshake if tls else None,
            )
            self._listeners.append(listener)
        if gateway is not None:
            self._listeners.append(
                await asyncio.get_running_loop().create_unix_server(
                    server, sock=gateway, backlog=BACKLOG
                )
            )

    async def stop(self, reason: str) -> None:
        """End streams with the reason, let other requests finish, and stop listening."""
        await self._streams.close(reason, self._timeouts.streams_close)
        for listener in self._listeners:
            listener.close()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._dropping is not None:
            self._dropping.cancel()
            await asyncio.gather(self._dropping, return_exceptions=True)

    async def _answer(self, http: web.BaseRequest) -> web.StreamResponse:
        begun = time.perf_counter()
        headers = http.headers
        trace_id = new_trace(headers.get("traceparent"), headers.get("x-request-id"))
        current_trace.set(trace_id)
        address = http.remote or ""
        if forwarded_for := headers.getall("X-Forwarded-For", None):
            address = self._admission.client_of(address, ",".join(forwarded_for))
        try:
            http = checked(http)
        except BadRequest as fault:
            response = self._refuse(RestRequest(http, trace_id, address), fault)
            response.force_close()
            return response
        request = RestRequest(http, trace_id, address, self._budgets)
        label = self._origins.label_of(headers.get("Host"))
        router = self._router_of(http)
        if label is None or router is self._at_gateway:
            route, parameters = router.find(http.method, http.rel_url.raw_path)
        else:
            is_port = port_in(label) is not None
            route, parameters = (self._at_port_origin if is_port else self._at_origin), (label,)
        try:
            if not route.keyless:
                if route.admit is not None:
                    route.admit(request)
                elif secret := headers.get("X-API-Key"):
                    request.admit(self._admission, secret)
                else:
                    self._credentials.admit(request)
            elif router.is_error(route):
                self._admission.count_refusal(headers.get("X-API-Key"), address)
            if not is_valid(http.raw_path):
                raise BadRequest(_NOT_UTF8)
            response = await route.handler(request, *parameters)
        except RequestError as error:
            response = self._refuse(request, error, route.errors)
        except ConnectionError:
            raise  # The client has disconnected, or was dropped.
        except Exception:
            log.exception("%s %s failed", http.method, http.path)
            response = self._refuse(request, InternalError(), route.errors)
        finally:
            request.release()
        if is_last(http):
            response.force_close()
        route.count(response.status, time.perf_counter() - begun)
        return response

    def _router_of(self, http: web.BaseRequest) -> Router:
        port = _port_of(http)
        if port == GATEWAY:
            return self._at_gateway
        is_jupyter = port is not None and port == self._jupyter_port
        return self._at_jupyter_port if is_jupyter else self._router

    def _refuse(
        self, request: RestRequest, error: RequestError, form: ErrorForm = CONTRACT
    ) -> web.StreamResponse:
        """Log the error and reply with it. Raises ConnectionAbortedError if a reply has already
        begun, so that it does not look complete."""
        http, status = request.http, form.status_of(error)
        # Any client can cause these lines: clip the path, and hide them from rate-limited clients.
        level = logging.DEBUG if status == HTTPStatus.TOO_MANY_REQUESTS else logging.INFO
        path = http.path[:MAX_PATH_IN_LOG]
        log.log(level, "%s %s: %d %s", http.method, path, status, error.code)
        if isinstance(error, (Forbidden, Unauthorized)):
            tried = f"{http.method} {path}"
            self._audit.refused(request.admitted, request.address, tried, error)
        if http.writer.output_size:
            raise ConnectionAbortedError
        response = request.error(error, form)
        if isinstance(error, HttpBadRequest) and not http.content.is_eof():
            response.force_close()
        return response


def _port_of(http: web.BaseRequest) -> int | None:
    """Return the port of this server that the client is connected to, GATEWAY for the socket of
    tasks; `None` if it has left."""
    transport = http.transport
    name = None if transport is None else transport.get_extra_info("sockname")
    if isinstance(name, str):
        return GATEWAY
    return name[1] if isinstance(name, tuple) else None
