"""`submit --wait`: follow one task, its status and its log, until it ends; its exit code."""

import codecs
import queue
import sys
import threading
import time
from collections.abc import Iterable
from typing import NamedTuple, Protocol

import click
from rich.console import Console
from rich.text import Text

from fetchml.cli.errors import ExitCode
from fetchml.cli.render import can_redraw, clean, console, duration, print_json
from fetchml.cli.tables import run_time
from fetchml.client import (
    CallError,
    Client,
    Task,
    TaskLogChunk,
    WatchTasksResponse,
    ended,
    enum_name,
    status_name,
)

EXPLAIN_EVERY_SECONDS = 1
ONCE_SECONDS = 1
LONGEST_LINE = 64 * 1024


class ConnectionLost(NamedTuple):
    """The connection of the updates is lost, and being resumed."""

    why: str


class Display(Protocol):
    def status(self, text: str) -> None:
        """Show the task's status."""

    def log(self, data: bytes) -> None:
        """Show a piece of the task's log."""

    def close(self) -> None:
        """End the display."""


class TerminalDisplay:
    """Log lines above a status line."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._live = out.status("")
        self._live.start()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._line = ""

    def status(self, text: str) -> None:
        self._live.update(clean(text))

    def log(self, data: bytes) -> None:
        *lines, self._line = (self._line + self._decoder.decode(data)).split("\n")
        for line in lines:
            self._print(line)
        if len(self._line) > LONGEST_LINE:
            self._print(self._line)
            self._line = ""

    def close(self) -> None:
        if self._line:
            self._print(self._line)
        self._live.stop()

    def _print(self, line: str) -> None:
        # A progress bar rewrites its line after each carriage return: only the last state is shown.
        visible = line.rstrip("\r").rpartition("\r")[2]
        self._out.print(Text.from_ansi(visible), soft_wrap=True)


class PlainDisplay:
    """The log on stdout, and a line on stderr for each change of the status."""

    def __init__(self, *, show_log: bool) -> None:
        self._show_log = show_log
        self._shown = ""

    def status(self, text: str) -> None:
        if text != self._shown:
            click.echo(clean(text).plain, err=True)
            self._shown = text

    def log(self, data: bytes) -> None:
        if self._show_log:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()

    def close(self) -> None:
        """Nothing to end: no output is buffered."""


def wait(client: Client, task: Task, *, as_json: bool) -> Task:
    """Return the task once it has ended. Ctrl-C raises click's Exit and leaves the task running."""
    out = console()
    on_terminal = can_redraw(out) and not as_json
    display: Display = TerminalDisplay(out) if on_terminal else PlainDisplay(show_log=not as_json)
    display.status(f"{task.id} is submitted")
    try:
        try:
            task = _follow(client, task, display, on_terminal=on_terminal)
        finally:
            display.close()
    except KeyboardInterrupt:
        click.echo(
            f"\nThe task continues. Follow it: fetchml logs -f {task.id}\n"
            f"Cancel it: fetchml cancel {task.id}",
            err=True,
        )
        raise click.exceptions.Exit(ExitCode.INTERRUPTED) from None
    if as_json:
        print_json(task)
    last = f"{task.id} {status_name(task)}"
    if task.error:
        last += f": {task.error}"
    elif ran := run_time(task):
        last += f" in {ran}"
    style = "green" if task.status == Task.completed else "red"
    console(stderr=True).print(clean(last), style=style)
    return task


def outcome(task: Task) -> int:
    """Return the exit code of `submit --wait`."""
    if task.status == Task.completed:
        return 0
    return task.exit_code or ExitCode.OWN_FAILURE


def _follow(client: Client, task: Task, display: Display, *, on_terminal: bool) -> Task:
    arrived: queue.Queue[WatchTasksResponse | TaskLogChunk | ConnectionLost | CallError | None]
    arrived = queue.Queue(maxsize=64)

    def pump(stream: Iterable[WatchTasksResponse | TaskLogChunk]) -> None:
        """Pass on everything from a stream, then `None` or the error that ended it."""
        try:
            for item in stream:
                arrived.put(item)
            arrived.put(None)
        except CallError as failed:
            arrived.put(failed)

    reporting = client.with_options(on_cut=lambda why: arrived.put(ConnectionLost(str(why))))
    streams = (reporting.watch_task(task.id), client.logs(task.id, follow=True))
    for stream in streams:
        threading.Thread(target=pump, args=(stream,), daemon=True).start()
    running = len(streams)
    is_cut = False
    while running:
        try:
            item = arrived.get(timeout=EXPLAIN_EVERY_SECONDS)
        except queue.Empty:
            if is_cut and (back := _read_once(client, task.id)) is not None:
                is_cut, task = False, back
            if not is_cut and not ended(task):
                display.status(status_line(client, task, moving=on_terminal))
            continue
        match item:
            case None:
                running -= 1
            case CallError():
                raise item
            case ConnectionLost():
                if is_cut:
                    continue  # Both streams report each try.
                is_cut = True
                display.status(f"{item.why}; retrying. The task continues.")
            case TaskLogChunk():
                display.log(item.data)
            case _ if item.HasField("task"):
                is_cut = False
                task = item.task
                if not ended(task):
                    display.status(status_line(client, task, moving=on_terminal))
    return task


def _read_once(client: Client, task_id: str) -> Task | None:
    """Return the task if the server responds now; a resumed stream is silent until a change."""
    try:
        return client.with_options(deadline=ONCE_SECONDS, retries=False).get(task_id)
    except CallError:
        return None


def status_line(client: Client, task: Task, *, moving: bool) -> str:
    """Return the status line of a live task; with the time that it runs if `moving`."""
    name = f"{task.job_name} {status_name(task)}"
    if task.status == Task.running:
        return f"{name} for {run_time(task)}" if moving else name
    if task.status == Task.collecting:
        return f"{name}: storing its outputs"
    try:
        why = client.explain(task.id)
    except CallError as failed:
        return f"{name} ({failed.message})"
    now = f"{task.job_name} {enum_name(why, 'status')}"
    if why.status == Task.preparing and not why.progress:
        return now
    if not why.position:
        return f"{now}: {why.progress or why.reason}"
    position = f", number {why.position} in the queue" if why.position > 1 else ""
    line = f"{now}{position}: {why.reason}"
    if moving and why.HasField("estimate"):
        left = duration(why.estimate.p50.ToMilliseconds() / 1000 - time.time())
        line += f" Estimated start: within {left}."
    return line
