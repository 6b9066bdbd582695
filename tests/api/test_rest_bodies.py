"""Request bodies: malformed JSON returns 400, a violated rule 422, and nothing returns 500."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from fetchml.api.rest.server import HttpTimeouts
from fetchml.core.model import Role
from tests.support.front import EDGE
from tests.support.rest_world import JSON, World, read_reply, rest_world
from tests.support.waiting import SECONDS

NOT_JSON = {
    "empty": b"",
    "cut": b'{"job_name": "a"',
    "trailing": b'{"job_name": "a"} x',
    "nan": b'{"job_name": "a", "cpu": NaN}',
    "infinity": b'{"job_name": "a", "cpu": Infinity}',
    "brackets": b"[" * 100_000,
    "closed brackets": b"[" * 100_000 + b"]" * 100_000,
    "nested objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "lone surrogate": b'{"job_name": "\\ud800"}',
    "surrogate in a name": b'{"job_name": "a", "\\udc00": 1}',
    "invalid UTF-8": b'{"job_name": "\xff"}',
    "byte order mark": b'\xef\xbb\xbf{"job_name": "a"}',
    "UTF-16": '{"job_name": "a"}'.encode("utf-16"),
    "single quotes": b"{'job_name': 'a'}",
    "form": b"job_name=a",
    "leading zero": b'{"job_name": "a", "cpu": 01}',
    "control character": b'{"job_name": "a\n"}',
    "gzip": b"\x1f\x8b\x08\x00",
}
BREAKS_A_RULE = {
    "array": b'[{"job_name": "a"}]',
    "string": b'"a"',
    "null": b"null",
    "number": b"1",
    "no job_name": b"{}",
    "null job_name": b'{"job_name": null}',
    "new line": b'{"job_name": "a\\n"}',
    "5,000 digits": b'{"job_name": "a", "cpu": ' + b"9" * 5_000 + b"}",
    "30 digits": b'{"job_name": "a", "cpu": ' + b"9" * 30 + b"}",
    "1e400": b'{"job_name": "a", "cpu": 1e400}',
    "1.0": b'{"job_name": "a", "cpu": 1.0}',
    "true": b'{"job_name": "a", "cpu": true}',
    "text": b'{"job_name": "a", "cpu": "1"}',
    "2^31": b'{"job_name": "a", "cpu": 2147483648}',
    "-1": b'{"job_name": "a", "cpu": -1}',
    "quote": b'{"job_name": "a", "args": "\\""}',
    "specs": b'{"job_name": "a", "dataset_specs": [1]}',
    "NUL": b'{"job_name": "a", "args": "\\u0000"}',
}


async def test_malformed_body_returns_400(rest: World) -> None:
    for name, body in NOT_JSON.items():
        reply = await rest.client.ask("POST", "/v1/tasks", body, **JSON)
        assert (reply.status, reply.code) == (400, "BAD_REQUEST"), name
        assert rest.engine.tasks == {}


async def test_body_that_violates_a_rule_returns_422(rest: World) -> None:
    for name, body in BREAKS_A_RULE.items():
        reply = await rest.client.ask("POST", "/v1/tasks", body, **JSON)
        assert (reply.status, reply.code) == (422, "VALIDATION_ERROR"), name
        field, _, rule = reply.error.partition(": ")
        assert field in ("body", "job_name", "cpu", "args", "dataset_specs")
        assert rule
        assert rest.engine.tasks == {}


async def test_every_violation_is_listed(rest: World) -> None:
    reply = await rest.client.submit({"priority": 11, "gpu": -1})
    assert reply.status == 422
    for field in ("job_name", "priority", "gpu"):
        assert f"{field}: " in reply.error


async def test_last_of_duplicate_names_counts(rest: World) -> None:
    reply = await rest.client.ask(
        "POST", "/v1/tasks", b'{"job_name": "a", "job_name": "b"}', **JSON
    )
    assert (reply.status, reply.json["job_name"]) == (201, "b")


async def test_json_content_types_are_accepted(rest: World) -> None:
    for content_type in [
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        'Application/JSON; charset="utf-8"',
    ]:
        assert (await rest.client.submit(**{"Content-Type": content_type})).status == 201


async def test_other_content_types_return_400(rest: World) -> None:
    for content_type in [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin-1",
        "application/jsonx",
        "multipart/form-data; boundary=x",
    ]:
        reply = await rest.client.submit(**{"Content-Type": content_type})
        assert (reply.status, reply.code) == (400, "BAD_REQUEST")
        assert reply.error.startswith("Content-Type")


async def test_missing_content_type_returns_400(rest: World) -> None:
    reply = await rest.client.ask("POST", "/v1/tasks", b'{"job_name": "a"}')
    assert reply.status == 400


@pytest.mark.fronts(EDGE)
async def test_body_of_1_mib_is_accepted(rest: World) -> None:
    head = b'{"job_name": "a", "x": "'
    body = head + b"x" * (2**20 - len(head) - 2) + b'"}'
    assert (await rest.client.ask("POST", "/v1/tasks", body, **JSON)).status == 201


def request_head(rest: World, *headers: str) -> bytes:
    lines = [
        "POST /v1/tasks HTTP/1.1",
        "Host: x",
        "Content-Type: application/json",
        f"X-API-Key: {rest.secrets[Role.USER]}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.mark.fronts(EDGE)
async def test_larger_body_is_rejected_unread(rest: World) -> None:
    reply = await rest.raw(request_head(rest, f"Content-Length: {2**20 + 1}"))
    assert (reply.status, reply.code) == (413, "BAD_REQUEST")


@pytest.mark.fronts(EDGE)
async def test_larger_chunked_body_is_rejected(rest: World) -> None:
    chunk = b"80000\r\n" + b" " * 0x80000 + b"\r\n"
    reply = await rest.raw(request_head(rest, "Transfer-Encoding: chunked") + 3 * chunk)
    assert (reply.status, reply.code) == (413, "BAD_REQUEST")


@pytest.mark.fronts(EDGE)
async def test_chunked_body_is_accepted(rest: World) -> None:
    async def body() -> AsyncIterator[bytes]:
        for piece in (b'{"job_', b'name": ', b'"a"}'):
            yield piece

    async with rest.client.session.post(
        rest.client.url("/v1/tasks"), data=body(), headers=rest.client.with_key(JSON)
    ) as response:
        assert response.status == 201


async def test_malformed_chunks_return_400(rest: World) -> None:
    reply = await rest.raw(request_head(rest, "Transfer-Encoding: chunked") + b"xyz\r\n")
    assert (reply.status, reply.code) == (400, "BAD_REQUEST")


async def test_malformed_chunk_after_valid_ones_returns_400(rest: World) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", rest.port)
    writer.write(request_head(rest, "Transfer-Encoding: chunked") + b"1\r\n{\r\n")
    await writer.drain()
    writer.write(b"xyz\r\n")
    reply = await read_reply(reader)
    assert (reply.status, reply.code) == (400, "BAD_REQUEST")
    writer.close()


async def test_incomplete_body_times_out() -> None:
    async with rest_world(timeouts=HttpTimeouts(body=0.05, requests_finish=0.1)) as rest:
        reply = await rest.raw(request_head(rest, "Content-Length: 20") + b'{"job_name"')
        assert (reply.status, reply.code) == (408, "BAD_REQUEST")
        assert reply.headers["Connection"] == "close"


@pytest.mark.fronts(EDGE)
async def test_disconnect_during_body_logs_no_error(
    rest: World, caplog: pytest.LogCaptureFixture
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", rest.port)
    writer.write(request_head(rest, "Content-Length: 20") + b'{"job_name"')
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await rest.client.submit()).status == 201
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.fronts(EDGE)
async def test_expect_100_is_answered(rest: World) -> None:
    body = b'{"job_name": "a"}'
    reader, writer = await asyncio.open_connection("127.0.0.1", rest.port)
    writer.write(request_head(rest, f"Content-Length: {len(body)}", "Expect: 100-continue"))
    async with asyncio.timeout(SECONDS):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await reader.readline()).startswith(b"HTTP/1.1 201 ")
    writer.close()


async def test_expect_100_without_a_key_returns_401(rest: World) -> None:
    head = (
        b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
    )
    assert (await rest.raw(head)).status == 401
