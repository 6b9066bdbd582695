"""The screen of `fetchml top`. The server sends every change, so there is no polling."""

import asyncio
import codecs
import time
from collections.abc import Awaitable, Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.color import Color
from textual.containers import Vertical
from textual.coordinate import Coordinate
from textual.filter import LineFilter
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, RichLog, Static

from fetchml.cli.ids import short
from fetchml.cli.live.board import Board, gpu_line, grid
from fetchml.cli.render import clean, plain
from fetchml.cli.targets import Target
from fetchml.client import (
    AsyncClient,
    CallError,
    GpuList,
    NotFound,
    Options,
    RateLimited,
    Rpc,
    Task,
    Unavailable,
    WatchTasksResponse,
    ended,
    status_name,
)
from fetchml.v1.task_pb2 import GetTaskLogInfoRequest, TaskLogInfo

LONGEST = 2000
"""Characters of a line that are shown."""


class LogLines:
    """Splits a log into lines. The last one is shown while it grows."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._line = ""

    def feed(self, data: bytes) -> list[Text]:
        """Return the lines that a piece of the log completes."""
        *lines, rest = (self._line + self._decoder.decode(data)).split("\n")
        # Only what follows the last carriage return is visible, and only the start of that.
        self._line = rest if len(rest) <= LONGEST else _visible(rest)[:LONGEST]
        return [as_text(line) for line in lines]

    @property
    def growing(self) -> Text:
        """The line that is not complete yet."""
        return as_text(self._line)


def as_text(line: str) -> Text:
    """Return a line with its colours, and without anything else that steers a terminal."""
    text = Text.from_ansi(_visible(line)[:LONGEST].replace("\t", "    "))
    text.plain = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text.plain)
    return text


def _visible(line: str) -> str:
    return line.rstrip("\r").rpartition("\r")[2]


RETRY_SECONDS = 5
"""Delay before the next request for the log while the server is unavailable."""
REDRAW_SECONDS = 0.25
"""However many changes arrive, the table is drawn this often."""
LOG_BYTES = 64 * 1024
"""A log begins this far before its end."""
LOG_LINES = 5000
LIVE = (Task.queued, Task.preparing, Task.running, Task.collecting)
PAGE = 1000


class PlainText(LineFilter):
    """Escapes unprintable characters in each line of the screen, and drops links."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [plain(each) for each in segments]


