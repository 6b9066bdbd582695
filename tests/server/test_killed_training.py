"""A training that is killed at random ends with the model of an undisturbed one, bit by bit."""

import asyncio
import itertools
import os
import random
import re
import shlex
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest

from examples.local_image import build_base
from fetchml.adapters.docker.container_config import container_name
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.system import processes
from testbed.docker_engine import PrivateEngine
from tests.support.archives import file, packed
from tests.support.program import Backend, Server, Task
from tests.support.server_fixtures import Serve, containers_of
from tests.support.waiting import eventually, soon

pytestmark = pytest.mark.slow

IMAGE = "fetchml-test/python:1"
TRAINING = Path(__file__).parents[2] / "examples/checkpoint/train.py"
LONGER = int(os.environ.get("FETCHML_TEST_LONGER", "1"))
EVERY = 10
MOST = 4 * EVERY
"""Steps between two kills, at most."""
STEP_SECONDS = 0.002
PACED = """
import os, pathlib, time
import train

allowed = pathlib.Path(os.environ["FETCHML_CHECKPOINT"], "allowed")

def may_go_on(step):
    return allowed.exists() and step < int(allowed.read_text())

def paced(state, dice, step=train.train_step):
    while not may_go_on(state["step"]):
        time.sleep(0.02)
    return step(state, dice)

train.train_step = paced
train.main()
"""
"""The training, which goes no further than a file allows: it never ends before the last kill."""
MOST_RETRIED = 3
"""Most kills that the server answers with a retry: the delay before each retry doubles."""


