"""The contract's operations and codes through the transcoder; replies match the schemas."""

from pathlib import Path

import aiohttp
import grpc
import pytest

from fetchml.auth.limits import RateLimiter
from fetchml.config.proxies import Network, Proxies
from fetchml.core.model import Role, Status
from fetchml.errors import Conflict, Unavailable
from fetchml.v1 import queue_pb2, task_pb2
from fetchml.views import Health, HealthStatus
from testbed import envoy as proxy
from tests.envoy.grpc_web import call_over_web
from tests.envoy.test_edge import JUNK, UNREADABLE, call_raw
from tests.support import rest_world
from tests.support.front import TRANSCODER
from tests.support.grpc_world import Client, failed_call
from tests.support.program import ADMIN_KEY, Backend
from tests.support.rest_world import JSON, World
from tests.support.server_fixtures import Serve
from tests.support.transcoded_world import transcoded
from tests.support.waiting import eventually

pytestmark = pytest.mark.behind(TRANSCODER)

EXPERIMENT = b'{"name": "mnist"}'


async def test_tasks_follow_the_contract(rest: World) -> None:
    created = await rest.client.submit({"job_name": "a", "cpu": 0})
    assert created.status == 201
    path = f"/v1/tasks/{created.json['id']}"
    assert (await rest.client.get(path)).json == created.json
    listed = await rest.client.get("/v1/tasks?status=queued")
    assert (listed.status, listed.json["tasks"]) == (200, [created.json])
    deleted = await rest.client.ask("DELETE", path)
    assert (deleted.status, deleted.body) == (204, b"")
    assert "Content-Type" not in deleted.headers
    empty = await rest.client.get("/v1/tasks?status=running")
    assert empty.json == {"tasks": [], "total": 0, "limit": 50, "offset": 0}


async def test_experiments_are_a_bare_list(rest: World) -> None:
    assert (await rest.client.get("/v1/experiments")).json == []
    created = await rest.client.ask("POST", "/v1/experiments", EXPERIMENT, **JSON)
    assert created.status == 201
    assert (await rest.client.get("/v1/experiments")).json == [created.json]
    path = f"/v1/experiments/{created.json['id']}"
    archived = await rest.client.ask("POST", f"{path}/archive")
    assert (archived.status, archived.json["status"]) == (200, "archived")
    assert (await rest.client.ask("DELETE", path)).status == 204
    assert (await rest.client.get(path)).status == 404


async def test_queue_follows_the_contract(rest: World) -> None:
    assert (await rest.client.get("/v1/queue")).json["workers"] == 1


@pytest.mark.parametrize(
    ("health", "said"),
    [
        (Health(HealthStatus.HEALTHY), "healthy"),
        (Health(HealthStatus.UNHEALTHY, ("disk full",), accepts_work=False), "unhealthy"),
    ],
)
async def test_health_needs_no_key(rest: World, health: Health, said: str) -> None:
    rest.engine.report(health)
    reply = await rest.as_(None).get("/health")
    assert (reply.status, reply.json["status"]) == (200, said)


