"""Lists on terminals of several widths: nothing is wider, and ids and statuses stay whole."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.cells import cell_len

from fetchml.cli.environment_commands import environment_table
from fetchml.cli.tables import fitted, table
from fetchml.v1.environment_pb2 import KeptEnvironment
from testbed.gpu.stand_in import GpuBox, gpu
from tests.support.cli_server import Server
from tests.support.terminal import OnTerminal, run_on_terminal
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

WIDTHS = (60, 120)
JOB = "resnet-with-quite-a-long-name-for-a-job"


@pytest.fixture
def busy(tmp_path: Path, gpu_box: GpuBox) -> Iterator[tuple[Server, str, str]]:
    """A server with two GPUs, the id of a task that runs on one, and that of a failed task."""
    gpu_box.set(gpu(0), gpu(1))
    server = Server(tmp_path / "data", LD_LIBRARY_PATH=str(gpu_box.folder)).start()
    runs = server.run("submit", "-n", JOB, "--gpu", "1", "--", "sleep", "1000").succeeded()
    failed = server.run("submit", "-n", JOB, "--", "no-such-program-" + "x" * 80).succeeded()
    server.run("watch", failed).succeeded()
    wait_until(lambda: server.json("show", runs)["status"] == "running")
    yield server, runs, failed
    server.run("cancel", runs).succeeded()
    assert server.stop() == 0


def shown(server: Server, command: str, width: int) -> str:
    text = run_on_terminal(command.split(), server.variables, columns=width)
    wide = [line for line in text.splitlines() if cell_len(line) > width]
    assert wide == [], f"{command} at {width} columns"
    return text


def test_tasks_and_gpus_fit_every_width(busy: tuple[Server, str, str]) -> None:
    for width in WIDTHS:
        server, runs, failed = busy
        tasks = shown(server, "ls", width)
        rows = dict(line.split(maxsplit=1) for line in tasks.splitlines()[1:])
        assert " running" in row(rows, runs)
        assert " failed" in row(rows, failed)
        assert len(rows) == 2, "each task has one line"
        assert "resnet" in tasks
        gpus = shown(server, "gpus", width)
        assert re.search(r"^0 .*\bheld\b", gpus, re.MULTILINE)
        assert re.search(r"^1 .*\bfree\b", gpus, re.MULTILINE)
        if width >= 120:
            assert "admin" in row(rows, runs)
            assert "no-such-program" in tasks


def test_other_lists_fit_a_narrow_terminal(server: Server) -> None:
    made = server.run("experiment", "create", "rates of " + "learning " * 12).succeeded()
    listed = shown(server, "experiment ls", 60)
    assert made[-8:] in listed
    assert re.search("FAILED +COMPLETED", listed)
    assert "EXECUTORS" in shown(server, "queue", 60)
    assert "valid" in shown(server, "keys ls", 60)
    assert "experiment" in shown(server, "audit", 60), "a long action may be cut"
    assert f" {made[-12:]} " in shown(server, "audit", 80), "the part of an id that can be used"
    for command in ("storage", "jupyter ls", "snapshot ls"):
        assert shown(server, command, 60).strip()


def test_narrow_list_of_sweeps_has_the_failed_tasks(server: Server) -> None:
    name = "rates-of-learning-and-" * 4
    command = ("-p", "code=0,1,1", "--", "sh", "-c", "exit {code}")
    made = server.run("sweep", "create", "--sweep-name", name, *command).succeeded()
    for task in server.json("ls", "--sweep", made)["tasks"]:
        server.run("watch", task["id"])
    for width in (60, 80):
        head, first = shown(server, "sweep ls", width).splitlines()[:2]
        failed = first.split()[head.split().index("FAILED")]
        assert (first.split()[0], failed) == (made[-12:], "2")
        assert "COMPLETED" in head


def row(rows: dict[str, str], task_id: str) -> str:
    """Return the rest of the row whose id is a task's, or an end of it that can be used."""
    [found] = [rest for shown, rest in rows.items() if task_id.endswith(shown) and len(shown) >= 8]
    return found


def test_watch_fits_every_width(server: Server) -> None:
    task_id = server.run("submit", "-n", JOB, "--", "sleep", "1000").succeeded()
    for width in WIDTHS:
        with OnTerminal(("watch", task_id), server.variables, columns=width) as terminal:
            lines = terminal.until(" running").splitlines()
            assert [line for line in lines if cell_len(line) > width] == []
            assert task_id[-8:] in lines[-1]
            terminal.process.send_signal(signal.SIGINT)
            terminal.finish()
    server.run("cancel", task_id).succeeded()


def widths(width: int) -> dict[str, int]:
    made = table("ID", "JOB", "STATUS", "USER", "NOTE", spare=("USER", "NOTE"))
    made.add_row("i" * 12, "j" * 30, "collecting", "u" * 20, "n" * 100)
    columns, each = fitted(made.columns, ("USER", "NOTE"), width)
    assert sum(each) + 2 * (len(each) - 1) <= width
    return {str(column.header): cells for column, cells in zip(columns, each, strict=True)}


def test_cells_are_cut_before_columns_are_left_out() -> None:
    assert widths(200) == {"ID": 12, "JOB": 30, "STATUS": 10, "USER": 20, "NOTE": 100}
    assert widths(100) == {"ID": 12, "JOB": 30, "STATUS": 10, "USER": 20, "NOTE": 20}
    assert widths(60) == {"ID": 12, "JOB": 8, "STATUS": 10, "USER": 6, "NOTE": 16}
    assert widths(55) == {"ID": 12, "JOB": 11, "STATUS": 10, "NOTE": 16}
    assert widths(36) == {"ID": 12, "JOB": 10, "STATUS": 10}
    assert widths(24) == {"ID": 12, "STATUS": 10}, "an id and a status stay whole"


def test_environments_of_long_names_have_their_user_and_use() -> None:
    """A long path or image is cut; it takes no other column's place."""
    kept = KeptEnvironment(
        id="05e7faabfc4e" * 4,
        user_id="ada",
        kind="project",
        path="services/training/models/vision-transformer",
        image="registry.example.org/pytorch/pytorch:2.9-cuda13",
    )
    shown = environment_table([kept])
    columns, _ = fitted(shown.columns, shown.spare, 80)
    heads = [str(column.header) for column in columns]
    assert heads == ["ID", "USER", "PACKAGES OF", "SIZE", "TASKS", "USED"]
    columns, _ = fitted(shown.columns, shown.spare, 120)
    assert "IMAGE" in [str(column.header) for column in columns]
