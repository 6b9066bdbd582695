"""The calls for the logs and outputs of tasks."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import Unpack

from fetchml.client import file_rpcs, rpcs
from fetchml.client.aio.calls import AsyncCalls
from fetchml.client.cursors import LogCursor
from fetchml.client.downloads import PartFile
from fetchml.client.errors import CallError, Conflict
from fetchml.client.file_rpcs import LogSearch
from fetchml.client.retries import SHORTEST_PAUSE_SECONDS, Backoff
from fetchml.v1.task_pb2 import TaskLogChunk, TaskLogInfo, TaskLogMatches, TaskOutput


class AsyncFiles(AsyncCalls):
    # Logs

    async def logs(
        self,
        task_id: str,
        *,
        attempt: int | None = None,
        offset: int = 0,
        tail: int | None = None,
        since: datetime | None = None,
        follow: bool = False,
    ) -> AsyncGenerator[TaskLogChunk]:
        """Yield what an attempt wrote to stdout and stderr, from byte `offset`; with `follow`
        until the task ends.

        `attempt` is `None` for the current one, and with `follow` those after it. `tail` starts at
        the last lines, `since` at a time, UTC without a time zone. Resumes at the next byte after a
        lost connection. A gap in `offset` means bytes that are no longer kept.
        """
        cursor = LogCursor(task_id, attempt, offset, follow=follow, tail=tail, since=since)
        backoff = Backoff(self._options.patience)
        while True:
            try:
                stream = self.stream(cursor.rpc(), on_accepted=backoff.reset)
                async with aclosing(stream) as chunks:
                    async for chunk in chunks:
                        backoff.reset()
                        cursor.advance(chunk)
                        yield chunk
                if not follow or cursor.is_over(await self.call(rpcs.get_task(task_id))):
                    return
            except CallError as failed:
                await self._pause(backoff, failed)
                continue
            await self._sleep(SHORTEST_PAUSE_SECONDS)

    async def log_info(
        self,
        task_id: str,
        *,
        attempt: int | None = None,
        offset: int | None = None,
        limit: int | None = None,
    ) -> TaskLogInfo:
        """Return the bounds of a log, and when its bytes were written: all, or `limit` of them from
        `offset`."""
        return await self.call(file_rpcs.log_info(task_id, attempt, offset, limit))

    async def search_logs(
        self, task_id: str, text: str, **fields: Unpack[LogSearch]
    ) -> TaskLogMatches:
        """Return the next lines of a log that contain a text. `next_offset` continues the
        search."""
        return await self.call(file_rpcs.search_logs(task_id, text, fields))

    # Outputs

    async def outputs(self, task_id: str, *, folder: str = "outputs") -> Sequence[TaskOutput]:
        """Return the files that the task wrote to /outputs, ordered by path; with the folder
        `checkpoint` those of its checkpoint."""
        return (await self.call(file_rpcs.list_outputs(task_id, folder))).outputs

    async def read_output(
        self, task_id: str, path: str, *, folder: str = "outputs"
    ) -> AsyncGenerator[bytes]:
        """Yield a file in pieces. Raises Unavailable if the connection is lost. `folder` as for
        `outputs`."""
        rpc = file_rpcs.download_output(task_id, path, folder=folder)
        async with aclosing(self.stream(rpc)) as pieces:
            async for piece in pieces:
                if piece.data:
                    yield piece.data

    async def download(
        self,
        task_id: str,
        path: str,
        to: str | Path,
        *,
        folder: str = "outputs",
        resume: bool = False,
        on_bytes: Callable[[int], None] | None = None,
    ) -> Path:
        """Write an output file to the file `to`, which appears once it is complete.

        Continues after a lost connection, if the file is still the same. With `resume` a download
        that fails leaves `TO.ETAG.part`, from which a later one continues. `on_bytes` is called
        with the number of bytes that are here. `folder` as for `outputs`.
        """
        part = PartFile(Path(to))
        backoff = Backoff(self._options.patience)
        try:
            if resume:
                await asyncio.to_thread(part.find)
            while True:
                try:
                    await self._receive(task_id, path, folder, part, backoff, on_bytes)
                    return await asyncio.to_thread(part.finish)
                except Conflict:  # Another file by now.
                    if not part.etag:
                        raise
                    await asyncio.to_thread(part.discard)
                except CallError as failed:
                    await asyncio.to_thread(part.pause)
                    await self._pause(backoff, failed)
        finally:
            if resume:
                part.pause()
            else:
                part.discard()

    async def _receive(
        self,
        task_id: str,
        path: str,
        folder: str,
        part: PartFile,
        backoff: Backoff,
        on_bytes: Callable[[int], None] | None,
    ) -> None:
        rpc = file_rpcs.download_output(task_id, path, part.offset, part.etag, folder)
        async with aclosing(self.stream(rpc)) as chunks:
            async for chunk in chunks:
                backoff.reset()
                await asyncio.to_thread(part.take, chunk)
                if on_bytes is not None:
                    on_bytes(part.offset)
