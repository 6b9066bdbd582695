"""`fetchml top`: by Textual's pilot and on a real terminal, against a real server."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from rich.text import Text
from textual.pilot import Pilot
from textual.widgets import DataTable, RichLog, Static

from fetchml.cli.live.app import Confirm, LogLines, TopApp
from fetchml.cli.live.board import ENDED_SHOWN, Board, gpu_line, grid
from fetchml.cli.targets import Target
from fetchml.client import AsyncClient, CallError, Rpc
from fetchml.v1.gpu_pb2 import Gpu, GpuList
from fetchml.v1.task_pb2 import Task, WatchTasksResponse
from tests.support.cli_server import Server
from tests.support.terminal import OnTerminal
from tests.support.waiting import until_true

Screen = Pilot[CallError | None]


@pytest.fixture(scope="module")
def slotted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with one GPU slot, so that a second task with a GPU waits."""
    made = Server(tmp_path_factory.mktemp("top") / "data", FETCHML_GPU_SLOTS="1").start()
    yield made
    assert made.stop() == 0


@pytest.fixture
def tasks(slotted: Server) -> Iterator[tuple[str, str]]:
    """The ids of a task that runs and writes, and of one that waits."""
    line = "printf '\\033[31mred\\033[0m hello\\n'; exec sleep 1000"
    runs = slotted.run("submit", "-n", "runs", "--gpu", "1", "--", "sh", "-c", line).succeeded()
    waits = slotted.run("submit", "-n", "waits", "--gpu", "1", "--", "true").succeeded()
    yield runs, waits
    slotted.run("cancel", waits, runs).succeeded()
    slotted.run("watch", runs).succeeded()


@asynccontextmanager
async def opened(server: Server, columns: int = 80, lines: int = 24) -> AsyncIterator[Screen]:
    key = (server.data_dir / "admin.key").read_text().strip()
    app = TopApp(Target(server.grpc, key))
    async with app.run_test(size=(columns, lines)) as screen:
        yield screen


def rows(screen: Screen) -> list[str]:
    table = screen.app.query_one("#tasks", DataTable)
    return [" ".join(str(cell) for cell in table.get_row_at(row)) for row in range(table.row_count)]


def shows(screen: Screen, *parts: str) -> bool:
    """Return whether one row of the table has all the parts."""
    return any(all(part in row for part in parts) for row in rows(screen))


def text_of(screen: Screen, place: str) -> str:
    return str(screen.app.query_one(place, Static).content)


def log_of(screen: Screen) -> str:
    return "\n".join(line.text for line in screen.app.query_one("#log", RichLog).lines)


async def select(screen: Screen, task_id: str) -> None:
    await until_true(lambda: shows(screen, task_id[-12:]))
    while task_id[-12:] not in text_of(screen, "#about"):
        await screen.press("down")
        await screen.pause(0.1)
        if task_id[-12:] not in text_of(screen, "#about"):
            await screen.press("up", "up")
            await screen.pause(0.1)


async def test_tasks_their_log_and_why_one_waits(slotted: Server, tasks: tuple[str, str]) -> None:
    runs, waits = tasks
    async with opened(slotted) as screen:
        await until_true(lambda: shows(screen, runs[-12:], "runs", "running", "admin"))
        await until_true(lambda: shows(screen, waits[-12:], "waits", "queued"))
        await select(screen, runs)
        await until_true(lambda: "red hello" in log_of(screen))
        await until_true(lambda: "0 held runs" in text_of(screen, "#gpus"))
        await until_true(lambda: text_of(screen, "#summary").startswith("1 running, 1 waiting"))
        await select(screen, waits)
        await until_true(lambda: "It waits for 1 GPU" in text_of(screen, "#about"))
        assert "red hello" not in log_of(screen)


