"""Envoy at the edge: TLS, its own replies, rate limits by key, and the access log."""

import asyncio
import re
import ssl
import subprocess
import uuid
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from grpc_health.v1 import health_pb2

from fetchml.config.proxies import Network, Proxies
from fetchml.core.model import Role
from fetchml.v1 import queue_pb2, task_pb2
from fetchml.v1.queue_pb2_grpc import QueueServiceStub
from testbed import debian
from testbed import envoy as proxy
from testbed.authority import Authority
from tests.envoy.grpc_web import call_over_web
from tests.support import grpc_world, rest_world
from tests.support.cli_server import FETCHML, environment
from tests.support.rest_world import Reply, World
from tests.support.validate import check_error
from tests.support.waiting import eventually

UNAVAILABLE = "The server does not answer: try again later"
UNREADABLE = "grpc-timeout can't be read"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.fixture
def curl() -> str:
    return debian.program("curl")


def client_of(edge: proxy.Envoy, session: aiohttp.ClientSession) -> rest_world.Client:
    """Without a server behind it."""
    return rest_world.Client(session, f"http://127.0.0.1:{edge.ports[proxy.PLAIN]}", "a" * 20)


async def test_edge_serves_tls_and_http_2(
    rest: World, edge: proxy.Envoy, authority: Authority, curl: str
) -> None:
    address = f"127.0.0.1:{edge.ports['edge']}"
    trusting = ssl.create_default_context(cafile=str(authority.file))
    speaking_h2 = ssl.create_default_context(cafile=str(authority.file))
    speaking_h2.set_alpn_protocols(["h2", "http/1.1"])
    _, writer = await asyncio.open_connection("127.0.0.1", edge.ports["edge"], ssl=speaking_h2)
    connection = writer.get_extra_info("ssl_object")
    assert connection.selected_alpn_protocol() == "h2"
    assert connection.version() == "TLSv1.3"
    writer.close()
    over_tls = rest_world.Client(rest.client.session, f"https://{address}", rest.client.secret)
    async with rest.client.session.get(
        over_tls.url("/v1/queue"), headers=over_tls.with_key({}), ssl=trusting
    ) as response:
        assert (response.status, (await response.json())["workers"]) == (200, 1)
    key = f"X-API-Key: {rest.client.secret}"
    asked = await asyncio.create_subprocess_exec(
        *(curl, "--silent", "--http2", "--cacert", str(authority.file), "--header", key),
        *("--write-out", " %{http_version} %{http_code}", f"https://{address}/v1/queue"),
        stdout=subprocess.PIPE,
    )
    said, _ = await asked.communicate()
    assert said.decode().endswith('"workers":1} 2 200')
    with pytest.raises(aiohttp.ClientConnectionError):
        await rest.client.session.get(f"http://{address}/health")


async def test_grpc_shares_the_tls_port(
    tmp_path: Path, edge: proxy.Envoy, authority: Authority
) -> None:
    async with grpc_world.grpc_world(tmp_path) as world:
        channel: Any = grpc.aio.secure_channel(
            f"127.0.0.1:{edge.ports['edge']}",
            grpc.ssl_channel_credentials(authority.file.read_bytes()),
        )
        queue: Any = QueueServiceStub(channel)
        stats = await queue.GetQueue(queue_pb2.GetQueueRequest(), metadata=world.client.metadata)
        assert stats.workers == 1
        await channel.close()


async def test_cli_works_through_envoy(
    tmp_path: Path, edge: proxy.Envoy, authority: Authority
) -> None:
    async with grpc_world.grpc_world(tmp_path) as world:
        request = task_pb2.CreateTaskRequest(job_name="mine")
        await world.client.tasks.CreateTask(request)
        asked = await asyncio.create_subprocess_exec(
            *(*FETCHML, "ls", "--json"),
            stdout=subprocess.PIPE,
            env=environment(
                FETCHML_SERVER=f"https://127.0.0.1:{edge.ports['edge']}",
                FETCHML_TLS_CA=str(authority.file),
                FETCHML_API_KEY=world.secrets[Role.USER],
            ),
        )
        said, _ = await asked.communicate()
    assert (asked.returncode, b'"mine"' in said) == (0, True)


