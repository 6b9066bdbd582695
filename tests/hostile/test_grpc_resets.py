"""Frames of HTTP/2 that cost their sender little: calls that are reset at once, headers in endless
parts, floods of settings and pings, windows beyond their limit. The server's memory stays bounded,
and other callers are answered."""

import struct
from collections.abc import Iterator

import grpc
import pytest

from testbed.http2 import (
    CONTINUATION,
    END_HEADERS,
    HEADERS,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Connection,
    frame,
    header_block,
)  # fmt: skip
from tests.hostile.attacked import MIB, Attacked
from tests.hostile.test_grpc import assert_served
from tests.support.waiting import wait_until

CANCEL = struct.pack(">I", 8)
WATCH = "fetchml.v1.TaskService/WatchTasks"
HEALTH = "grpc.health.v1.Health/Watch"


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    attacked = Attacked(tmp_path_factory.mktemp("resets") / "data")
    yield attacked
    attacked.close()


def send_all(connection: Connection, data: bytes) -> None:
    """Send what the server takes before it closes, and read what it sends meanwhile."""
    at = idle = 0
    while at < len(data) and idle < 50 and not connection.is_closed:
        taken = connection.send_some(data[at : at + (1 << 16)])
        at += taken
        idle = 0 if taken else idle + 1
        connection.look(0 if taken else 0.1)


def is_served(attacked: Attacked) -> bool:
    """Whether a call is answered. While 1,000 calls or more wait to begin, gRPC itself ends some of
    the new ones with CANCELLED."""
    try:
        assert_served(attacked)
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.CANCELLED:
            raise
        return False
    return True


@pytest.mark.parametrize("with_key", [False, True], ids=["without key", "with a key"])
def test_calls_that_are_reset_at_once_use_bounded_memory(
    attacked: Attacked, with_key: bool
) -> None:
    """20,000 calls over each of 4 connections, each reset before it is answered."""
    key = attacked.mallory if with_key else None
    method, own = (WATCH, [(b"x-api-key", key.encode())]) if key else (HEALTH, [])
    block = header_block(method, own)
    before = attacked.memory()
    for _ in range(4):
        with attacked.grown() as grown, Connection(attacked.server.grpc) as connection:
            first = connection.call(method, key)
            streams = range(first + 2, first + 40_000, 2)
            send_all(
                connection,
                b"".join(
                    frame(HEADERS, END_HEADERS, stream, block)
                    + frame(RST_STREAM, 0, stream, CANCEL)
                    for stream in streams
                ),
            )
            wait_until(lambda: is_served(attacked), "an answered call")
        assert max(grown) < 64 * MIB
    assert attacked.memory() - before < 64 * MIB


FLOODS = {
    "headers in endless parts": frame(HEADERS, 0, 1, b"\0\1a\1b")
    + frame(CONTINUATION, 0, 1, b"\0\1a\1b" * 1000) * 500,
    "headers in endless empty parts": frame(HEADERS, 0, 1) + frame(CONTINUATION, 0, 1) * 200_000,
    "settings": frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65_535)) * 100_000,
    "pings": frame(PING, 0, 0, bytes(8)) * 100_000,
    "a window beyond its limit": frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 2**31 - 1)) * 10_000,
    "windows of nothing": frame(WINDOW_UPDATE, 0, 0, bytes(4)) * 10_000,
    "frames of unknown kinds": frame(0xFA, 0, 0, bytes(16_000)) * 100,
    "a frame that is too large": struct.pack(">I", 1 << 23)[1:] + bytes(6 + (1 << 20)),
}


@pytest.mark.parametrize("name", FLOODS)
def test_flood_of_control_frames_uses_bounded_memory(attacked: Attacked, name: str) -> None:
    with attacked.grown() as grown:
        for _ in range(4):
            with Connection(attacked.server.grpc) as connection:
                connection.look(1)
                send_all(connection, FLOODS[name])
                assert_served(attacked)
    assert max(grown) < 50 * MIB
