"""The real server, ended in the middle of an upload: nothing is left over."""

import os
import signal
import socket
from pathlib import Path

from tests.support.archives import file, packed
from tests.support.cli_server import SECONDS, Server
from tests.support.waiting import wait_until


def begin_upload(server: Server, data: bytes, size: int) -> socket.socket:
    """Send `data` of `size` bytes, and leave it at that."""
    key = (server.data_dir / "admin.key").read_text().strip()
    host, port = server.http.rsplit(":", 1)
    connection = socket.create_connection((host, int(port)), timeout=SECONDS)
    connection.sendall(
        f"PUT /v1/snapshots HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\n"
        f"Content-Length: {size}\r\n\r\n".encode()
        + data
    )
    return connection


def test_an_upload_killed_half_way_leaves_nothing(tmp_path: Path) -> None:
    server = Server(tmp_path / "data").start()
    snapshots = tmp_path / "data/snapshots"
    data = packed(file("a", os.urandom(4 << 20)))
    with begin_upload(server, data[:-1000], len(data)):
        wait_until(
            lambda: any(p.stat().st_size > 1 << 20 for p in snapshots.glob(".new/*/archive"))
        )
        server.stop(signal.SIGKILL)
    assert list(snapshots.glob(".new/*/archive"))
    server.start()
    try:
        assert [path.name for path in snapshots.iterdir()] == [".new"]
        assert list((snapshots / ".new").iterdir()) == []
        assert server.json("snapshot", "ls") == {"snapshots": []}
    finally:
        assert server.stop() == 0


def test_a_shutdown_during_an_upload_is_reported_to_the_client(tmp_path: Path) -> None:
    server = Server(tmp_path / "data").start()
    new = tmp_path / "data/snapshots/.new"
    with begin_upload(server, b"12345", 1000) as connection:
        wait_until(lambda: len(list(new.iterdir())) == 1)
        assert server.stop() == 0
        assert connection.recv(1000).startswith(b"HTTP/1.1 503")
    assert list(new.iterdir()) == []
