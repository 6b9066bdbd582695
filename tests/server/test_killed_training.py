"""A training that is killed at random ends with the model of an undisturbed one, bit by bit."""

import itertools
import os
import random
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from fetchml.files.attempt_folder import AttemptFolder
from fetchml.system import processes
from tests.support.program import Backend, Server, Task
from tests.support.server_fixtures import Serve
from tests.support.waiting import eventually, soon

TRAINING = Path(__file__).parents[2] / "examples/checkpoint/train.py"
LONGER = int(os.environ.get("FETCHML_TEST_LONGER", "1"))
KILLS = 5 * LONGER
EVERY = 10
MOST = 4 * EVERY
"""Steps between two kills, at most."""
STEPS = (MOST + 1) * KILLS
PACED = """
import pathlib, sys, time
sys.path.insert(0, {folder!r})
import train

def paced(state, dice, step=train.train_step):
    while state["step"] >= int(pathlib.Path({allowed!r}).read_text()):
        time.sleep(0.02)
    return step(state, dice)

train.train_step = paced
train.main()
"""
"""The training, which goes no further than a file allows: it never ends before the last kill."""
RETRIED = ("shim", "command")
"""Kills that the server answers with a retry, after a delay that doubles: only a few of them."""


def undisturbed(folder: Path) -> bytes:
    argv = [sys.executable, str(TRAINING), "--steps", str(STEPS), "--seconds", "0"]
    subprocess.run(argv, cwd=folder, check=True, timeout=300, stdout=subprocess.DEVNULL)
    return (folder / "model.json").read_bytes()


def victims(dice: random.Random) -> list[str]:
    """Return the victims in a random order, each kind at least once."""
    retried = [*RETRIED, *dice.choices(RETRIED, k=min(4, KILLS // 10))]
    others = dice.choices(["task", "server"], k=KILLS - len(retried) - 2)
    chosen = ["task", "server", *retried, *others]
    dice.shuffle(chosen)
    return chosen


async def kill(server: Server, task_id: str, attempt: int, victim: str) -> int:
    """Return the number of the attempt that runs after the kill."""
    claim = AttemptFolder(server.data_dir / f"tasks/{task_id}/attempts/{attempt}").claim()
    assert claim is not None
    assert claim.pid is not None
    match victim:
        case "server":
            await server.kill()
            await server.start()
        case "task":
            await server.rest.ask("POST", f"/v1/tasks/{task_id}/interrupt")
        case "shim":
            os.kill(claim.pid, signal.SIGKILL)
        case "command":
            for pid in processes.pids():
                process = processes.find(pid)
                if process is not None and process.parent == claim.pid:
                    os.kill(pid, signal.SIGKILL)
    if victim == "server":
        return attempt
    again = await server.until(
        task_id, lambda task: task.attempt > attempt and task.status == Task.running
    )
    return again.attempt


def steps(server: Server, task_id: str, attempt: int) -> list[int]:
    """The steps that an attempt has finished, as far as its log has them."""
    log = AttemptFolder(server.data_dir / f"tasks/{task_id}/attempts/{attempt}").tail(1 << 20)
    return [int(step) for step in re.findall(rb"^step (\d+) ", log, re.MULTILINE)]


async def test_killed_training_ends_with_the_same_model(
    serve: Serve, processes_backend: Backend, tmp_path: Path
) -> None:
    dice = random.Random(os.environ.get("FETCHML_TEST_SEED", "44"))  # noqa: S311  # dice
    (tmp_path / "alone").mkdir()
    expected = undisturbed(tmp_path / "alone")
    allowed, paced = tmp_path / "allowed", tmp_path / "paced.py"
    paced.write_text(PACED.format(folder=str(TRAINING.parent), allowed=str(allowed)))
    allowed.write_text("0")
    server = await serve(processes_backend).start()
    argv = [sys.executable, str(paced), "--steps", str(STEPS), "--every", str(EVERY)]
    task_id = await server.submit(shlex.join(["exec", *argv]), checkpoint=True, max_retries=100)
    goal, attempt = 0, (await server.running(task_id)).attempt
    for victim in victims(dice):
        _allow(allowed, goal + MOST)
        goal += dice.randint(1, MOST)

        def has_come_so_far(attempt: int = attempt, goal: int = goal) -> bool:
            return max(steps(server, task_id, attempt), default=0) >= goal

        await eventually(has_come_so_far)
        attempt = await kill(server, task_id, attempt, victim)
    _allow(allowed, STEPS)
    task = await server.ended(task_id)
    assert (task.status, task.exit_code) == (Task.completed, 0), task
    model = await soon(server.rest.get(f"/v1/tasks/{task_id}/outputs/model.json"))
    assert model.body == expected
    done = [steps(server, task_id, number) for number in range(1, task.attempt + 1)]
    lost = [
        before[-1] + 1 - after[0] for before, after in itertools.pairwise(done) if before and after
    ]
    assert max(lost) <= EVERY, lost
    print(f"{KILLS} kills, {task.attempt} attempts, steps lost: {lost}")


def _allow(file: Path, steps: int) -> None:
    draft = file.with_suffix(".new")
    draft.write_text(str(steps))
    draft.replace(file)
