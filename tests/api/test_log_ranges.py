"""Parts of a log, its bounds and times, and searches in it, over both transports."""

import os
import struct

from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp

from fetchml.v1 import task_pb2
from tests.support import grpc_world
from tests.support.grpc_world import failed_call
from tests.support.memory_engine import START_MS
from tests.support.rest_world import Reply, World

LINES = b"".join(b"line %d\n" % number for number in range(100))


async def logged(rest: World, data: bytes = LINES) -> str:
    """A task that has written."""
    task_id = str((await rest.client.submit()).json["id"])
    await rest.engine.log(task_id, data)
    return task_id


def bounds(reply: Reply) -> tuple[int, int, int]:
    """Attempt, first byte, end."""
    return (
        int(reply.headers["X-FetchML-Log-Attempt"]),
        int(reply.headers["X-FetchML-Log-Offset"]),
        int(reply.headers["X-FetchML-Log-End"]),
    )


async def test_part_of_a_log_and_its_place(rest: World) -> None:
    path = f"/v1/tasks/{await logged(rest)}/logs"
    end = len(LINES)
    whole = await rest.client.get(path)
    assert (whole.body, bounds(whole)) == (LINES, (1, 0, end))
    part = await rest.client.get(f"{path}?offset=10&limit=20")
    assert (part.body, bounds(part)) == (LINES[10:30], (1, 10, end))
    assert (await rest.client.get(f"{path}?limit=0")).body == b""
    tail = await rest.client.get(f"{path}?tail=2&attempt=1")
    assert (tail.body, bounds(tail)) == (b"line 98\nline 99\n", (1, end - 16, end))
    later = await rest.client.get(f"{path}?tail=2&offset={end - 8}&since=2020-01-01T00:00:00Z")
    assert later.body == b"line 99\n"
    cut = await rest.client.get(f"{path}?tail=2&limit=7&follow=1")
    assert cut.body == b"line 98"
    past = await rest.client.get(f"{path}?offset=5000")
    assert (past.body, bounds(past)) == (b"", (1, 5000, end))
    other = await rest.client.get(f"{path}?attempt=7")
    assert (other.body, bounds(other)) == (b"", (7, 0, 0))


async def test_log_of_a_task_that_waits_is_empty(rest: World) -> None:
    task_id = (await rest.client.submit()).json["id"]
    reply = await rest.client.get(f"/v1/tasks/{task_id}/logs")
    assert (reply.body, bounds(reply)) == (b"", (0, 0, 0))
    info = (await rest.client.get(f"/v1/tasks/{task_id}/logs/info")).json
    assert info == {
        "task_id": task_id,
        "attempt": 0,
        "attempts": 0,
        "offset": 0,
        "end": 0,
        "may_grow": True,
        "times": [],
    }


async def test_dropped_bytes_are_skipped(rest: World) -> None:
    task_id = await logged(rest)
    run = rest.engine.attempt(task_id).run
    (run / f"log.{0:020}").rename(run / f"log.{1000:020}")
    path = f"/v1/tasks/{task_id}/logs"
    reply = await rest.client.get(f"{path}?offset=3")
    assert (reply.body, bounds(reply)) == (LINES, (1, 1000, 1000 + len(LINES)))
    info = (await rest.client.get(f"{path}/info")).json
    assert (info["offset"], info["end"]) == (1000, 1000 + len(LINES))
    found = (await rest.client.get(f"{path}/search?q=line+0")).json
    assert found == {
        "attempt": 1,
        "matches": [{"offset": 1000, "line_offset": 1000, "text": "line 0"}],
    }


