"""Logs and outputs over REST."""

import logging
from collections.abc import AsyncIterator

import aiohttp
import pytest

from fetchml.api.rest.server import HttpTimeouts
from fetchml.core.model import Status
from fetchml.views import LogChunk
from tests.support.front import EDGE
from tests.support.rest_world import World, rest_world


async def test_log_is_returned_from_an_offset(rest: World) -> None:
    task_id = await rest.new_task()
    path = f"/v1/tasks/{task_id}/logs"
    assert (await rest.client.get(path)).body == b""
    await rest.engine.log(task_id, b"one\n")
    await rest.engine.log(task_id, b"t\xffo\n")
    reply = await rest.client.get(path)
    assert (reply.status, reply.body) == (200, b"one\nt\xffo\n")
    assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert (await rest.client.get(f"{path}?offset=2")).body == b"e\nt\xffo\n"
    assert (await rest.client.get(f"{path}?offset=999999999999")).body == b""


@pytest.mark.fronts(EDGE)
async def test_log_is_followed_to_the_end(rest: World) -> None:
    task_id = await rest.new_task()
    async with rest.client.open(f"/v1/tasks/{task_id}/logs?follow=1") as response:
        # The reply begins before there is anything to send.
        assert response.status == 200
        assert response.headers["Transfer-Encoding"] == "chunked"
        for data in (b"one\n", b"two\n"):
            await rest.engine.log(task_id, data)
            assert await response.content.readexactly(4) == data
        await rest.engine.change(task_id, status=Status.COMPLETED)
        assert await response.content.read() == b""
    assert rest.engine.open_streams == 0


@pytest.mark.fronts(EDGE)
async def test_disconnect_of_a_follower_ends_its_stream(
    rest: World, caplog: pytest.LogCaptureFixture
) -> None:
    task_id = await rest.new_task()
    response = await rest.client.open(f"/v1/tasks/{task_id}/logs?follow=1")
    await rest.engine.log(task_id, b"one\n")
    await response.content.readexactly(4)
    assert rest.engine.open_streams == 1
    response.close()
    await rest.engine.until(lambda: rest.engine.open_streams == 0)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_follower_that_does_not_read_is_dropped() -> None:
    async with rest_world(timeouts=HttpTimeouts(send=0.1)) as rest:
        task_id = await rest.new_task()
        response = await rest.client.open(f"/v1/tasks/{task_id}/logs?follow=1")
        for _ in range(64):
            await rest.engine.log(task_id, b"x" * 2**20)
        await rest.engine.until(lambda: rest.engine.open_streams == 0)
        with pytest.raises(aiohttp.ClientError):
            await response.content.read()
        response.close()


@pytest.mark.fronts(EDGE)
async def test_log_that_fails_midway_looks_incomplete(
    rest: World, caplog: pytest.LogCaptureFixture
) -> None:
    task_id = await rest.new_task()

    async def faulty(*_: object, **__: object) -> AsyncIterator[LogChunk]:
        yield LogChunk(1, 0, b"one\n")
        raise RuntimeError("a fault")

    rest.engine.replace("read", faulty, rest.engine.engine.logs)
    async with rest.client.open(f"/v1/tasks/{task_id}/logs") as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.content.read()
    assert [record.levelno for record in caplog.records].count(logging.ERROR) == 1


async def test_head_of_a_followed_log_is_answered_at_once(rest: World) -> None:
    task_id = await rest.new_task()
    assert (await rest.client.ask("HEAD", f"/v1/tasks/{task_id}/logs?follow=1")).status == 200


async def test_outputs_are_listed(rest: World) -> None:
    task_id = await rest.new_task()
    rest.engine.outputs(task_id, {"b/model.bin": b"123", "a": b"", "\udcff": b"x"})
    listed = (await rest.client.get(f"/v1/tasks/{task_id}/outputs")).json["outputs"]
    assert [(file["path"], file["size_bytes"]) for file in listed] == [
        ("a", 0),
        ("\ufffd", 1),
        ("b/model.bin", 3),
    ]
    assert listed[0]["modified_at"].endswith("Z")


@pytest.mark.parametrize("path", ["b/model.bin", "b%2Fmodel.bin"])
async def test_output_is_sent_as_an_attachment(rest: World, path: str) -> None:
    task_id = await rest.new_task()
    content = bytes(range(256)) * 4096
    rest.engine.outputs(task_id, {"b/model.bin": content})
    reply = await rest.client.get(f"/v1/tasks/{task_id}/outputs/{path}")
    assert reply.body == content
    assert reply.headers["Content-Length"] == str(len(content))
    assert reply.headers["Content-Type"] == "application/octet-stream"
    assert reply.headers["Content-Disposition"] == "attachment; filename*=UTF-8''model.bin"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    head = await rest.client.ask("HEAD", f"/v1/tasks/{task_id}/outputs/{path}")
    assert head.headers["Content-Length"] == str(len(content))


@pytest.mark.fronts(EDGE)
async def test_any_file_name_is_safe_in_the_header(rest: World) -> None:
    task_id = await rest.new_task()
    rest.engine.outputs(task_id, {'a"; x=\r\ny ü': b"1"})
    reply = await rest.client.get(f"/v1/tasks/{task_id}/outputs/a%22%3B%20x%3D%0D%0Ay%20%C3%BC")
    assert reply.headers["Content-Disposition"] == (
        "attachment; filename*=UTF-8''a%22%3B%20x%3D%0D%0Ay%20%C3%BC"
    )


async def test_unknown_outputs_return_404(rest: World) -> None:
    for path in ["x", "..%2f..%2fstore", "../../x", "%00", "b/"]:
        task_id = await rest.new_task()
        reply = await rest.client.get(f"/v1/tasks/{task_id}/outputs/{path}")
        assert (reply.status, reply.code) == (404, "NOT_FOUND")
