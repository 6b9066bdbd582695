"""Parts, tags and archives of outputs, over both transports."""

import io
import zipfile
from typing import Any

import pytest

from fetchml.v1 import task_pb2
from tests.support import grpc_world
from tests.support.front import EDGE
from tests.support.grpc_world import failed_call
from tests.support.rest_world import World

CONTENT = bytes(range(256)) * 4096
SIZE = len(CONTENT)


async def output_of(rest: World, content: bytes = CONTENT) -> str:
    """The path of an output."""
    task_id = (await rest.client.submit()).json["id"]
    rest.engine.outputs(task_id, {"b/model.bin": content})
    return f"/v1/tasks/{task_id}/outputs/b/model.bin"


@pytest.mark.fronts(EDGE)
@pytest.mark.parametrize(
    ("asked", "first", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("BYTES=10-", 10, SIZE),
        ("bytes=-5", SIZE - 5, SIZE),
        ("bytes=-99999999", 0, SIZE),
        (f"bytes={SIZE - 1}-99999999", SIZE - 1, SIZE),
    ],
)
async def test_range_of_an_output(rest: World, asked: str, first: int, end: int) -> None:
    reply = await rest.client.get(await output_of(rest), Range=asked)
    assert (reply.status, reply.body) == (206, CONTENT[first:end])
    assert reply.headers["Content-Range"] == f"bytes {first}-{end - 1}/{SIZE}"
    assert reply.headers["Content-Length"] == str(end - first)


async def test_other_ranges_are_ignored(rest: World) -> None:
    for asked in [
        "bytes=5-4",
        "bytes=0-1,5-6",
        "bytes=-",
        "lines=0-1",
        "bytes=a-b",
        "bytes=1",
        "bytes=9" * 30,
    ]:
        reply = await rest.client.get(await output_of(rest), Range=asked)
        assert (reply.status, reply.body) == (200, CONTENT)


async def test_range_beyond_the_end_returns_416(rest: World) -> None:
    for asked in [f"bytes={SIZE}-", "bytes=-0", f"bytes={10**17}-"]:
        reply = await rest.client.get(await output_of(rest), Range=asked)
        assert (reply.status, reply.code) == (416, "BAD_REQUEST")
        assert reply.headers["Content-Range"] == f"bytes */{SIZE}"


async def test_range_of_an_empty_output_returns_416(rest: World) -> None:
    assert (await rest.client.get(await output_of(rest, b""), Range="bytes=0-")).status == 416


async def test_tag_changes_with_the_content(rest: World) -> None:
    path = await output_of(rest)
    tag = (await rest.client.get(path)).headers["ETag"]
    listed = (await rest.client.get(path.removesuffix("/b/model.bin"))).json["outputs"]
    assert f'"{listed[0]["etag"]}"' == tag
    for given in (tag, f'"x", {tag}', f"W/{tag}", "*"):
        reply = await rest.client.get(path, If_None_Match=given)
        assert (reply.status, reply.body, reply.headers["ETag"]) == (304, b"", tag)
    resumed = await rest.client.get(path, Range="bytes=5-", If_Range=tag)
    assert (resumed.status, resumed.body) == (206, CONTENT[5:])
    # The same size and time, as a task can make them.
    task_id = path.split("/")[3]
    rest.engine.outputs(task_id, {"b/other": CONTENT[::-1]})
    outputs = rest.engine.output_folder(task_id)
    (outputs / "b/other").rename(outputs / "b/model.bin")
    changed = await rest.client.get(path, Range="bytes=5-", If_Range=tag)
    assert (changed.status, changed.body) == (200, CONTENT[::-1])
    assert changed.headers["ETag"] != tag
    assert (await rest.client.get(path, If_None_Match=tag)).status == 200


async def test_head_ignores_a_range(rest: World) -> None:
    reply = await rest.client.ask("HEAD", await output_of(rest), Range="bytes=5-")
    assert (reply.status, reply.headers["Content-Length"]) == (200, str(SIZE))
    assert reply.headers["Accept-Ranges"] == "bytes"


@pytest.mark.fronts(EDGE)
async def test_archive_of_all_outputs(rest: World) -> None:
    path = (await output_of(rest)).partition("/outputs")[0]
    reply = await rest.client.get(f"{path}/archive")
    assert reply.headers["Content-Type"] == "application/zip"
    name = f"a-{path[-8:]}.zip"
    assert reply.headers["Content-Disposition"] == f"attachment; filename*=UTF-8''{name}"
    with zipfile.ZipFile(io.BytesIO(reply.body)) as archive:
        assert archive.read("b/model.bin") == CONTENT
    tar = await rest.client.get(f"{path}/archive?format=tar")
    assert (tar.headers["Content-Type"], len(tar.body)) == ("application/x-tar", SIZE + 1536)
    wrong = await rest.client.get(f"{path}/archive?format=rar")
    assert (wrong.status, wrong.code) == (400, "BAD_REQUEST")
    assert (await rest.client.get("/v1/tasks/x/archive")).status == 404


async def test_grpc_continues_an_output(world: grpc_world.World) -> None:
    tasks = world.client.tasks
    created = await tasks.CreateTask(task_pb2.CreateTaskRequest(job_name="a"))
    world.engine.outputs(created.id, {"a": CONTENT})

    async def download(**fields: Any) -> tuple[Any, bytes]:
        request = task_pb2.DownloadTaskOutputRequest(task_id=created.id, path="a", **fields)
        first, *rest = [each async for each in tasks.DownloadTaskOutput(request)]
        return first, b"".join(chunk.data for chunk in rest)

    first, content = await download()
    assert (first.size_bytes, content) == (SIZE, CONTENT)
    assert await download(offset=5, etag=first.etag) == (first, CONTENT[5:])
    assert await download(offset=SIZE, etag=first.etag) == (first, b"")
    for fields, reason in (
        ({"etag": "x"}, "CONFLICT"),
        ({"offset": -1}, "BAD_REQUEST"),
        ({"offset": SIZE + 1}, "BAD_REQUEST"),
    ):
        refused = await failed_call(download(**fields))
        assert refused.reason == reason
    archive = task_pb2.DownloadTaskArchiveRequest(task_id=created.id)
    chunks = [each.data async for each in tasks.DownloadTaskArchive(archive)]
    with zipfile.ZipFile(io.BytesIO(b"".join(chunks))) as opened:
        assert opened.read("a") == CONTENT
