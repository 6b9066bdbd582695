"""Hostile gRPC calls. Each function prepares a server, and gives the attack."""

import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import grpc

from benchmarks.client import Client, key_of
from benchmarks.hostile.attack import Attack, Outcome
from benchmarks.hostile.requests import LARGE, LIST_TASKS, LISTS
from benchmarks.processes import KEY, Server
from fetchml.core.requests.submission import MAX_BATCH
from fetchml.v1 import task_pb2, task_pb2_grpc
from testbed.http2 import INITIAL_WINDOW_SIZE, Connection, message

MIB = 1 << 20
LIST = "fetchml.v1.TaskService/ListTasks"
CHECK = "grpc.health.v1.Health/Check"
WATCH = "grpc.health.v1.Health/Watch"
CALLS = 100
NETWORKS = 210
STREAMS = 50
"""Of each network."""
QUIET_LOOKS = 20
"""After this many sends that the server does not take, its memory no longer grows."""
QUIET_SECONDS = 0.05
END_SECONDS = 60
MESSAGE_SECONDS = 120
"""The server ends a call whose message has not come after 30 s. Some wait for a place before."""
UNREAD_SECONDS = 3
BATCH_TASKS = 600
BATCHES = 15
WAITING = 100_000
FILL = 10_000
"""Tasks of one call."""
FILL_MESSAGE = 1_000
METADATA = (("x-api-key", KEY),)


@contextmanager
def unfinished_messages(server: Server) -> Iterator[Attack]:
    """Each of its own connection, without its last byte."""
    size = 16 * MIB
    message = b"\0" + struct.pack(">I", size) + bytes(size - 1)

    def attack() -> Outcome:
        with ExitStack() as stack:
            opened = [stack.enter_context(Connection(server.grpc)) for _ in range(CALLS)]
            for connection in opened:
                connection.look(QUIET_SECONDS)
            begun = [(connection, connection.call(CHECK)) for connection in opened]
            sent = [0] * CALLS
            quiet = 0
            while quiet < QUIET_LOOKS:
                took = 0
                for n, (connection, stream) in enumerate(begun):
                    connection.look()
                    more = connection.send(stream, message[sent[n] : sent[n] + MIB])
                    sent[n] += more
                    took += more
                quiet = 0 if took else quiet + 1
                if not took:
                    time.sleep(QUIET_SECONDS)
        return Outcome(f"{sum(sent) / MIB:.0f} MiB taken")

    yield attack


@contextmanager
def viewers_messages(server: Server) -> Iterator[Attack]:
    """Of a viewer's key, each on a connection of its own; without their last byte, and kept."""
    key = key_of(server.http, "eve", "viewer")
    message = b"\0" + struct.pack(">I", MIB) + bytes(MIB - 1)

    def attack() -> Outcome:
        began = time.monotonic()
        with ExitStack() as stack:
            opened = [stack.enter_context(Connection(server.grpc)) for _ in range(CALLS)]
            for connection in opened:
                connection.look(QUIET_SECONDS)
            begun = {connection: connection.call(LIST, key) for connection in opened}
            sent = dict.fromkeys(opened, 0)
            while begun and time.monotonic() - began < MESSAGE_SECONDS:
                took = 0
                for connection, stream in list(begun.items()):
                    connection.look()
                    more = connection.send(stream, message[sent[connection] :])
                    sent[connection] += more
                    took += more
                    if connection.is_closed or stream in connection.ended:
                        del begun[connection]
                if not took:
                    time.sleep(QUIET_SECONDS)
        seconds = time.monotonic() - began
        ended = f"{CALLS - len(begun)} of {CALLS} calls were ended within {seconds:.0f} s"
        return Outcome(ended, kept=not begun)

    yield attack


@contextmanager
def health_watches(server: Server) -> Iterator[Attack]:
    """Ten addresses a connection, as a trusted proxy names them."""

    def attack() -> Outcome:
        opened: list[Connection] = []
        with ExitStack() as stack:
            for network in range(NETWORKS):
                if network % 10 == 0:
                    opened.append(stack.enter_context(Connection(server.grpc)))
                    opened[-1].look(QUIET_SECONDS)
                for _ in range(STREAMS):
                    address = (b"x-forwarded-for", b"2001:db8:%x::1" % network)
                    stream = opened[-1].call(WATCH, None, address)
                    opened[-1].send(stream, bytes(5), last=True)
                opened[-1].look()
            until = time.monotonic() + END_SECONDS
            last, quiet = -1, 0
            while quiet < QUIET_LOOKS and time.monotonic() < until:
                for connection in opened:
                    connection.look()
                time.sleep(QUIET_SECONDS)
                ended = sum(len(connection.ended) for connection in opened)
                last, quiet = ended, quiet + 1 if ended == last else 0
            with grpc.insecure_channel(server.grpc) as channel:
                request = task_pb2.ListTasksRequest(limit=1)
                stub = task_pb2_grpc.TaskServiceStub(channel)
                stub.ListTasks(request, metadata=METADATA, timeout=END_SECONDS)
        return Outcome(f"{NETWORKS * STREAMS - ended:,} streams stay open; a key's call is served")

    yield attack