def victims(dice: random.Random, retried: tuple[str, ...], kills: int) -> list[str]:
    """Return the victims in a random order, each kind at least once. `retried`: the kinds that the
    server answers with a retry; of many kills, the last two kinds are there more than once."""
    more = max(0, min(MOST_RETRIED, kills // 2) - len(retried))
    chosen = ["task", "server", *retried, *dice.choices(retried[-2:], k=more)]
    chosen += dice.choices(["task", "server"], k=kills - len(chosen))
    dice.shuffle(chosen)
    return chosen


def steps(server: Server, task_id: str, attempt: int) -> list[int]:
    """The steps that an attempt has finished, as far as its log has them."""
    log = AttemptFolder(server.data_dir / f"tasks/{task_id}/attempts/{attempt}").tail(1 << 20)
    return [int(step) for step in re.findall(rb"^step (\d+) ", log, re.MULTILINE)]


class KilledTraining:
    """A subclass brings the fixture `backend`, and its way to find and kill."""

    retried: tuple[str, ...] = ("shim", "command")
    python = sys.executable
    kills = 8 * LONGER

    @property
    def steps(self) -> int:
        return (MOST + 1) * self.kills

    async def test_killed_training_ends_with_the_same_model(
        self, backend: Backend, serve: Serve
    ) -> None:
        dice = random.Random(os.environ.get("FETCHML_TEST_SEED", "44"))  # noqa: S311  # dice
        server = await serve(backend).start()
        code = packed(file("train.py", TRAINING.read_bytes()), file("paced.py", PACED.encode()))
        kept = await server.rest.ask("PUT", "/v1/snapshots", code, Content_Type="application/gzip")
        expected = await self._undisturbed(server, kept.json["id"])
        argv = [self.python, "paced.py", "--steps", str(self.steps), "--every", str(EVERY)]
        argv += ["--seconds", str(STEP_SECONDS)]
        task_id = await server.submit(
            shlex.join(["exec", *argv]),
            snapshot_id=kept.json["id"],
            checkpoint=True,
            max_retries=100,
        )
        goal, attempt = 0, (await server.running(task_id)).attempt
        allowed = server.data_dir / f"tasks/{task_id}/checkpoint/allowed"
        chosen = victims(dice, self.retried, self.kills)
        left = list(chosen)
        while left:
            victim = left.pop()
            _allow(allowed, goal + MOST)
            goal += dice.randint(1, MOST)

            def has_come_so_far(attempt: int = attempt, goal: int = goal) -> bool:
                return max(steps(server, task_id, attempt), default=0) >= goal

            await eventually(has_come_so_far)
            attempt = await self._kill(server, task_id, attempt, victim, left)
        _allow(allowed, self.steps)
        task = await server.ended(task_id)
        assert (task.status, task.exit_code) == (Task.completed, 0), task
        model = await soon(server.rest.get(f"/v1/tasks/{task_id}/outputs/model.json"))
        assert model.body == expected
        done = [steps(server, task_id, number) for number in range(1, task.attempt + 1)]
        lost = [
            before[-1] + 1 - after[0]
            for before, after in itertools.pairwise(done)
            if before and after
        ]
        assert max(lost) <= EVERY, lost
        counts = ", ".join(f"{number} of the {kind}" for kind, number in Counter(chosen).items())
        print(f"{self.kills} kills ({counts}), {task.attempt} attempts, steps lost: {lost}")
        await server.assert_idle(task_id)

    async def _undisturbed(self, server: Server, snapshot_id: str) -> bytes:
        """Return the model of a training that nobody kills, by the same Python: another version
        may add numbers in another way."""
        argv = [self.python, "train.py", "--steps", str(self.steps), "--seconds", "0"]
        task_id = await server.submit(shlex.join(["exec", *argv]), snapshot_id=snapshot_id)
        assert (await server.ended(task_id)).status == Task.completed
        return (await server.rest.get(f"/v1/tasks/{task_id}/outputs/model.json")).body

    async def _kill(
        self, server: Server, task_id: str, attempt: int, victim: str, left: list[str]
    ) -> int:
        """Return the number of the attempt that runs after the kill. `left`: the next victims; up
        to half of the servers among them are killed while the task waits for its retry."""
        match victim:
            case "server":
                await server.kill_and_start()
                return attempt
            case "task":
                await server.rest.ask("POST", f"/v1/tasks/{task_id}/interrupt")
            case "shim":
                os.kill(self.shim(server, task_id, attempt), signal.SIGKILL)
            case "command":
                shim = self.shim(server, task_id, attempt)
                for pid in processes.pids():
                    process = processes.find(pid)
                    if process is not None and process.parent == shim:
                        os.kill(pid, signal.SIGKILL)
            case "engine":
                await asyncio.to_thread(self.kill_engine)
        if victim in self.retried:
            for _ in range(left.count("server") // 2):
                if (await server.get(task_id)).attempt > attempt:
                    break
                left.remove("server")
                await server.kill_and_start()
        again = await server.until(
            task_id, lambda task: task.attempt > attempt and task.status == Task.running
        )
        return again.attempt

    def shim(self, server: Server, task_id: str, attempt: int) -> int:
        """The pid of an attempt's shim on this machine."""
        raise NotImplementedError

    def kill_engine(self) -> None:
        """Kill the Docker engine, and start it again."""
        raise NotImplementedError


class TestKilledTrainingOverProcesses(KilledTraining):
    @pytest.fixture
    def backend(self, processes_backend: Backend) -> Backend:
        return processes_backend

    def shim(self, server: Server, task_id: str, attempt: int) -> int:
        claim = AttemptFolder(server.data_dir / f"tasks/{task_id}/attempts/{attempt}").claim()
        assert claim is not None
        assert claim.pid is not None
        return claim.pid


class TestKilledTrainingOverContainers(KilledTraining):
    """An engine that starts again ends the containers that it finds: each costs an attempt."""

    retried = ("command", "shim", "engine")
    python = "python3"
    kills = 5 * LONGER
    engine: PrivateEngine

    @pytest.fixture
    def backend(self, own_docker_engine: PrivateEngine) -> Backend:
        build_base(own_docker_engine.client, IMAGE)
        self.engine = own_docker_engine
        return containers_of(own_docker_engine, IMAGE)

    def shim(self, server: Server, task_id: str, attempt: int) -> int:
        name = container_name(task_id, attempt)
        return int(self.engine.client.containers.get(name).attrs["State"]["Pid"])

    def kill_engine(self) -> None:
        self.engine.kill()
        self.engine.start()


def _allow(file: Path, steps: int) -> None:
    draft = file.with_suffix(".new")
    draft.write_text(str(steps))
    draft.replace(file)
