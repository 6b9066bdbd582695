"""Hundreds of gRPC connections and keyless calls do not keep out other clients."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fetchml.api.grpc import server
from fetchml.api.grpc.receiving import CHECK_PLACES
from fetchml.auth.admission import KEYLESS_STREAMS, STREAMS_PER_ADDRESS
from testbed.http2 import (
    CONTINUATION,
    END_HEADERS,
    FRAME_BYTES,
    HEADERS,
    Connection,
    frame,
    header_block,
)
from tests.hostile.attacked import MIB, Attacked
from tests.support import grpc_world
from tests.support.front import EDGE
from tests.support.waiting import SECONDS, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.fronts(EDGE)]
MOST = 40
CHECK = "grpc.health.v1.Health/Check"
FIELD = b"\xa0"
"""A byte that names a whole field of HPACK's static table."""
WATCH = "grpc.health.v1.Health/Watch"
QUEUE = "fetchml.v1.QueueService/GetQueue"
OWN_CONNECTIONS = "Envoy accepts the connections, and its own to the server carry those calls"


@pytest.fixture
def attacked(tmp_path: Path) -> Iterator[Attacked]:
    attacked = Attacked(
        tmp_path / "data",
        FETCHML_MAX_CONNECTIONS=str(MOST),
        FETCHML_TRUSTED_PROXIES="127.0.0.0/8",
    )
    yield attacked
    attacked.close()


def still_open(connections: list[Connection]) -> int:
    for connection in connections:
        connection.look()
    return sum(not connection.is_closed for connection in connections)


def has_ended(connection: Connection, streams: set[int]) -> bool:
    """Whether the server has ended these streams, or the connection."""
    connection.look(0.1)
    return connection.is_closed or streams <= connection.ended


def is_answered(attacked: Attacked, source: str) -> bool:
    with Connection(attacked.server.grpc, source=source) as connection:
        stream = connection.call(QUEUE, attacked.bob)
        connection.send(stream, bytes(5), last=True)
        return connection.end_of(stream, SECONDS) == "answered"


@pytest.mark.not_through(EDGE, OWN_CONNECTIONS)
def test_connections_have_a_limit_in_all(attacked: Attacked, clients: ExitStack) -> None:
    held = [
        clients.enter_context(Connection(attacked.server.grpc, source="127.0.0.2"))
        for _ in range(2 * MOST)
    ]
    wait_until(lambda: still_open(held) <= MOST, "more are open than the limit")
    assert still_open(held) == MOST, "the oldest stay"
    clients.close()
    wait_until(lambda: is_answered(attacked, "127.0.0.3"), "places are not given back")


def test_unfinished_headers_use_bounded_memory(tmp_path: Path, clients: ExitStack) -> None:
    """The memory of a connection is what `bounds` counts."""
    attacked = Attacked(tmp_path / "data")
    clients.callback(attacked.close)
    before, number = attacked.memory(), 400
    # A literal header field with a value that lacks its last bytes.
    head = b"\0\x01a\x7f\xa1\x7d" + b"x" * 16_000
    for _ in range(number):
        connection = clients.enter_context(Connection(attacked.server.grpc))
        # Once it is answered, the client has acknowledged the settings.
        stream = connection.call(QUEUE, attacked.bob)
        connection.send(stream, bytes(5), last=True)
        assert connection.end_of(stream, SECONDS) == "answered"
        connection.send_raw(frame(HEADERS, 0, stream + 2, head + bytes(300))[:-300])
    assert is_answered(attacked, "127.0.0.3")
    assert attacked.memory() - before < number * server.CONNECTION_BYTES + 8 * MIB


@pytest.mark.not_through(EDGE, OWN_CONNECTIONS)
async def test_idle_connection_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "IDLE_SECONDS", 1)
    async with grpc_world.grpc_world(tmp_path) as world:

        def look() -> None:
            with Connection(world.address) as idle, Connection(world.address) as watching:
                stream = watching.call(WATCH, None)
                watching.send(stream, bytes(5), last=True)
                wait_until(lambda: still_open([idle]) == 0, "an idle connection stays")
                assert still_open([watching]) == 1, "a stream is a call"

        await asyncio.to_thread(look)


def test_acknowledged_limit_of_headers(tmp_path: Path, clients: ExitStack) -> None:
    """The client is answered, and the rest of its headers is dropped."""
    attacked = Attacked(tmp_path / "data")
    clients.callback(attacked.close)
    before = attacked.memory()
    with Connection(attacked.server.grpc) as connection:
        stream = connection.call(QUEUE, attacked.bob)
        connection.send(stream, bytes(5), last=True)
        assert connection.end_of(stream, SECONDS) == "answered"
        connection.send_raw(frame(HEADERS, 0, 3, header_block(QUEUE, [])))
        for _ in range(512):
            connection.send_raw(frame(CONTINUATION, 0, 3, FIELD * FRAME_BYTES))
            connection.look()
        connection.send_raw(frame(CONTINUATION, END_HEADERS, 3))
        assert connection.end_of(3, SECONDS) == "reset"
        assert attacked.memory() - before < 16 * MIB


def check(attacked: Attacked, address: str) -> int:
    with grpc.insecure_channel(attacked.server.grpc) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        reply = stub.Check(
            health_pb2.HealthCheckRequest(),
            metadata=(("x-forwarded-for", address),),
            timeout=SECONDS,
        )
    return int(reply.status)


def is_refused(attacked: Attacked, address: str) -> bool:
    """Whether a watch of the health is."""
    with grpc.insecure_channel(attacked.server.grpc) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        stream = stub.Watch(
            health_pb2.HealthCheckRequest(),
            metadata=(("x-forwarded-for", address),),
            timeout=SECONDS,
        )
        try:
            next(stream)
        except grpc.RpcError:
            return True
        stream.cancel()
        return False


def test_keyless_streams_do_not_block_health_checks(attacked: Attacked, clients: ExitStack) -> None:
    connection = clients.enter_context(Connection(attacked.server.grpc))
    connection.look(0.1)
    addresses = [f"2001:db8:{n:x}::1" for n in range(KEYLESS_STREAMS // STREAMS_PER_ADDRESS)]
    for address in addresses:
        for _ in range(STREAMS_PER_ADDRESS):
            stream = connection.call(WATCH, None, (b"x-forwarded-for", address.encode()))
            connection.send(stream, bytes(5), last=True)
            connection.look()
    wait_until(lambda: is_refused(attacked, "192.0.2.1"), "streams without a key have no limit")
    for address in ("192.0.2.1", addresses[0]):
        assert check(attacked, address) == health_pb2.HealthCheckResponse.SERVING


def test_unfinished_health_checks_do_not_block_others(
    attacked: Attacked, clients: ExitStack
) -> None:
    connection = clients.enter_context(Connection(attacked.server.grpc))
    connection.look(0.1)
    begun = set()
    for network in range(2 * CHECK_PLACES):
        for _ in range(4):
            address = b"2001:db8:%x::1" % network
            stream = connection.call(CHECK, None, (b"x-forwarded-for", address))
            connection.send(stream, b"\0\0")
            begun.add(stream)
    assert check(attacked, "192.0.2.1") == health_pb2.HealthCheckResponse.SERVING
    wait_until(lambda: has_ended(connection, begun), "they are kept for ever")
    assert not connection.is_closed
