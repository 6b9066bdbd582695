"""The shim as a helper beside a process, over its own streams."""

import os
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from fetchml import shim
from fetchml.access.frames import FrameReader, frame
from fetchml.adapters.process.helper import attach, start_helper
from tests.support.waiting import soon, wait_until


@pytest.mark.parametrize(("command", "code"), [("/bin/true", 0), ("/no/such/program", 127)])
async def test_input_after_the_end_costs_neither_output_nor_exit(
    tmp_path: Path, command: str, code: int
) -> None:
    """The server is busy: it sends the end of the input, and then reads what came before."""
    child, streams = start_helper(
        ["shim", "session", "--", command], executable=shim.path(), cwd=tmp_path, env={}
    )
    wait_until(lambda: b"x\0\0\0" in streams.recv(4096, socket.MSG_PEEK), "the command has ended")
    with suppress(subprocess.TimeoutExpired):  # It waits until the server closes.
        child.wait(0.5)
    helper = await attach(child, streams)
    with suppress(OSError):
        await helper.write(frame("e"))
    frames = FrameReader(helper)
    assert await soon(frames.next()) == ("h", b"1")
    kind, data = await soon(frames.next())
    assert (kind, data[0]) == ("x", code)
    await helper.close()
    assert child.returncode == os.EX_OK