async def test_grpc_web_call_is_served(tmp_path: Path) -> None:
    async with grpc_world.grpc_world(tmp_path) as world, aiohttp.ClientSession() as session:
        client = rest_world.Client(session, f"http://{world.address}", world.secrets[Role.USER])
        method = "fetchml.v1.TaskService/CreateTask"
        (message,), trailers = await call_over_web(
            client, method, task_pb2.CreateTaskRequest(job_name="a")
        )
        assert task_pb2.Task.FromString(message).job_name == "a"
        assert trailers["grpc-status"] == "0"
        none, trailers = await call_over_web(
            client, method, task_pb2.CreateTaskRequest(job_name="a b")
        )
        assert (none, trailers["grpc-status"]) == ([], "3")
        assert "job_name" in trailers["grpc-message"]
        (message,), _ = await call_over_web(
            client, "grpc.health.v1.Health/Check", health_pb2.HealthCheckRequest()
        )
        serving = health_pb2.HealthCheckResponse.SERVING
        assert health_pb2.HealthCheckResponse.FromString(message).status == serving


JUNK = ["junk", "5", "S", "123456789S", "5S,5S", "-1S", "5s", ""]


async def test_unreadable_deadline_is_rejected_by_envoy(tmp_path: Path) -> None:
    """gRPC may keep it in what it knows of the connection, which all clients share."""
    async with grpc_world.grpc_world(tmp_path) as world, aiohttp.ClientSession() as session:
        client = rest_world.Client(session, f"http://{world.address}", world.secrets[Role.USER])
        for deadline in JUNK:
            refused = await call_raw(client, "application/grpc", grpc_timeout=deadline)
            assert (refused.status, refused.headers["grpc-status"]) == (200, "3"), deadline
            assert refused.headers["grpc-message"] == UNREADABLE
            over_web = await call_raw(client, "application/grpc-web+proto", grpc_timeout=deadline)
            assert (over_web.status, over_web.headers["grpc-message"]) == (400, UNREADABLE)
        served = await call_raw(client, "application/grpc", grpc_timeout="99999999m")
        assert (served.status, len(served.body) > 5) == (200, True)


async def call_raw(client: rest_world.Client, content_type: str, **headers: str) -> Reply:
    """GetQueue, byte by byte."""
    async with client.session.post(
        client.url("/fetchml.v1.QueueService/GetQueue"),
        data=bytes(5),
        headers=client.with_key({**headers, "Content-Type": content_type, "TE": "trailers"}),
    ) as response:
        return Reply(response.status, response.headers, await response.read())


async def test_other_content_types_are_served_as_rest(rest: World) -> None:
    for path in ("/fetchml.v1.QueueService/GetQueue", "/grpc.health.v1.Health/Check"):
        for content_type in (
            None,
            "application/json",
            "application/grpcX",
            "text/application/grpc",
        ):
            headers = {"Content-Type": content_type} if content_type else {}
            headers["grpc-timeout"] = "junk"
            for method, body in (("GET", None), ("POST", b"{}")):
                reply = await rest.client.ask(method, path, body, **headers)
                assert (reply.status, reply.code) == (404, "NOT_FOUND"), (path, content_type)


async def test_rest_error_has_the_contract_body_without_a_server(edge: proxy.Envoy) -> None:
    async with aiohttp.ClientSession() as session:
        client = client_of(edge, session)
        for path in ("/v1/queue", "/fetchml.v1.QueueService/GetQueue"):
            reply = await client.get(path, Content_Type="application/grpcX")
            assert (reply.status, reply.error) == (503, UNAVAILABLE)


async def test_unknown_transfer_encoding_is_rejected(rest: World) -> None:
    reply = await rest.raw(
        b"POST /v1/tasks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n"
    )
    assert (reply.status, reply.code) == (400, "BAD_REQUEST")


@pytest.mark.parametrize("protocol", ["websocket", "other"])
async def test_upgrade_is_refused_where_no_protocol_uses_it(rest: World, protocol: str) -> None:
    """A 200 to a request that asks for one would lose its body."""
    head = f"GET /v1/queue HTTP/1.1\r\nHost: a\r\nX-API-Key: {rest.client.secret}\r\n"
    reply = await rest.raw(f"{head}Connection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n".encode())
    assert (reply.status, reply.code) == (400, "BAD_REQUEST")
    assert "ask without Upgrade" in reply.error