@pytest.mark.slow
async def test_the_server_sends_counts_and_gpus_unasked(
    slotted: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    call = AsyncClient.call

    async def noted(client: AsyncClient, rpc: Rpc[Any]) -> Any:
        asked.append(rpc.method)
        return await call(client, rpc)

    monkeypatch.setattr(AsyncClient, "call", noted)
    async with opened(slotted) as screen:
        await until_true(lambda: "0 free" in text_of(screen, "#gpus"))
        await until_true(lambda: " completed, " in text_of(screen, "#summary"))
        before = re.search(r"today (\d+) completed", text_of(screen, "#summary"))
        assert before is not None
        wait = "while [ ! -e go ]; do sleep 0.02; done"
        submit = ("submit", "-n", "holds", "--gpu", "1", "--", "sh", "-c", wait)
        task_id = (await asyncio.to_thread(slotted.run, *submit)).succeeded()
        await until_true(lambda: "0 held holds" in text_of(screen, "#gpus"))
        (slotted.data_dir / "tasks" / task_id / "attempts/1/workspace/go").touch()
        await until_true(lambda: "0 free" in text_of(screen, "#gpus"))
        now = f"today {int(before[1]) + 1} completed"
        await until_true(lambda: now in text_of(screen, "#summary"))
    assert not {"GpuService/ListGpus", "QueueService/GetQueue"} & set(asked)


@pytest.mark.slow
async def test_keys_change_the_priority_and_cancel(slotted: Server, tasks: tuple[str, str]) -> None:
    runs, waits = tasks
    async with opened(slotted, 120) as screen:
        await select(screen, waits)
        await screen.press("plus", "plus", "plus", "minus")
        await until_true(lambda: shows(screen, waits[-12:], " 7 "))
        await asyncio.to_thread(lambda: slotted.json("show", waits))
        await screen.press("c")
        await until_true(lambda: isinstance(screen.app.screen, Confirm))
        await screen.press("n")
        await until_true(lambda: not isinstance(screen.app.screen, Confirm))
        assert shows(screen, waits[-12:], "queued")
        await screen.press("c")
        await until_true(lambda: isinstance(screen.app.screen, Confirm))
        await screen.press("y")
        await until_true(lambda: shows(screen, waits[-12:], "failed", "cancelled by admin"))
        await screen.press("plus", "c")
        await until_true(lambda: len(screen.app._notifications) == 2)
        await select(screen, runs)
        await screen.press("q")
    assert slotted.json("show", waits)["priority"] == 7


async def test_a_new_task_appears_and_the_selection_stays(
    slotted: Server, tasks: tuple[str, str]
) -> None:
    _, waits = tasks
    async with opened(slotted) as screen:
        await select(screen, waits)
        submit = ("submit", "-n", "urgent", "-p", "10", "--gpu", "1", "--", "true")
        urgent = (await asyncio.to_thread(slotted.run, *submit)).succeeded()
        await until_true(lambda: shows(screen, urgent[-12:], "urgent"))
        assert waits[-12:] in text_of(screen, "#about")
        await asyncio.to_thread(slotted.run, "cancel", urgent)
        await until_true(lambda: shows(screen, urgent[-12:], "failed"))


@pytest.mark.slow
async def test_every_size_shows_tasks_and_log(slotted: Server, tasks: tuple[str, str]) -> None:
    runs, _ = tasks
    async with opened(slotted, 100, 30) as screen:
        table, log = screen.app.query_one("#tasks", DataTable), screen.app.query_one("#log")
        await until_true(lambda: shows(screen, runs[-12:], "running"))
        for columns, lines in ((60, 12), (80, 24), (200, 60)):
            await screen.resize_terminal(columns, lines)
            await until_true(lambda: columns - 20 < table.size.width <= columns)  # noqa: B023
            await until_true(lambda: table.max_scroll_x == 0)
            assert shows(screen, runs[-12:], "running")
            await until_true(lambda: table.size.height >= 2 and log.size.height >= 2)
            await screen.press("l")
            await until_true(lambda: log.size.height >= lines - 4)  # noqa: B023
            await screen.press("l", "tab")
            assert screen.app.focused is log


@pytest.mark.slow
async def test_a_viewer_is_refused_with_the_reason(slotted: Server, tasks: tuple[str, str]) -> None:
    made = await asyncio.to_thread(slotted.run, "keys", "create", "looker", "--role", "viewer")
    app = TopApp(Target(slotted.grpc, made.succeeded()))
    async with app.run_test(size=(80, 24)) as screen:
        await select(screen, tasks[1])
        await screen.press("plus")
        await until_true(lambda: len(app._notifications) == 1)
        assert shows(screen, tasks[1][-12:], "queued")


@pytest.mark.slow
async def test_a_lost_server_is_reported_in_one_line_and_comes_back(own_server: Server) -> None:
    server = await asyncio.to_thread(own_server.start)
    task_id = server.run("submit", "-n", "stays", "--", "sleep", "1000").succeeded()
    async with opened(server) as screen:
        await until_true(lambda: shows(screen, task_id[-12:], "running"))
        await asyncio.to_thread(server.stop)
        await until_true(lambda: text_of(screen, "#summary").endswith("; retrying"))
        assert shows(screen, task_id[-12:], "running"), "the last state stays"
        await asyncio.to_thread(server.start)
        await until_true(lambda: text_of(screen, "#summary").startswith("1 running"))
        await asyncio.to_thread(server.run, "cancel", task_id)
        await until_true(lambda: shows(screen, task_id[-12:], "failed"))


@pytest.mark.slow
def test_on_a_terminal(slotted: Server, tasks: tuple[str, str]) -> None:
    with OnTerminal(("top",), slotted.variables, columns=120, lines=40) as terminal:
        # Both may come in one piece, and neither is drawn again.
        terminal.until("red hello")
        assert tasks[0][-12:] in terminal.shown
        terminal.resize(60, 18)
        terminal.until(tasks[0][-12:])
        terminal.type("q")
        terminal.finish()
        assert terminal.process.returncode == 0


def test_a_wrong_key_and_a_wrong_address_end_with_the_reason(slotted: Server) -> None:
    for variables, code, message in (
        ({"FETCHML_API_KEY": "wrong"}, 4, "API key"),
        ({"FETCHML_API_KEY": "any", "FETCHML_SERVER": "127.0.0.1:1"}, 3, "Cannot reach a server"),
    ):
        with OnTerminal(("top",), {**slotted.variables, **variables}) as terminal:
            assert message in terminal.finish()
            assert terminal.process.returncode == code


def change(task_id: str, status: Task.Status, **fields: int) -> WatchTasksResponse:
    task = Task(id=task_id, status=status, **fields)  # type: ignore[arg-type]
    return WatchTasksResponse(type=WatchTasksResponse.task_update, task=task)


def test_the_order_of_tasks() -> None:
    board = Board()
    for each in ("q1", "q2"):
        board.apply(change(each, Task.queued, priority=5))
    board.apply(change("q3", Task.queued, priority=9))
    board.apply(change("r1", Task.running))
    for number in range(ENDED_SHOWN + 5):
        board.apply(change(f"e{number:02}", Task.completed))
    shown = [task.id for task in board.shown()]
    assert shown[:5] == ["r1", "q3", "q1", "q2", f"e{ENDED_SHOWN + 4}"]
    assert len(shown) == 4 + ENDED_SHOWN
    assert board.counts() == (1, 3)


def test_hostile_text_does_not_steer_the_terminal() -> None:
    hostile = "a\x1b[2J\x07[red]b[/red]\n"
    task = Task(id="x" * 36, job_name=hostile, user_id=hostile, status=Task.failed, error=hostile)
    made = grid([task], 80)
    shown = "".join(cell.plain for row in made.rows for cell in row)
    assert not [c for c in shown if not c.isprintable()]
    board = Board()
    board.replace([task])
    gpu = Gpu(number=0, state=Gpu.held, task_ids=[task.id])
    assert gpu_line(GpuList(gpus=[gpu]), board).plain.isprintable()
    lines = LogLines().feed(hostile.encode() + b"\x1b]8;;http://x\x07y\x1b[5;1Hz\x9b\n")
    assert all(line.plain.isprintable() for line in lines)
    assert "[red]b[/red]" in lines[0].plain


def test_log_lines_grow() -> None:
    lines = LogLines()
    assert lines.feed(b"one\ntw") == [Text("one")]
    assert lines.growing.plain == "tw"
    assert [line.plain for line in lines.feed(b"o\n10%\r20%\r")] == ["two"]
    assert lines.growing.plain == "20%"
    assert lines.feed(b"x" * 10_000) == []
    assert len(lines.growing.plain) <= 2000


def test_a_long_line_keeps_memory_bounded() -> None:
    lines = LogLines()
    for _ in range(100):
        lines.feed(b"y" * 65_536)
    assert len(lines._line) <= 2000
