"""Clients behind Envoy that do not read their gRPC replies."""

import asyncio
import struct
from pathlib import Path

from fetchml.core.model import Role
from fetchml.v1 import task_pb2
from testbed import envoy as proxy
from testbed.http2 import INITIAL_WINDOW_SIZE, Connection, message
from tests.support.grpc_world import grpc_world
from tests.support.waiting import SECONDS

NO_WINDOW = struct.pack(">HI", INITIAL_WINDOW_SIZE, 0)
LARGE = {"k": "\N{ROCKET}" * 60_000}


async def test_call_with_unread_reply_ends(
    files: Path, ports: dict[str, int], tmp_path: Path
) -> None:
    """A watch on which nothing happens goes on."""
    with proxy.running("envoy.yaml", tmp_path, files, ports, plain=True, idle_seconds=1) as envoy:
        async with grpc_world(tmp_path) as world:
            for _ in range(8):
                request = task_pb2.CreateTaskRequest(job_name="a", metadata=LARGE)
                await world.client.tasks.CreateTask(request)
            await asyncio.to_thread(ask, f"127.0.0.1:{envoy.ports['plain']}", world.secrets)


def ask(address: str, secrets: dict[Role, str]) -> None:
    key = secrets[Role.USER]
    lists = task_pb2.ListTasksRequest(limit=8, view=task_pb2.FULL).SerializeToString()
    with Connection(address) as reading, Connection(address, NO_WINDOW) as connection:
        watch = reading.call("fetchml.v1.TaskService/WatchTasks", key)
        reading.send(watch, message(b""), last=True)
        connection.look(0.2)
        unread = connection.call("fetchml.v1.TaskService/ListTasks", key)
        connection.send(unread, message(lists), last=True)
        assert connection.end_of(unread, SECONDS) == "reset"
        reading.look(0.2)
        assert watch not in reading.ended
        assert not reading.is_closed
