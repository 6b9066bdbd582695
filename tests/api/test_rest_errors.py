"""Errors of every layer have the contract's ErrorResponse."""

import itertools
import logging
import re

import pytest

from fetchml.auth import limits
from fetchml.auth.limits import WRONG_KEYS_BURST, RateLimiter
from fetchml.core.model import Role
from fetchml.errors import Conflict, Forbidden, Unavailable
from fetchml.system.log import current_trace
from tests.support.front import EDGE
from tests.support.rest_world import World, rest_world

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


async def test_engine_errors_have_their_status_and_code(rest: World) -> None:
    for error, status in [
        (Forbidden("Only the owner may do this"), 403),
        (Conflict("It has ended"), 409),
        (Unavailable("The server is shutting down"), 503),
    ]:
        rest.engine.fail(error)
        async with rest.client.open("/v1/queue") as response:
            body = await response.json()
            assert response.status == status
        assert body.keys() == {"error", "code", "trace_id"}
        assert (body["error"], body["code"]) == (error.message, error.code)
        assert UUID.fullmatch(body["trace_id"])


async def test_internal_errors_are_logged_and_not_sent(
    rest: World, caplog: pytest.LogCaptureFixture
) -> None:
    traces: set[str | None] = set()

    def note_trace(_: logging.LogRecord) -> bool:
        traces.add(current_trace.get())
        return True

    caplog.handler.addFilter(note_trace)
    rest.engine.fail(RuntimeError("a path of ours"))
    reply = await rest.client.get("/v1/queue")
    assert (reply.status, reply.code, reply.error) == (500, "INTERNAL_ERROR", "An error occurred")
    (failed,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert failed.exc_info is not None
    assert "a path of ours" in str(failed.exc_info[1])
    assert traces == {reply.json["trace_id"]}


@pytest.mark.fronts(EDGE)
async def test_trace_id_is_the_callers(rest: World) -> None:
    reply = await rest.client.get(
        "/v1/tasks/x", traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    )
    assert reply.json["trace_id"] == "4bf92f35-77b3-4da6-a3ce-929d0e0e4736"


REQUEST_ID = "0b3f6c1e-5d0a-4c56-9e0c-3b1f0a7d2c11"


async def test_trace_id_falls_back_to_the_proxys_request_id(rest: World) -> None:
    reply = await rest.client.get("/v1/tasks/x", x_request_id=REQUEST_ID)
    assert reply.json["trace_id"] == REQUEST_ID
    reply = await rest.client.get("/v1/tasks/x", x_request_id='no UUID: "')
    assert UUID.fullmatch(reply.json["trace_id"])


async def test_invalid_trace_id_is_replaced(rest: World) -> None:
    for parent in ["", "x", "00-" + "0" * 32 + "-00f067aa0ba902b7-01"]:
        first = (await rest.client.get("/v1/tasks/x", traceparent=parent)).json["trace_id"]
        second = (await rest.client.get("/v1/tasks/x", traceparent=parent)).json["trace_id"]
        assert UUID.fullmatch(first)
        assert first != second


async def test_unknown_path_returns_404(rest: World) -> None:
    for path in [
        "/u",
        "/v1",
        "/v1/tasks/",
        "/v1/task",
        "//v1/tasks",
        "/v1/tasks/a/b",
        "/v1/experiment",
    ]:
        async with rest.client.session.get(rest.client.url(path)) as response:
            assert response.status == 404
            assert (await response.json())["code"] == "NOT_FOUND"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/tasks", "POST, GET, HEAD, OPTIONS"),
        ("PUT", "/v1/tasks/x", "GET, DELETE, PATCH, HEAD, OPTIONS"),
        ("POST", "/health", "GET, HEAD, OPTIONS"),
        ("PROPFIND", "/v1/queue", "GET, HEAD, OPTIONS"),
    ],
)
async def test_wrong_method_returns_405(rest: World, method: str, path: str, allowed: str) -> None:
    reply = await rest.client.ask(method, path)
    assert (reply.status, reply.code) == (405, "BAD_REQUEST")
    assert reply.headers["Allow"] == allowed
    options = await rest.client.ask("OPTIONS", path)
    assert (options.status, options.headers["Allow"]) == (204, allowed)


