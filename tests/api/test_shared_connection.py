"""Many clients on one connection, as behind a proxy. tests/envoy has a real one."""

import asyncio
import subprocess
from pathlib import Path

import pytest

from testbed import debian
from tests.support.grpc_world import grpc_world


@pytest.fixture
def curl() -> str:
    return debian.program("curl")


async def test_malformed_deadline_fails_only_its_own_call(tmp_path: Path, curl: str) -> None:
    """curl, like a proxy, refers to headers that it sent earlier on the connection."""
    (tmp_path / "message").write_bytes(bytes(5))
    async with grpc_world(tmp_path) as world:
        asked: list[str] = []
        for timeout in ("junk", "5S"):
            headers = {"grpc-timeout": timeout, **dict(world.client.metadata)}
            headers |= {"Content-Type": "application/grpc", "TE": "trailers"}
            asked += ["--next", "--silent", "--http2-prior-knowledge", "--dump-header", "-"]
            asked += ["--data-binary", f"@{tmp_path / 'message'}", "--output", "/dev/null"]
            asked += [word for name in headers for word in ("-H", f"{name}: {headers[name]}")]
            asked += [f"http://{world.address}/fetchml.v1.QueueService/GetQueue"]
        running = await asyncio.create_subprocess_exec(curl, *asked[1:], stdout=subprocess.PIPE)
        output, _ = await running.communicate()
    statuses = [line for line in output.decode().splitlines() if line.startswith("grpc-status")]
    assert (len(statuses), statuses[-1]) == (2, "grpc-status: 0"), output
