"""`fetchml logs`"""

import os
import sys
from bisect import bisect_right
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import click

from fetchml.cli.connect import RetryNotice, server_option
from fetchml.cli.errors import CommandError, ExitCode
from fetchml.cli.param_types import Duration
from fetchml.cli.render import local_time
from fetchml.client import Client, TaskLogChunk

NO_TIME = " " * len("2026-01-01 00:00:00")
LINE_BYTES = 1 << 20
"""A longer line is printed in parts."""


@click.command()
@click.argument("task_id")
@click.option("--follow", "-f", is_flag=True, help="Follow the log until the task ends.")
@click.option(
    "--attempt",
    type=click.IntRange(1),
    metavar="N",
    help="Print attempt N; 1 is the first. Default: the last one, and with -f those after it.",
)
@click.option(
    "--tail", type=click.IntRange(0, 1_000_000), metavar="N", help="Print only the last N lines."
)
@click.option(
    "--since", type=Duration(), help="Print only the output of the last TIME: 90s, 10m, 12h, 2d."
)
@click.option("--grep", metavar="TEXT", help="Print only the lines that contain TEXT.")
@click.option("--timestamps", "-t", is_flag=True, help="Print the time before each line.")
@server_option
def logs(
    client: Client,
    task_id: str,
    attempt: int | None,
    tail: int | None,
    since: int | None,
    grep: str | None,
    *,
    follow: bool,
    timestamps: bool,
) -> None:
    """Print the stdout and stderr of a task, byte for byte.

    \b
    Examples:
      fetchml logs -f TASK_ID
      fetchml logs --tail 20 --timestamps TASK_ID
      fetchml logs --since 10m --grep loss TASK_ID
    """
    notice = RetryNotice()
    client = client.with_options(on_cut=notice) if follow else client.with_options(patience=0)
    from_time = None if since is None else datetime.now(UTC) - timedelta(seconds=since)
    if attempt is not None and not follow:
        _require_attempt(client, task_id, attempt)
    chunks = client.logs(task_id, attempt=attempt, tail=tail, since=from_time, follow=follow)
    whole = tail is None and from_time is None
    shown = _without_gaps(chunks, notice, attempt, whole=whole)
    if grep is None and not timestamps:
        for chunk in shown:
            _print(chunk.data)
        return
    wanted = b"" if grep is None else os.fsencode(grep)
    times = _Times(client, task_id) if timestamps else None
    for at, number, line in _lines(shown):
        if wanted in line:
            _print((times.before(number, at) if times else b"") + line)


def _require_attempt(client: Client, task_id: str, attempt: int) -> None:
    """Raises CommandError if the task has had no such attempt: its log would just be empty."""
    had = client.get(task_id).attempt
    if attempt > had:
        raise CommandError(
            f"Attempt {attempt} not found",
            f"It has had {had}. 'fetchml show {task_id}' lists them.",
            ExitCode.NOT_FOUND,
        )


def _without_gaps(
    chunks: Iterator[TaskLogChunk], notice: RetryNotice, attempt: int | None, *, whole: bool
) -> Iterator[TaskLogChunk]:
    """Report dropped bytes on stderr. `whole`: the log is read from its first byte."""
    seen: int | None = attempt
    expected: int | None = 0 if whole else None
    for chunk in chunks:
        notice.restored()
        if chunk.attempt != seen:
            expected = 0 if whole or expected is not None else None
            seen = chunk.attempt
        if expected is not None and chunk.offset > expected:
            click.echo(f"[{chunk.offset - expected} bytes are no longer kept]", err=True)
        expected = chunk.offset + len(chunk.data)
        yield chunk


def _lines(chunks: Iterator[TaskLogChunk]) -> Iterator[tuple[int, int, bytes]]:
    """Yield the offset, the attempt and the bytes of each line."""
    pending, at, attempt = b"", 0, 0
    for chunk in chunks:
        if pending and (chunk.attempt, chunk.offset) != (attempt, at + len(pending)):
            yield at, attempt, pending + b"\n"
            pending = b""
        if not pending:
            at = chunk.offset
        attempt = chunk.attempt
        *lines, pending = (pending + chunk.data).split(b"\n")
        for line in lines:
            yield at, attempt, line + b"\n"
            at += len(line) + 1
        if len(pending) > LINE_BYTES:
            yield at, attempt, pending
            at, pending = at + len(pending), b""
    if pending:
        yield at, attempt, pending


class _Times:
    """When lines were written. It asks the server for the times of many bytes at once."""

    AT_ONCE = 256 * 1024

    def __init__(self, client: Client, task_id: str) -> None:
        self._client = client
        self._task_id = task_id
        self._known = (0, 0, 0)
        """Attempt, first byte and end of the bytes whose times are known."""
        self._offsets: list[int] = []
        self._shown: list[bytes] = []

    def before(self, attempt: int, offset: int) -> bytes:
        """Return the time as it is printed before a line."""
        timed_attempt, first, end = self._known
        if attempt != timed_attempt or not first <= offset < end:
            self._read(attempt, offset)
        index = bisect_right(self._offsets, offset) - 1
        return self._shown[index] if index >= 0 else f"{NO_TIME} ".encode()

    def _read(self, attempt: int, offset: int) -> None:
        info = self._client.log_info(
            self._task_id, attempt=attempt, offset=offset, limit=self.AT_ONCE
        )
        self._known = (attempt, offset, min(info.end, offset + self.AT_ONCE))
        self._offsets = [time.offset for time in info.times]
        self._shown = [f"{local_time(time.at)} ".encode() for time in info.times]


def _print(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