@pytest.mark.parametrize(
    ("error", "status", "code", "message"),
    [
        (Conflict('it "has" ended \\ é'), 409, "CONFLICT", 'it "has" ended \\ é'),
        (Unavailable("shutting down"), 503, "SERVICE_UNAVAILABLE", "shutting down"),
        (RuntimeError("a path of ours"), 500, "INTERNAL_ERROR", "An error occurred"),
    ],
)
async def test_errors_have_the_contract_body(
    rest: World, error: Exception, status: int, code: str, message: str
) -> None:
    rest.engine.fail(error)
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    async with rest.client.session.get(
        rest.client.url("/v1/queue"),
        headers=rest.client.with_key({"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}),
    ) as response:
        body = await response.json()
    assert (response.status, body.keys()) == (status, {"error", "code", "trace_id"})
    assert (body["error"], body["code"]) == (message, code)
    assert body["trace_id"].replace("-", "") == trace


async def test_message_cannot_forge_the_error_code(rest: World) -> None:
    rest.engine.fail(Conflict('ErrorInfo","reason":"UNAUTHORIZED"'))
    async with rest.client.open("/v1/queue") as response:
        assert response.status == 409
        assert (await response.json())["error"] == 'ErrorInfo","reason":"UNAUTHORIZED"'


async def test_keys_and_roles_are_enforced(rest: World) -> None:
    nobody = await rest.as_(None).get("/v1/queue")
    assert (nobody.status, nobody.code) == (401, "UNAUTHORIZED")
    assert nobody.headers["WWW-Authenticate"] == 'ApiKey realm="fetchml"'
    audit = await rest.client.get("/v1/audit")
    assert (audit.status, audit.code) == (403, "FORBIDDEN")
    admin = await rest.as_(rest.secrets[Role.ADMIN]).get("/v1/audit")
    assert (admin.status, admin.json["entries"][0]["outcome"]) == (200, "FORBIDDEN")


async def test_invalid_field_is_422_and_broken_json_is_400(rest: World) -> None:
    rule = await rest.client.submit({"job_name": "a b", "priority": 11})
    assert (rule.status, rule.code) == (422, "VALIDATION_ERROR")
    assert "job_name: must be letters, digits, _ and - only" in rule.error
    assert "priority: must be between 1 and 10" in rule.error
    broken = await rest.client.ask("POST", "/v1/tasks", b'{"job_name"', **JSON)
    assert (broken.status, broken.code) == (400, "BAD_REQUEST")
    assert rest.engine.tasks == {}


async def test_rate_limited_reply_has_retry_after(tmp_path: Path) -> None:
    async with transcoded(tmp_path, RateLimiter(per_second=1, burst=1)) as rest:
        first, second = [await rest.client.get("/v1/queue") for _ in range(2)]
    assert (first.status, second.status, second.code) == (200, 429, "RATE_LIMITED")
    assert second.headers["Retry-After"] == "1"


@pytest.mark.slow
async def test_reply_over_16_mib_is_rejected(rest: World) -> None:
    for _ in range(3):
        task_id = (await rest.client.submit()).json["id"]
        await rest.engine.change(task_id, status=Status.FAILED, error="x" * 6 * 2**20)
    reply = await rest.client.get("/v1/tasks?limit=1000&view=full")
    assert (reply.status, reply.code) == (400, "BAD_REQUEST")
    assert "`limit`" in reply.error
    allowed = await rest.client.get("/v1/tasks?limit=2&view=full")
    assert (allowed.status, len(allowed.body) > 12 * 2**20) == (200, True)


async def test_unreadable_deadline_is_rejected_but_in_rest(rest: World) -> None:
    """There the header means nothing."""
    for deadline in JUNK:
        refused = await call_raw(rest.client, "application/grpc", grpc_timeout=deadline)
        assert (refused.headers["grpc-status"], refused.headers["grpc-message"]) == (
            "3",
            UNREADABLE,
        )
        assert (await rest.client.get("/v1/queue", grpc_timeout=deadline)).status == 200


async def flood(client: rest_world.Client, path: str) -> rest_world.Reply:
    """The first reply of Envoy's own limit."""
    for _ in range(1_000):
        reply = await client.get(path)
        if reply.status == 429 and "RateLimit-Reset" in reply.headers:
            return reply
    raise AssertionError("it is never limited")


async def test_flood_is_limited_at_the_edge(
    rest: World, files: Path, ports: dict[str, int], tmp_path: Path
) -> None:
    with proxy.running("transcoder.yaml", tmp_path, files, ports, plain=True, burst=5) as limiting:
        address = f"127.0.0.1:{limiting.ports[proxy.PLAIN]}"
        session = rest.client.session

        def client(secret: str | None) -> rest_world.Client:
            return rest_world.Client(session, f"http://{address}", secret)

        limited = await flood(client(None), "/v1/queue")
        assert (limited.code, limited.headers["Retry-After"]) == ("RATE_LIMITED", "1")
        assert (await client(None).get("/health")).status == 200
        elsewhere = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
        async with (
            aiohttp.ClientSession(connector=elsewhere) as other,
            other.get(f"http://{address}/v1/queue") as reply,
        ):
            assert reply.status == 401
        assert (await flood(client(rest.secrets[Role.USER]), "/v1/queue")).code == "RATE_LIMITED"
        assert (await client(rest.secrets[Role.VIEWER]).get("/v1/queue")).status == 200
        over_grpc = Client(address, rest.secrets[Role.USER])
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await over_grpc.queue.GetQueue(queue_pb2.GetQueueRequest())
        await over_grpc.channel.close()
        assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_missing_server_is_reported_as_unavailable(tmp_path: Path) -> None:
    async with transcoded(tmp_path) as rest:
        await rest.server.stop(0)  # type: ignore[arg-type]  # of gRPC
        for path in ("/v1/queue", "/health"):
            async with rest.client.session.get(rest.client.url(path)) as response:
                assert response.status == 503
                assert (await response.json())["code"] == "SERVICE_UNAVAILABLE"


async def test_grpc_and_grpc_web_pass_through(rest: World) -> None:
    task_id = (await rest.client.submit()).json["id"]
    client = Client(f"127.0.0.1:{rest.port}", rest.secrets[Role.USER])
    request = task_pb2.GetTaskRequest(task_id=task_id)
    assert (await client.tasks.GetTask(request)).id == task_id
    refused = await failed_call(client.tasks.GetTask(task_pb2.GetTaskRequest(task_id="x")))
    assert refused.reason == "NOT_FOUND"
    await client.channel.close()
    messages, trailers = await call_over_web(rest.client, "fetchml.v1.TaskService/GetTask", request)
    assert task_pb2.Task.FromString(messages[0]).id == task_id
    assert trailers["grpc-status"] == "0"


async def test_key_in_the_path_is_redacted_in_the_log(rest: World, transcoder: proxy.Envoy) -> None:
    secret = str(rest.client.secret)
    paths = (f"/v1/tasks/{secret}", f"/{secret}")
    traces = [(await rest.client.get(path)).json["trace_id"] for path in paths]

    def logged() -> list[tuple[str, int]]:
        lines = [one for one in transcoder.access_log if one["trace_id"] in traces]
        return [(one["path"], one["status"]) for one in lines]

    await eventually(lambda: logged() == [("[redacted]", 404)] * 2)
    assert secret not in str(transcoder.access_log)


async def test_transcoder_works_with_the_real_server(
    serve: Serve,
    processes_backend: Backend,
    transcoder: proxy.Envoy,
) -> None:
    server = await serve(processes_backend).start()
    rest, _ = await server.clients(ADMIN_KEY)
    rest.base = f"http://127.0.0.1:{transcoder.ports[proxy.PLAIN]}"
    task = await rest.submit({"job_name": "a", "command": ["echo", "said"]})
    assert task.status == 201
    await server.ended(task.json["id"])
    ended = (await rest.get(f"/v1/tasks/{task.json['id']}")).json
    assert (ended["status"], ended["output"]) == ("completed", "said\n")


async def test_server_sees_the_client_address_behind_the_transcoder(tmp_path: Path) -> None:
    behind = Proxies([Network.parse("127.0.0.1")])
    elsewhere = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
    async with (
        transcoded(tmp_path, proxies=behind) as rest,
        aiohttp.ClientSession(connector=elsewhere) as session,
    ):
        client = rest_world.Client(session, rest.client.base, None)
        await client.get("/v1/queue", X_Forwarded_For="203.0.113.7")
        [refused] = rest.store.audit
        assert refused.address == "127.0.0.2"