@contextmanager
def unread_lists(server: Server) -> Iterator[Attack]:
    """Over one connection, whose streams have no room for a reply."""
    no_window = struct.pack(">HI", INITIAL_WINDOW_SIZE, 0)
    request = task_pb2.ListTasksRequest(limit=LIST_TASKS, view=task_pb2.FULL)
    with Client(server.http) as client, client.blocked_queue():
        for _ in range(LIST_TASKS):
            client.ask("POST", "/v1/tasks", LARGE)

        def attack() -> Outcome:
            with Connection(server.grpc, no_window) as connection:
                connection.look(QUIET_SECONDS)
                for _ in range(LISTS):
                    stream = connection.call(LIST, KEY)
                    connection.send(stream, message(request.SerializeToString()), last=True)
                until = time.monotonic() + UNREAD_SECONDS
                while time.monotonic() < until:
                    connection.look(QUIET_SECONDS)
                refused = len(connection.ended)
            return Outcome(f"{refused} lists refused")

        yield attack


@contextmanager
def refused_batch(server: Server) -> Iterator[Attack]:
    with _refused_batches(server, at_once=1) as attack:
        yield attack


@contextmanager
def refused_batches(server: Server) -> Iterator[Attack]:
    with _refused_batches(server, at_once=BATCHES) as attack:
        yield attack


@contextmanager
def _refused_batches(server: Server, at_once: int) -> Iterator[Attack]:
    """The last task of each message is wrong, so that all are checked."""
    task = task_pb2.CreateTaskRequest(job_name="a", metadata={"k": "v" * 1600})
    wrong = task_pb2.CreateTaskRequest(job_name="!")
    batch = task_pb2.CreateTasksRequest(tasks=[*[task] * BATCH_TASKS, wrong])
    assert 0.9 * MIB < batch.ByteSize() < MIB, batch.ByteSize()
    with grpc.insecure_channel(server.grpc) as channel:
        stub = task_pb2_grpc.TaskServiceStub(channel)

        def attack() -> Outcome:
            for _ in range(BATCHES // at_once):
                calls = [
                    stub.CreateTasks.future(iter([batch]), metadata=METADATA)
                    for _ in range(at_once)
                ]
                codes = {call.exception(END_SECONDS).code() for call in calls}
                assert codes == {grpc.StatusCode.INVALID_ARGUMENT}, codes
            return Outcome()

        yield attack


@contextmanager
def accepted_batches(server: Server) -> Iterator[Attack]:
    """Messages of as many tasks as one may have, one after the other. The tasks wait."""
    one = task_pb2.CreateTaskRequest(job_name="waiting", command=["true"])
    batch = task_pb2.CreateTasksRequest(tasks=[one] * MAX_BATCH)
    with (
        Client(server.http) as client,
        client.blocked_queue(),
        grpc.insecure_channel(server.grpc, [("grpc.max_receive_message_length", -1)]) as channel,
    ):
        stub = task_pb2_grpc.TaskServiceStub(channel)

        def attack() -> Outcome:
            reply = stub.CreateTasks(iter([batch]), metadata=METADATA, timeout=END_SECONDS)
            assert len(reply.tasks) == MAX_BATCH
            return Outcome()

        yield attack


@contextmanager
def empty_watches(server: Server) -> Iterator[Attack]:
    one = task_pb2.CreateTaskRequest(job_name="waiting", command=["true"])
    message = task_pb2.CreateTasksRequest(tasks=[one] * FILL_MESSAGE)
    with (
        Client(server.http) as client,
        client.blocked_queue(),
        grpc.insecure_channel(server.grpc, [("grpc.max_receive_message_length", -1)]) as channel,
    ):
        stub = task_pb2_grpc.TaskServiceStub(channel)
        for _ in range(WAITING // FILL):
            stub.CreateTasks(iter([message] * (FILL // FILL_MESSAGE)), metadata=METADATA)

        def attack() -> Outcome:
            request = task_pb2.WatchTasksRequest(user_id="nobody")
            call = stub.WatchTasks(request, metadata=METADATA, timeout=END_SECONDS)
            update = next(call)
            assert update.type == task_pb2.WatchTasksResponse.synced, update
            call.cancel()
            return Outcome()

        yield attack