async def test_missing_server_is_reported_as_unavailable(edge: proxy.Envoy) -> None:
    async with aiohttp.ClientSession() as session:
        client = client_of(edge, session)
        for path in ("/v1/tasks", "/health", "/ws", "/jupyter/x", "/v1/tasks/x/logs"):
            async with session.get(
                client.url(path), headers={"traceparent": TRACEPARENT}
            ) as response:
                body = await response.read()
                check_error(body)
                said = await response.json()
                assert (response.status, response.content_type) == (503, "application/json")
                assert (said["code"], said["error"]) == ("SERVICE_UNAVAILABLE", UNAVAILABLE)
                assert said["trace_id"].replace("-", "") == TRACE
        with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
            await session.ws_connect(client.url("/ws"))
        with pytest.raises(aiohttp.ClientResponseError, match="503"):
            await call_over_web(
                client, "fetchml.v1.QueueService/GetQueue", queue_pb2.GetQueueRequest()
            )
    over_grpc = grpc_world.Client(f"127.0.0.1:{edge.ports[proxy.PLAIN]}", "a" * 20)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await over_grpc.queue.GetQueue(queue_pb2.GetQueueRequest())
    await over_grpc.channel.close()
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "{" not in str(error.value.details()), "a body of REST is no message for gRPC"


