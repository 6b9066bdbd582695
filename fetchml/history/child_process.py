"""Processes that answer a user's request: one for each, over files in a folder of its own."""

import asyncio
import logging
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from fetchml.core.requests.text import shown
from fetchml.errors import FieldViolation, ValidationFailed
from fetchml.history.query_process import MAX_ERROR
from fetchml.system import own_program
from fetchml.system.threads import run_in_thread, wait_for_end

MAX_ANSWER = 1 << 20
"""Bytes of a line from the process."""

log = logging.getLogger(__name__)


class ChildProcess:
    def __init__(self, process: asyncio.subprocess.Process, field: str, died: str) -> None:
        self._process = process
        self._field = field
        self._died = died

    async def ask(self, request: object) -> dict[str, Any]:
        """Return the process's answer to a line. Raises ValidationFailed with the error that it
        reports."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None  # noqa: S101, PT018  # both are pipes
        try:
            stdin.write(msgspec.json.encode(request) + b"\n")
            await stdin.drain()
            answer = msgspec.json.decode(await stdout.readline(), type=dict[str, Any])
        except (ConnectionError, ValueError):  # It has ended, or is not itself any more.
            log.warning("the process of a query has ended: %s", self._process.returncode)
            raise fault(self._field, self._died) from None
        if "error" in answer:
            raise fault(self._field, shown(str(answer["error"]), MAX_ERROR))
        return answer


def fault(field: str, rule: str) -> ValidationFailed:
    return ValidationFailed([FieldViolation(field, rule)])


@asynccontextmanager
async def child_process(
    module: str, folder: Path, field: str, died: str
) -> AsyncIterator[ChildProcess]:
    """Start a module as a process that works in a folder; it is killed on exit. `field`: the field
    of the request that its errors are about. `died`: the error if it ends without an answer."""
    process = await asyncio.create_subprocess_exec(
        *own_program.command(module),
        cwd=folder,
        env=own_program.environment(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=MAX_ANSWER,
        start_new_session=True,
    )
    try:
        yield ChildProcess(process, field, died)
    finally:
        if process.returncode is None:
            process.kill()
        await wait_for_end(asyncio.ensure_future(process.wait()))


@asynccontextmanager
async def scratch_folder(parent: Path) -> AsyncIterator[Path]:
    """Make a folder, which is removed on exit."""
    folder = Path(await run_in_thread(tempfile.mkdtemp, dir=parent))
    try:
        yield folder
    finally:
        await run_in_thread(shutil.rmtree, folder, ignore_errors=True)
