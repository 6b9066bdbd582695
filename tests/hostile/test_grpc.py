"""Memory held for gRPC clients that never finish a message or never read a reply."""

import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message

from fetchml.api.grpc import sending
from fetchml.api.grpc.receiving import MAX_MESSAGE_BYTES, PLACES_BY_KEY
from fetchml.auth.admission import KEYLESS_STREAMS
from fetchml.v1 import queue_pb2, queue_pb2_grpc, task_pb2, task_pb2_grpc
from testbed.http2 import INITIAL_WINDOW_SIZE, Connection, message
from tests.hostile.attacked import MIB, Attacked
from tests.support.front import EDGE
from tests.support.waiting import SECONDS, wait_until

pytestmark = pytest.mark.slow

HEALTH = "grpc.health.v1.Health/Check"
WATCH_HEALTH = "grpc.health.v1.Health/Watch"
REFLECTION = "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
CREATE = "fetchml.v1.TaskService/CreateTask"
GET = "fetchml.v1.TaskService/GetTask"
LIST = "fetchml.v1.TaskService/ListTasks"
UPLOAD = "fetchml.v1.SnapshotService/UploadSnapshot"
OVERHEAD = 16 * MIB
"""What connections and calls take by themselves."""
MAKING = 32 * MIB
"""The parts of lists that are not counted yet, and what the allocator keeps of those that are
gone."""


@pytest.fixture
def attacked(tmp_path: Path) -> Iterator[Attacked]:
    attacked = Attacked(
        tmp_path / "data",
        FETCHML_TASKS_MAX_RUNNING="1",
        FETCHML_SCHEDULING_AHEAD="false",
        FETCHML_TRUSTED_PROXIES="127.0.0.0/8",
    )
    yield attacked
    attacked.close()


def assert_served(attacked: Attacked) -> None:
    with grpc.insecure_channel(attacked.server.grpc) as channel:
        stub = queue_pb2_grpc.QueueServiceStub(channel)
        metadata = (("x-api-key", attacked.bob),)
        stub.GetQueue(queue_pb2.GetQueueRequest(), metadata=metadata, timeout=SECONDS)


def begin_messages(
    attacked: Attacked, method: str, key: str | None, calls: int, connections: int, size: int
) -> int:
    """Messages of `size` bytes that lack their last one; returns the growth of the memory."""
    before = attacked.memory()
    unfinished = memoryview(message(bytes(size))[:-1])
    with ExitStack() as stack:
        opened = [stack.enter_context(Connection(attacked.server.grpc)) for _ in range(connections)]
        for connection in opened:
            connection.look(0.01)
        begun = [(each := opened[n % connections], each.call(method, key)) for n in range(calls)]
        sent = dict.fromkeys(range(calls), 0)
        most = quiet = 0
        # Once the server takes nothing more, it holds what it will.
        while quiet < 20:
            took = 0
            for connection in opened:
                connection.look()
            for n, (connection, stream) in enumerate(begun):
                more = connection.send(stream, unfinished[sent[n] :])
                sent[n] += more
                took += more
            quiet = 0 if took else quiet + 1
            most = max(most, attacked.memory())
            opened[0].look(0 if took else 0.05)
        assert_served(attacked)
    return most - before


@pytest.mark.parametrize(
    ("method", "connections"),
    [(HEALTH, 100), (REFLECTION, 1), (CREATE, 1), (CREATE, 100), ("no.such/Method", 1)],
)
def test_unfinished_messages_without_key_use_bounded_memory(
    attacked: Attacked, method: str, connections: int
) -> None:
    for size in (MAX_MESSAGE_BYTES, 16 * MIB):
        assert begin_messages(attacked, method, None, 100, connections, size) < 50 * MIB


@pytest.mark.parametrize(("method", "connections"), [(GET, 1), (GET, 100), (UPLOAD, 1)])
def test_unfinished_messages_with_key_use_bounded_memory(
    attacked: Attacked, method: str, connections: int
) -> None:
    limit = PLACES_BY_KEY * MAX_MESSAGE_BYTES + 32 * MIB + OVERHEAD
    size = MAX_MESSAGE_BYTES
    assert begin_messages(attacked, method, attacked.mallory, 500, connections, size) < limit


