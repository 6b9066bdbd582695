"""gRPC limits headers only after a client has acknowledged its settings. Clients that never do take
little memory and short turns of the event loop all the same."""

import asyncio
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fetchml.api.grpc.sockets import connections
from testbed.authority import Authority
from testbed.header_flood import FIELD, attack
from testbed.http2 import (
    CONTINUATION,
    END_HEADERS,
    FRAME_BYTES,
    HEADERS,
    SETTINGS,
    Connection,
    frame,
    header_block,
    message,
)
from tests.hostile.attacked import MIB, Attacked
from tests.hostile.turns import LONGEST_SECONDS, longest_turn
from tests.support import grpc_world
from tests.support.waiting import SECONDS, wait_until

QUEUE = "fetchml.v1.QueueService/GetQueue"
UPLOAD = "fetchml.v1.SnapshotService/UploadSnapshot"
MOST_GROWN = 50 * MIB
PAUSE = 0.5
"""Seconds in which even a busy server has noticed a connection."""


@pytest.fixture
def attacked(tmp_path: Path) -> Iterator[Attacked]:
    attacked = Attacked(tmp_path / "data")
    yield attacked
    attacked.close()


@pytest.mark.parametrize("number", [1, 40])
def test_headers_without_end_use_bounded_memory(attacked: Attacked, number: int) -> None:
    with attacked.grown() as grown:
        assert attack(attacked.server.grpc, number, pause=PAUSE) > 0, "nobody is closed"
    assert max(grown) < MOST_GROWN
    assert attacked.server.log.count("too many bytes over gRPC without a valid key") >= 1


def test_headers_without_end_use_bounded_memory_over_tls(tmp_path: Path) -> None:
    authority, certificate, key = Authority(tmp_path / "ca"), tmp_path / "cert", tmp_path / "key"
    authority.issue(certificate, key)
    variables = {"FETCHML_TLS_CERT": str(certificate), "FETCHML_TLS_KEY": str(key)}
    context = ssl.create_default_context(cafile=authority.file)
    context.set_alpn_protocols(["h2"])
    attacked = Attacked(tmp_path / "data", **variables)
    try:
        with attacked.grown() as grown:
            assert attack(attacked.server.grpc, 20, context, PAUSE) > 0, "nobody is closed"
        assert max(grown) < MOST_GROWN
    finally:
        attacked.close()


async def test_headers_without_end_have_short_turns(tmp_path: Path) -> None:
    async with grpc_world.grpc_world(tmp_path) as world:

        async def attack_from_elsewhere() -> None:
            attack = ("-m", "testbed.header_flood", world.address, "4", str(PAUSE))
            attacker = await asyncio.create_subprocess_exec(sys.executable, *attack)
            assert await attacker.wait() == 0

        longest = await longest_turn(attack_from_elsewhere)
    assert longest < LONGEST_SECONDS


def test_acknowledged_limit_of_headers(attacked: Attacked) -> None:
    """The client is answered, and the rest of its headers is dropped."""
    before = attacked.memory()
    with Connection(attacked.server.grpc) as connection:
        stream = connection.call(QUEUE, attacked.bob)
        connection.send(stream, message(b""), last=True)
        assert connection.end_of(stream, SECONDS) == "answered"
        connection.send_raw(frame(HEADERS, 0, 3, header_block(QUEUE, [])))
        for _ in range(512):
            connection.send_raw(frame(CONTINUATION, 0, 3, FIELD * FRAME_BYTES))
            connection.look()
        connection.send_raw(frame(CONTINUATION, END_HEADERS, 3))
        assert connection.end_of(3, SECONDS) == "reset"
        assert attacked.memory() - before < 16 * MIB


def test_large_first_call_with_a_key_is_served(attacked: Attacked) -> None:
    """More than a newcomer may send, from a client that acknowledges nothing yet."""
    with Connection(attacked.server.grpc, acknowledges=False) as connection:
        stream = connection.call(UPLOAD, attacked.bob)
        data = message(b"\n\x80\x80\x30" + bytes(768 * 1024))  # One chunk of a snapshot.
        sent = 0
        while sent < len(data):
            sent += connection.send(stream, data[sent : sent + FRAME_BYTES], last=False)
            connection.look(0.02)
            assert not connection.is_closed, "the server takes it for a stranger's"
            assert stream not in connection.ended


async def test_settings_must_be_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "SETTINGS_SECONDS", 1)
    async with grpc_world.grpc_world(tmp_path) as world:

        def look() -> None:
            with (
                Connection(world.address, acknowledges=False) as silent,
                Connection(world.address) as ordinary,
            ):

                def is_closed() -> bool:
                    silent.look(0.1)
                    ordinary.look()
                    return silent.is_closed or silent.is_closing

                wait_until(is_closed, "settings need no acknowledgement")
                ordinary.send_raw(frame(SETTINGS, 0, 0))
                ordinary.look(0.1)
                assert not ordinary.is_closed
                assert not ordinary.is_closing

        await asyncio.to_thread(look)