async def test_log_from_a_time_on(rest: World) -> None:
    task_id = await logged(rest)
    folder = rest.engine.attempt(task_id)
    folder.open_gate()
    os.utime(folder.path / "opened", (START_MS // 1000, START_MS // 1000))
    times = [(START_MS, 0), (START_MS + 1, 70), (START_MS + 2, 150)]
    (folder.run / "times").write_bytes(b"".join(struct.pack("<qq", *each) for each in times))
    path = f"/v1/tasks/{task_id}/logs"
    info = (await rest.client.get(f"{path}/info")).json
    assert [each["offset"] for each in info["times"]] == [0, 70, 150]
    part = (await rest.client.get(f"{path}/info?offset=80&limit=20")).json
    assert part["times"] == info["times"][1:2]
    at = info["times"][1]["at"]
    since = await rest.client.get(f"{path}?since={at}")
    assert (since.body, bounds(since)[1]) == (LINES[70:], 70)
    assert (await rest.client.get(f"{path}?since=2020-01-01T00:00:00Z")).body == LINES
    found = (await rest.client.get(f"{path}/search?q=line+10&limit=1")).json
    assert found["matches"][0]["at"] == at


async def test_search_goes_on_where_it_ended(rest: World) -> None:
    path = f"/v1/tasks/{await logged(rest)}/logs/search?q=E+1&ignore_case=1"
    forward, offset = [], ""
    for _ in range(3):
        page = (await rest.client.get(f"{path}&limit=5{offset}")).json
        forward += [match["text"] for match in page["matches"]]
        offset = f"&offset={page.get('next_offset')}"
    assert "next_offset" not in page
    assert forward == ["line 1", *(f"line {number}" for number in range(10, 20))]
    back = (await rest.client.get(f"{path}&backwards=1")).json
    assert [match["text"] for match in back["matches"]] == forward[::-1]
    before = (await rest.client.get(f"{path}&backwards=1&offset=20")).json
    assert [match["text"] for match in before["matches"]] == ["line 1"]


async def test_invalid_queries_return_400(rest: World) -> None:
    for query in [
        "logs?attempt=0",
        "logs?limit=-1",
        "logs?tail=1000001",
        "logs?since=yesterday",
        "logs/info?attempt=0",
        "logs/info?offset=x",
        "logs/search",
        "logs/search?q=",
        "logs/search?q=a%0Ab",
        f"logs/search?q={'x' * 1025}",
        "logs/search?q=a&limit=0",
        "logs/search?q=a&limit=1001",
        "logs/search?q=a&backwards=yes",
        "logs/search?q=a&q=b",
    ]:
        reply = await rest.client.get(f"/v1/tasks/{await logged(rest, b'')}/{query}")
        assert (reply.status, reply.code) == (400, "BAD_REQUEST")


async def test_lines_of_any_bytes_are_text_in_json(rest: World) -> None:
    """1,000 lines of control characters, which take six times as many bytes in JSON."""
    line = b"\0\x1b[31m<script>\xff" + b"\x01" * 1000
    task_id = await logged(rest, (line + b"\n") * 1000)
    reply = await rest.client.get(f"/v1/tasks/{task_id}/logs/search?q=script&limit=1000")
    assert len(reply.json["matches"]) == 1000
    assert reply.json["matches"][0]["text"] == line.decode(errors="replace")


async def test_grpc_has_the_same(world: grpc_world.World) -> None:
    tasks = world.client.tasks
    created = await tasks.CreateTask(task_pb2.CreateTaskRequest(job_name="a"))
    task_id = created.id
    await world.engine.log(task_id, LINES)

    async def read(**fields: object) -> tuple[int, bytes]:
        request = task_pb2.StreamTaskLogsRequest(task_id=task_id, **fields)  # type: ignore[arg-type]
        chunks = [chunk async for chunk in tasks.StreamTaskLogs(request)]
        return chunks[0].offset if chunks else 0, b"".join(chunk.data for chunk in chunks)

    end = len(LINES)
    assert await read(offset=10, limit=20) == (10, LINES[10:30])
    assert await read(tail=2) == (end - 16, b"line 98\nline 99\n")
    assert await read(tail=0) == (0, b"")
    assert await read(since=Timestamp(seconds=1)) == (0, LINES)
    info = await tasks.GetTaskLogInfo(task_pb2.GetTaskLogInfoRequest(task_id=task_id))
    assert MessageToDict(info, preserving_proto_field_name=True) == {
        "task_id": task_id,
        "attempt": 1,
        "attempts": 1,
        "offset": "0",
        "end": str(end),
        "may_grow": True,
    }
    search = task_pb2.SearchTaskLogsRequest(task_id=task_id, q="line 5", backwards=True, limit=1)
    found = await tasks.SearchTaskLogs(search)
    assert [match.text for match in found.matches] == ["line 59"]
    assert found.next_offset == found.matches[0].line_offset
    for call in (
        read(offset=-1),
        read(tail=-1),
        read(limit=-1),
        tasks.SearchTaskLogs(task_pb2.SearchTaskLogsRequest(task_id=task_id)),
    ):
        refused = await failed_call(call)
        assert refused.reason == "BAD_REQUEST"