@pytest.mark.parametrize("front", [EDGE], indirect=True)
@pytest.mark.parametrize("method", [CREATE, GET])
def test_unfinished_messages_through_envoy_use_bounded_memory(
    attacked: Attacked, method: str
) -> None:
    """Envoy collects the calls of all connections in one of its own. `GET`: with a key."""
    key = None if method == CREATE else attacked.mallory
    limit = 50 * MIB if key is None else PLACES_BY_KEY * MAX_MESSAGE_BYTES + 32 * MIB + OVERHEAD
    assert begin_messages(attacked, method, key, 100, 100, 16 * MIB) < limit


def test_call_with_unfinished_message_times_out(attacked: Attacked) -> None:
    created = attacked.server.run("keys", "create", "eve", "--role", "viewer")
    viewer = created.succeeded().split()[-1]
    with Connection(attacked.server.grpc) as connection:
        connection.look(0.1)
        begun = {connection.call(GET, viewer) for _ in range(100)}
        for stream in begun:
            connection.send(stream, message(bytes(1000))[:9])
        for stream in begun:
            assert connection.end_of(stream, SECONDS) != "closed"


@pytest.mark.fronts(EDGE)
def test_keyless_streams_do_not_block_calls_with_key(attacked: Attacked) -> None:
    with ExitStack() as stack:
        held = []
        for network in range(210):
            address = b"2001:db8:%x::1" % network
            if network % 10 == 0:
                connection = stack.enter_context(Connection(attacked.server.grpc))
                connection.look(0.01)
                held.append(connection)
            for _ in range(50):
                stream = connection.call(WATCH_HEALTH, None, (b"x-forwarded-for", address))
                connection.send(stream, bytes(5), last=True)
            connection.look()
        begun = 210 * 50
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            for connection in held:
                connection.look(0.01)
            if begun - sum(len(connection.ended) for connection in held) <= KEYLESS_STREAMS:
                break
        assert begun - sum(len(connection.ended) for connection in held) <= KEYLESS_STREAMS
        assert_served(attacked)


def ask(connection: Connection, method: str, key: str, request: Message) -> int:
    data = request.SerializeToString()
    stream = connection.call(method, key)
    connection.send(stream, message(data), last=True)
    return stream


@pytest.mark.fronts(EDGE)
def test_unread_lists_use_bounded_memory(attacked: Attacked) -> None:
    """A client that reads nothing keeps its key's budget until it disconnects, and no more."""
    for _ in range(100):
        reply = attacked.submit(attacked.mallory, hold=True, command=["x" * 32_000] * 7)
        assert reply.status == 201, reply
    assert attacked.server.stop() == 0
    attacked.server.start()  # So that its store has nothing to do.
    before = attacked.memory()
    request = task_pb2.ListTasksRequest(limit=60, view=task_pb2.FULL)
    # No stream has room, so nothing is sent.
    no_window = struct.pack(">HI", INITIAL_WINDOW_SIZE, 0)
    with Connection(attacked.server.grpc, no_window) as connection:
        connection.look(0.1)
        streams = {ask(connection, LIST, attacked.mallory, request) for _ in range(48)}
        until = time.monotonic() + SECONDS
        most = 0
        # Those beyond the budget are refused; those within it wait.
        while len(streams & connection.ended) <= 32 and time.monotonic() < until:
            connection.look(0.2)
            most = max(most, attacked.memory())
        assert len(streams & connection.ended) > 32, "more was accepted than the budget"
        assert_served(attacked)
    # The budget counts lists while they are made, too.
    assert most - before < sending.REPLIES_BY_CALLER + MAKING + OVERHEAD

    def is_listed() -> bool:
        unlimited = (("grpc.max_receive_message_length", -1),)
        with grpc.insecure_channel(attacked.server.grpc, unlimited) as channel:
            try:
                task_pb2_grpc.TaskServiceStub(channel).ListTasks(
                    request, metadata=(("x-api-key", attacked.mallory),), timeout=SECONDS
                )
            except grpc.RpcError:
                return False
            return True

    wait_until(is_listed, "the budget is not given back when the client disconnects")
