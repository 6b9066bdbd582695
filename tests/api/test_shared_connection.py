"""Many clients on one connection, as behind a proxy. (tests/envoy has a real one.)"""

import asyncio
import subprocess
from pathlib import Path

import pytest

from testbed import debian
from tests.support.grpc_world import grpc_world


@pytest.fixture
def curl() -> str:
    return debian.program("curl")


async def test_a_deadline_that_can_not_be_read_is_its_own_callers_fault(
    tmp_path: Path, curl: str
) -> None:
    """curl, as a proxy does, names headers by what it said earlier on the connection."""
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
        said, _ = await running.communicate()
    told = [line for line in said.decode().splitlines() if line.startswith("grpc-status")]
    assert (len(told), told[-1]) == (2, "grpc-status: 0"), said