@pytest.mark.fronts(EDGE)
async def test_head_is_get_without_a_body(rest: World) -> None:
    for path, status in (("/v1/tasks", 200), ("/health", 200), ("/v1/tasks/x", 404)):
        got = await rest.client.get(path)
        head = await rest.client.ask("HEAD", path)
        assert (head.status, got.status) == (status, status)
        assert head.headers["Content-Length"] == got.headers["Content-Length"]


async def test_missing_or_wrong_key_returns_401(rest: World) -> None:
    paths = ("/v1/tasks", "/v1/tasks/x", "/v1/queue", "/metrics")
    secrets = (None, "", "wrong", "fml_" + "a" * 43, "schl\u00fcssel")
    for path, secret in itertools.product(paths, secrets):
        headers = {} if secret is None else {"X_API_Key": secret}
        reply = await rest.as_(None).get(path, **headers)
        assert (reply.status, reply.code) == (401, "UNAUTHORIZED"), (path, secret)
        assert reply.error == "Invalid or missing API key"


async def test_key_in_the_url_is_ignored(rest: World) -> None:
    secret = rest.secrets[Role.USER]
    assert (await rest.as_(None).get(f"/v1/queue?X-API-Key={secret}")).status == 401


async def test_malformed_request_returns_400(rest: World, caplog: pytest.LogCaptureFixture) -> None:
    for data in [
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nBad Header: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
        b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 10_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 1_000 + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ]:
        reply = await rest.raw(data)
        assert (reply.status, reply.code) == (400, "BAD_REQUEST")
        assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_malformed_key_header_is_not_logged(
    rest: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    reply = await rest.raw(b"GET / HTTP/1.1\r\nHost: x\r\nX-API-Key : hunter2secret\r\n\r\n")
    assert reply.status == 400
    assert b"hunter2secret" not in reply.body
    assert "hunter2secret" not in caplog.text


async def test_rate_limited_request_returns_429() -> None:
    async with rest_world(RateLimiter(per_second=1, burst=2)) as rest:
        first, second, third = [await rest.client.get("/v1/queue") for _ in range(3)]
        assert (first.status, second.status) == (200, 200)
        assert first.headers["RateLimit-Limit"] == "2"
        assert first.headers["RateLimit-Remaining"] == "1"
        assert first.headers["RateLimit-Reset"] == "1"
        assert (third.status, third.code) == (429, "RATE_LIMITED")
        assert third.headers["Retry-After"] == "1"
        assert third.headers["RateLimit-Limit"] == "2"
        assert third.headers["RateLimit-Remaining"] == "0"
        admin = rest.as_(rest.secrets[Role.ADMIN])
        missing = await admin.get("/v1/tasks/x")
        assert (missing.status, missing.headers["RateLimit-Remaining"]) == (404, "1")
        assert (await rest.client.get("/health")).status == 200


async def test_rate_limit_headers_are_absent_without_a_limit(rest: World) -> None:
    reply = await rest.client.get("/v1/queue")
    assert [name for name in reply.headers if name.startswith("RateLimit")] == []


async def test_unknown_paths_are_limited_like_wrong_keys(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By address without a key, and with few log lines."""
    # However slowly they are asked on a busy machine.
    monkeypatch.setattr(limits, "WRONG_KEYS_PER_SECOND", 0.001)
    caplog.set_level(logging.INFO)
    async with rest_world(RateLimiter(1, 1_000)) as world:
        stranger = world.as_(None)
        path = "/" + "x" * 4_000
        asked = [("GET", path), ("DELETE", "/v1/queue")]
        replies = [await stranger.ask(*asked[i % 2]) for i in range(WRONG_KEYS_BURST + 10)]
        assert {reply.status for reply in replies[:WRONG_KEYS_BURST]} == {404, 405}
        limited = replies[-5:]
        assert {(reply.status, reply.code) for reply in limited} == {(429, "RATE_LIMITED")}
        assert (await stranger.ask("GET", "/health")).status == 200
        assert (await world.client.ask("GET", path)).status == 404
        metrics = (await world.client.ask("GET", "/metrics")).body.decode()
        assert 'fetchml_http_replies_total{method="*",path="no such path",status="429"}' in metrics
    lines = [record.getMessage() for record in caplog.records if "429" in record.getMessage()]
    assert lines == []
    assert max(len(record.getMessage()) for record in caplog.records) < 300