@pytest.mark.slow
async def test_hanging_server_is_reported_as_a_timeout(
    edge: proxy.Envoy, ports: dict[str, int]
) -> None:
    async def never(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gone.wait()
        writer.close()

    gone = asyncio.Event()
    server = await asyncio.start_server(never, "127.0.0.1", ports["http"])
    async with server, aiohttp.ClientSession() as session:
        reply = await client_of(edge, session).get("/readyz")
        gone.set()
    assert (reply.status, reply.code, reply.error) == (503, "SERVICE_UNAVAILABLE", UNAVAILABLE)


@pytest.mark.slow
async def test_each_key_has_its_limit(
    rest: World, files: Path, ports: dict[str, int], tmp_path: Path
) -> None:
    key = rest.secrets[Role.USER]
    with proxy.running("envoy.yaml", tmp_path, files, ports, plain=True, burst=5) as limiting:
        port = limiting.ports[proxy.PLAIN]
        client = rest_world.Client(rest.client.session, f"http://127.0.0.1:{port}", key)
        asked = 0
        while (limited := await client.get("/v1/queue")).status == 200:
            asked += 1
            assert asked < 1_000, "it is never limited"
        assert asked >= 5
        assert (limited.status, limited.code) == (429, "RATE_LIMITED")
        assert limited.headers["Retry-After"] == "1"
        assert limited.headers["RateLimit-Remaining"] == "0"
        assert (await client.get("/health")).status == 200
        client.secret = rest.secrets[Role.VIEWER]
        assert (await client.get("/v1/queue")).status == 200
        async with grpc_world.grpc_world(tmp_path) as world:
            over_grpc = grpc_world.Client(f"127.0.0.1:{port}", world.secrets[Role.ADMIN])
            code = None
            while code is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                try:
                    await over_grpc.queue.GetQueue(queue_pb2.GetQueueRequest())
                except grpc.aio.AioRpcError as error:
                    code = error.code()
            await over_grpc.channel.close()


@pytest.mark.slow
async def test_keyless_flood_limits_only_its_own_address(
    rest: World, files: Path, ports: dict[str, int], tmp_path: Path
) -> None:
    """By address, and not on the paths where browsers show no key of theirs."""
    with proxy.running("envoy.yaml", tmp_path, files, ports, plain=True, burst=5) as limiting:
        base = f"http://127.0.0.1:{limiting.ports[proxy.PLAIN]}"
        flooding = rest_world.Client(rest.client.session, base, None)

        async def flood(path: str) -> rest_world.Reply:
            for _ in range(1_000):
                reply = await flooding.get(path)
                if reply.status == 429 and "RateLimit-Reset" in reply.headers:
                    return reply
            raise AssertionError("it is never limited")

        limited = await flood("/v1/queue")
        assert (limited.code, limited.headers["Retry-After"]) == ("RATE_LIMITED", "1")
        key = rest_world.Client(rest.client.session, base, rest.secrets[Role.USER])
        assert (await key.get("/v1/queue")).status == 200
        # Its own notebooks and its own page are not concerned.
        secret = rest.secrets[Role.VIEWER]
        protocols = ("fetchml.v1", f"fetchml.key.{secret}")
        async with rest.client.session.ws_connect(f"{base}/ws", protocols=protocols) as socket:
            assert socket.protocol == "fetchml.v1"
        notebook = f"/jupyter/{uuid.uuid4()}/lab"
        assert (await status(rest.client.session, base, notebook)) == 404
        while await status(rest.client.session, base, notebook) != 429:
            pass
        assert (await status(rest.client.session, base, "/ws")) == 401
        elsewhere = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
        async with aiohttp.ClientSession(connector=elsewhere) as session:
            assert (await status(session, base, "/v1/queue")) == 401
            assert (await status(session, base, notebook)) == 404


async def status(session: aiohttp.ClientSession, base: str, path: str) -> int:
    async with session.get(base + path) as response:
        return response.status


async def test_access_log_has_the_trace_and_no_key(
    rest: World, edge: proxy.Envoy, tmp_path: Path
) -> None:
    missing = await rest.client.get("/v1/tasks/nowhere")
    trace = missing.json["trace_id"]

    def line() -> list[dict[str, Any]]:
        return [one for one in edge.access_log if one["trace_id"] == trace]

    await eventually(lambda: len(line()) == 1)
    (logged,) = line()
    assert (logged["method"], logged["path"], logged["status"]) == ("GET", "/v1/tasks/nowhere", 404)
    async with grpc_world.grpc_world(tmp_path) as world:
        refused = await grpc_world.failed_call(
            world.client.tasks.GetTask(task_pb2.GetTaskRequest(task_id="nowhere"))
        )
        trace = refused.trace_id
        await eventually(lambda: len(line()) == 1)
        assert (line()[0]["protocol"], line()[0]["grpc_status"]) == ("HTTP/2", "NotFound")
        secrets = (*world.secrets.values(), *rest.secrets.values())
    assert [secret for secret in secrets if secret in str(edge.access_log)] == []


async def test_key_in_the_path_is_redacted_in_the_log(rest: World, edge: proxy.Envoy) -> None:
    secret = str(rest.client.secret)
    reply = await rest.client.get(f"/v1/tasks/{secret}")

    def line() -> list[dict[str, Any]]:
        return [one for one in edge.access_log if one["trace_id"] == reply.json["trace_id"]]

    await eventually(lambda: len(line()) == 1)
    (logged,) = line()
    assert (logged["path"], logged["status"], logged["method"]) == ("[redacted]", 404, "GET")
    assert secret not in str(edge.access_log)


async def test_server_sees_the_client_address_behind_envoy(edge: proxy.Envoy) -> None:
    """And takes nobody's own word for it."""
    behind = Proxies([Network.parse("127.0.0.1")])
    elsewhere = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
    async with rest_world.rest_world(proxies=behind) as rest:
        async with aiohttp.ClientSession(connector=elsewhere) as session:
            await client_of(edge, session).get("/v1/queue", X_Forwarded_For="203.0.113.7")
        [refused] = rest.store.audit
    assert refused.address == "127.0.0.2"


@pytest.mark.parametrize(
    "traceparent",
    [
        TRACEPARENT,
        f"cc-{TRACE}-00f067aa0ba902b7-01-of-a-later-version",
        f"ff-{TRACE}-00f067aa0ba902b7-01",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-00f067aa0ba902b7-01",
        f"00-{TRACE}",
        "",
    ],
)
async def test_one_trace_id_in_error_and_log(
    rest: World, edge: proxy.Envoy, traceparent: str
) -> None:
    path = f"/v1/tasks/{uuid.uuid4()}"
    trace = (await rest.client.get(path, traceparent=traceparent)).json["trace_id"]

    def logged() -> list[str]:
        return [one["trace_id"] for one in edge.access_log if one["path"] == path]

    taken = traceparent.startswith((f"00-{TRACE}-00f0", f"cc-{TRACE}-"))
    assert (trace.replace("-", "") == TRACE) is taken
    await eventually(lambda: logged() == [trace])


async def test_jupyter_is_forwarded_and_its_token_is_not_logged(
    rest: World, edge: proxy.Envoy
) -> None:
    path = f"/jupyter/{uuid.uuid4()}/lab"
    async with rest.client.session.get(rest.client.url(f"{path}?token=jupyter-s")) as response:
        assert (response.status, response.headers["Server"]) == (404, "fetchml")
    await eventually(lambda: path in [one["path"] for one in edge.access_log])
    assert "jupyter-s" not in str(edge.access_log)


async def test_envoy_checks_the_health_of_the_server(rest: World, edge: proxy.Envoy) -> None:
    def attempts() -> list[int]:
        text = edge.admin("/stats?filter=health_check.attempt")
        return [int(count) for count in re.findall(r"\.attempt: (\d+)", text)]

    await eventually(lambda: len(attempts()) == 2 and min(attempts()) > 0)
