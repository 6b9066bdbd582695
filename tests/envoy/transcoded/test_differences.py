"""Differences of transcoded REST from FetchML's own; docs/envoy.md has a row for each test."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from fetchml.core.model import Status
from fetchml.views import Health, HealthStatus
from tests.support.front import TRANSCODER
from tests.support.rest_world import JSON, Reply, World
from tests.support.stub_services import START_MS
from tests.support.waiting import SECONDS

pytestmark = pytest.mark.behind(TRANSCODER)


async def ask(rest: World, method: str, path: str, body: bytes | None = None) -> Reply:
    """Without holding the reply to the contract."""
    async with rest.client.session.request(
        method, rest.client.url(path), data=body, headers=rest.client.with_key(JSON)
    ) as response:
        return Reply(response.status, response.headers, await response.read())


async def test_streams_and_files_are_not_there(rest: World) -> None:
    task_id = await rest.new_task()
    for method, path in (
        ("GET", "/ws"),
        ("GET", f"/v1/tasks/{task_id}/logs"),
        ("GET", f"/v1/tasks/{task_id}/outputs/a"),
        ("PUT", "/v1/snapshots"),
        ("GET", "/metrics"),
        ("GET", "/openapi.yaml"),
        ("GET", "/livez"),
        ("GET", "/readyz"),
    ):
        reply = await ask(rest, method, path)
        assert (reply.status, reply.code) == (404, "NOT_FOUND"), path


async def test_health_has_no_version_and_no_degraded(rest: World) -> None:
    rest.engine.report(Health(HealthStatus.DEGRADED, ("Docker is away",)))
    reply = await ask(rest, "GET", "/health")
    assert (reply.status, reply.json["status"]) == (200, "healthy")
    assert reply.json.keys() == {"status", "timestamp"}


async def test_other_methods_are_not_found(rest: World) -> None:
    for method in ("PUT", "PATCH", "OPTIONS", "HEAD"):
        reply = await ask(rest, method, "/v1/tasks")
        assert (reply.status, "Allow" in reply.headers) == (404, False), method


async def test_ignored_fields_are_not_reported(rest: World) -> None:
    reply = await ask(rest, "POST", "/v1/tasks?veiw=full", b'{"job_name": "a", "gpus": 1}')
    assert (reply.status, "X-FetchML-Ignored" in reply.headers) == (201, False)


@pytest.mark.parametrize(
    "body", ["[]", "null", '"a"', '{"job_name": "a", "cpu": true}', '{"job_name": ["a"]}',
             '{"job_name": "a", "cpu": 2147483648}', '{"job_name": "a", "dataset_specs": [1]}',
             '{"job_name": "a", "job_name": "b"}'],
)  # fmt: skip
async def test_values_of_the_wrong_type_are_400(rest: World, body: str) -> None:
    reply = await ask(rest, "POST", "/v1/tasks", body.encode())
    assert (reply.status, reply.code) == (400, "BAD_REQUEST")
    assert rest.engine.tasks == {}


@pytest.mark.parametrize(
    "body", ['{"job_name": "a", "cpu": "1"}', '{"job_name": "a", "cpu": 1.0}',
             '{"job_name": "a", "cpu": null}', "{'job_name': 'a'}", '{"jobName": "a"}'],
)  # fmt: skip
async def test_json_is_read_as_proto_json(rest: World, body: str) -> None:
    assert (await ask(rest, "POST", "/v1/tasks", body.encode())).status == 201


async def test_missing_body_is_an_empty_object(rest: World) -> None:
    reply = await ask(rest, "POST", "/v1/tasks", b"")
    assert (reply.status, reply.error) == (422, "job_name: is required")


async def test_content_type_is_ignored(rest: World) -> None:
    assert (await rest.client.submit(**{"Content-Type": "text/plain"})).status == 201


async def test_numbers_in_a_query_are_int32(rest: World) -> None:
    for query in ("limit=01", "limit=+1"):
        assert (await ask(rest, "GET", f"/v1/tasks?{query}")).json["limit"] == 1
    for query in ("offset=2147483648", "limit=ten", "limit=", "limit=1&limit=1"):
        reply = await ask(rest, "GET", f"/v1/tasks?{query}")
        assert (reply.status, reply.code) == (400, "BAD_REQUEST"), query


async def test_trailing_slash_is_ignored(rest: World) -> None:
    assert (await ask(rest, "GET", "/v1/tasks/")).json["tasks"] == []


async def test_ids_that_are_not_utf_8_are_400(rest: World) -> None:
    assert (await ask(rest, "GET", "/v1/tasks/%FF")).status == 400
    for other in ("x", "%00", "%C3%BC", "a%2Fb"):
        assert (await ask(rest, "GET", f"/v1/tasks/{other}")).status == 404, other


async def test_whole_second_has_no_fraction(rest: World) -> None:
    task_id = await rest.new_task()
    await rest.engine.change(
        task_id, status=Status.COMPLETED, started_at=START_MS, ended_at=START_MS + 1_050
    )
    task = (await ask(rest, "GET", f"/v1/tasks/{task_id}")).json
    assert task["started_at"] == "2025-10-09T08:53:20Z"
    assert task["ended_at"] == "2025-10-09T08:53:21.050Z"


async def test_sizes_are_strings(rest: World) -> None:
    task_id = await rest.new_task()
    rest.engine.outputs(task_id, {"a": b"123"})
    (output,) = (await ask(rest, "GET", f"/v1/tasks/{task_id}/outputs")).json["outputs"]
    assert output["size_bytes"] == "3"
    await rest.engine.log(task_id, b"one")
    info = (await ask(rest, "GET", f"/v1/tasks/{task_id}/logs/info")).json
    assert (info["offset"], info["end"], info["times"]) == ("0", "3", [])
    found = (await ask(rest, "GET", f"/v1/tasks/{task_id}/logs/search?q=two")).json
    assert found == {"matches": [], "attempt": 1}


async def test_replies_have_no_rate_limit_headers(rest: World) -> None:
    reply = await ask(rest, "GET", "/v1/queue")
    assert [name for name in reply.headers if name.lower().startswith("ratelimit")] == []


async def test_body_over_1_mib_is_rejected_after_it_was_received(rest: World) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b'{"job_name": "a", "args": "'
        for _ in range(17):
            yield b"x" * 2**16
        yield b'"}'

    async with asyncio.timeout(SECONDS):
        async with rest.client.session.post(
            rest.client.url("/v1/tasks"), data=body(), headers=rest.client.with_key(JSON)
        ) as response:
            assert response.status == 413
            assert (await response.json())["code"] == "BAD_REQUEST"
    assert rest.engine.tasks == {}