class Confirm(ModalScreen[bool]):
    """A question with the answers yes and no."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes"),
        Binding("n,escape", "answer(False)", "No"),
    ]

    def __init__(self, question: Text) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        with Vertical(id="question"):
            yield Static(self._question)
            yield Static("y yes   n no")

    def action_answer(self, answer: bool) -> None:  # textual passes it by place
        self.dismiss(answer)


class TopApp(App[CallError | None]):
    """The tasks, the GPUs, and the log of the selected task."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #summary, #about { height: 1; background: $panel; text-wrap: nowrap; text-overflow: ellipsis; }
    #gpus { height: auto; max-height: 4; }
    #tasks { height: 1fr; }
    #log { height: 1fr; }
    #growing { height: auto; max-height: 1; }
    .hidden { display: none; }
    Confirm { align: center middle; }
    #question { width: auto; max-width: 76; height: auto; padding: 1 2; background: $panel;
                border: round $warning; }
    #question Static { width: auto; max-width: 70; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,ctrl+c", "quit", "Quit", key_display="q", priority=True),
        Binding("c", "cancel", "Cancel"),
        Binding("plus,equals_sign", "priority(1)", "Raise", key_display="+"),
        Binding("minus", "priority(-1)", "Lower", key_display="-"),
        Binding("l,enter", "zoom", "Log", key_display="l", priority=True),
        Binding("tab", "switch", "Switch", key_display="tab", priority=True),
    ]

    def __init__(self, target: Target) -> None:
        super().__init__()
        self._target = target
        self._board = Board()
        self._gpus = GpuList()
        self._today = ""
        self._away = ""
        """The reason why the server is unreachable; empty if it is reachable."""
        self._loaded = False
        self._stale = True
        self._second = 0
        self._ids: list[str] = []
        """The tasks of the table's rows."""
        self._columns: tuple[list[str], list[int]] = ([], [])
        self._selected = ""
        self._why = ""
        """The reason why the selected task waits."""
        self._asked: dict[str, int] = {}
        """Priorities that were requested, until the task changes."""

    def compose(self) -> ComposeResult:
        yield Static(id="summary")
        yield Static(id="gpus")
        yield DataTable[Text](id="tasks", cursor_type="row", zebra_stripes=False)
        yield Static(id="about")
        yield RichLog(id="log", max_lines=LOG_LINES, wrap=True, min_width=20)
        yield Static(id="growing")
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self._table = self.query_one("#tasks", DataTable)
        self._log_view = self.query_one("#log", RichLog)
        # A timer may fire once more while the screen is taken down: then no query finds them.
        self._summary, self._gpu_row, self._about, self._growing = (
            self.query_one(f"#{name}", Static) for name in ("summary", "gpus", "about", "growing")
        )
        self._table.focus()
        options = Options(retries=False, patience=24 * 3600, on_cut=self._cut)
        self._client = AsyncClient(
            self._target.server, self._target.key or "", tls_ca=self._target.tls_ca, options=options
        )
        self.run_worker(self._watch(), group="watch")
        self.run_worker(self._watch_queue(), group="queue")
        self.run_worker(self._watch_gpus(), group="gpus")
        self.set_interval(REDRAW_SECONDS, self._redraw)

    async def on_unmount(self) -> None:
        await self._client.close()

    def _cut(self, why: CallError) -> None:
        self._away = str(why)
        self._stale = True
        if not self._loaded:
            self.exit(why)  # A server that was never reached is probably the wrong one.

    def get_line_filters(self) -> Sequence[LineFilter]:
        return [PlainText(), *super().get_line_filters()]

    # Messages of the server

    async def _watch(self) -> None:
        try:
            async for update in self._client.watch():
                if update.type == WatchTasksResponse.resync:
                    self._board.replace((await self._client.page(PAGE, states=LIVE)).tasks)
                self._board.apply(update)
                self._asked.pop(update.task.id, None)
                if update.task.id == self._selected:
                    self._explain()
                self._loaded = self._loaded or update.type != WatchTasksResponse.snapshot
                self._away = ""
                self._stale = True
        except CallError as failed:
            self.exit(failed)

    async def _watch_queue(self) -> None:
        try:
            async for stats in self._client.watch_queue():
                self._today = f"today {stats.completed} completed, {stats.failed} failed"
                self._away = ""
                self._stale = True
                self._explain()  # The place of a waiting task may have changed.
        except CallError as failed:
            self.exit(failed)

    async def _watch_gpus(self) -> None:
        try:
            async for gpus in self._client.watch_gpus():
                self._gpus = gpus
                self._away = ""
                self._stale = True
        except CallError as failed:
            self.exit(failed)

    # Display

    def on_resize(self) -> None:
        self._stale = True

    def _redraw(self) -> None:
        second = int(time.time())
        if not self._stale and second == self._second:
            return
        self._stale, self._second = False, second
        self._fill(self._board.shown())
        running, waiting = self._board.counts()
        summary = Text.assemble(
            (f"{running} running", "bold"),
            f", {waiting} waiting, {self._today}",
            overflow="ellipsis",
        )
        if self._away:
            summary = clean(f"{self._away}; retrying")
            summary.stylize("bold red")
        self._summary.update(summary)
        self._gpu_row.update(gpu_line(self._gpus, self._board))
        self._show_about()

    def _fill(self, tasks: list[Task]) -> None:
        """Bring the table up to date; rows stay where they are if only cells changed."""
        self.on_data_table_row_highlighted()  # A key may have moved the cursor just now.
        # Each column has a blank on either side, and there is a scroll bar.
        made = grid(tasks, max(20, self._table.size.width - 4))
        ids = [task.id for task in tasks]
        layout = (made.headers, made.widths)
        if ids == self._ids and layout == self._columns:
            for row, cells in enumerate(made.rows):
                for column, cell in enumerate(cells):
                    if self._table.get_cell_at(Coordinate(row, column)) != cell:
                        self._table.update_cell_at(Coordinate(row, column), cell)
            return
        if layout != self._columns:
            self._table.clear(columns=True)
            for header, width in zip(*layout, strict=True):
                self._table.add_column(header, width=width)
            self._columns = layout
        else:
            self._table.clear()
        self._ids = ids
        self._table.add_rows(made.rows)
        if self._selected in ids:
            self._table.move_cursor(row=ids.index(self._selected))
        elif ids:
            self._select(ids[min(self._table.cursor_row, len(ids) - 1)])

    def on_data_table_row_highlighted(self) -> None:
        # The event may be older than the rows: the cursor counts.
        row = self._table.cursor_row
        if 0 <= row < len(self._ids) and self._ids[row] != self._selected:
            self._select(self._ids[row])

    def _select(self, task_id: str) -> None:
        self._selected = task_id
        self._why = ""
        self._log_view.clear()
        self._growing.update("")
        self._follow(task_id)
        self._explain()
        self._show_about()

    def _show_about(self) -> None:
        about = Text("No tasks" if self._loaded else "Loading…")
        if (task := self._board.by_id.get(self._selected)) is not None:
            about = Text.assemble((f"{short(task.id)} ", "bold"), clean(f"{task.job_name} "))
            about.append(f"{status_name(task)} ")
            about.append_text(clean(task.error if ended(task) else self._why))
        self._about.update(about)

    def _explain(self) -> None:
        task = self._board.by_id.get(self._selected)
        if task is not None and task.status in {Task.queued, Task.preparing}:
            self._fetch_reason(task.id)
        else:
            self._why = ""

    @work(group="why", exclusive=True)
    async def _fetch_reason(self, task_id: str) -> None:
        try:
            why = await self._client.explain(task_id)
        except CallError:
            return
        position = f"number {why.position} in the queue: " if why.position > 1 else ""
        if task_id == self._selected:
            self._why = f"{position}{why.reason}"
            self._stale = True

    @work(group="log", exclusive=True)
    async def _follow(self, task_id: str) -> None:
        """Show the end of a task's log and follow it."""
        lines = LogLines()
        attempt, offset = 0, -1
        while True:
            try:
                if offset < 0:
                    request = GetTaskLogInfoRequest(task_id=task_id)
                    rpc = Rpc("TaskService/GetTaskLogInfo", request, TaskLogInfo)
                    info = await self._client.call(rpc)
                    offset = max(info.offset, info.end - LOG_BYTES)
                async for chunk in self._client.logs(task_id, offset=offset, follow=True):
                    if attempt and chunk.attempt != attempt:
                        self._log_view.write(Text(f"attempt {chunk.attempt}", "dim"))
                    attempt, offset = chunk.attempt, chunk.offset + len(chunk.data)
                    for line in lines.feed(chunk.data):
                        self._log_view.write(line)
                    self._growing.update(lines.growing)
                return
            except (RateLimited, Unavailable):
                await asyncio.sleep(RETRY_SECONDS)
            except NotFound:
                return
            except CallError as failed:
                self._log_view.write(clean(failed.message))
                return

    # Keys

    def action_zoom(self) -> None:
        """Show the log alone, or the tasks again."""
        self._table.toggle_class("hidden")
        self._gpu_row.set_class(self._table.has_class("hidden"), "hidden")
        (self._log_view if self._table.has_class("hidden") else self._table).focus()

    def action_switch(self) -> None:
        """Let the arrow keys scroll the log, or select a task."""
        on_tasks = self.focused is self._table or self._table.has_class("hidden")
        (self._log_view if on_tasks else self._table).focus()

    def action_cancel(self) -> None:
        task = self._chosen()
        if task is None:
            return
        if ended(task):
            self._notice(f"{task.job_name} has already ended")
            return
        question = clean(f"Cancel {task.job_name} ({task.user_id}), {status_name(task)}?")

        def answered(yes: bool | None) -> None:
            if yes:
                self.run_worker(self._change(self._client.cancel(task.id)))

        self.push_screen(Confirm(question), answered)

    def action_priority(self, by: int) -> None:
        task = self._chosen()
        if task is None:
            return
        if task.status != Task.queued:
            self._notice(f"{task.job_name} does not wait: its priority has no effect")
            return
        wanted = max(1, min(10, self._asked.get(task.id, task.priority) + by))
        self._asked[task.id] = wanted
        change = self._change(self._client.update(task.id, priority=wanted), task.id)
        self.run_worker(change, group="priority", exclusive=True)

    def _chosen(self) -> Task | None:
        return self._board.by_id.get(self._selected)

    async def _change(self, call: Awaitable[Task], task_id: str = "") -> None:
        try:
            await call
        except CallError as failed:
            self._asked.pop(task_id, None)
            self._notice(failed.message)

    def _notice(self, text: str) -> None:
        self.notify(clean(text).plain, markup=False)
