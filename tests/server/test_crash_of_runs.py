"""The server is killed while it ends an attempt, copies a checkpoint, or builds an environment.
Each attempt's command starts once, and nothing half done is left or used."""

import signal
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from fetchml.files.layout import CHECKPOINT_DRAFT
from fetchml.v1 import task_pb2
from tests.server.environment_tasks import SHOW, WANTED, pinned, upload, wheel
from tests.support.program import Backend, Server, Task
from tests.support.scripts import COUNTED, until_file
from tests.support.server_fixtures import Serve
from tests.support.waiting import soon, until_true

pytestmark = pytest.mark.slow

SAVES = 'echo "$FETCHML_ATTEMPT" >>"$FETCHML_CHECKPOINT/attempts"; echo saved; '
INTERRUPT = ["stop_requested", "kill_sent", "ended", "collected", "finished"]
CANCEL = ["stop_requested", "warned", "term_sent"]
COPY = ["checkpoint_written", "checkpoint_copied", "checkpoint_placed"]
BUILD = [
    "environment_begun",
    "environment_started",
    "environment_installed",
    "environment_recorded",
    "environment_kept",
    "environment_held",
]
BUILDING = ("environment_created", "environment_started")
"""Steps at which the engine has a container of the build."""


@pytest.fixture
def backend(request: pytest.FixtureRequest, launcher: str) -> Backend:
    found: Backend = request.getfixturevalue(f"{launcher}_backend")
    return found


def on_both(steps: list[str], *in_containers: str) -> pytest.MarkDecorator:
    """Each step over processes, and those over containers that ask the engine for something."""
    cases = [("processes", step) for step in steps]
    cases += [("containers", step) for step in in_containers]
    return pytest.mark.parametrize(("launcher", "step"), cases)


async def died_of(server: Server, method: str, path: str) -> None:
    """Send a request during or after which the server dies."""
    with suppress(aiohttp.ClientError):  # It may die before it has answered.
        await soon(server.rest.ask(method, path))
    assert await server.died() == -signal.SIGKILL


async def has_saved(server: Server, task_id: str) -> None:
    """Return when the command of a task with a checkpoint has written to it."""
    await server.running(task_id)
    attempts = server.data_dir / f"tasks/{task_id}/checkpoint/attempts"
    await until_true(lambda: attempts.exists() and attempts.read_text())


@on_both(INTERRUPT, "kill_sent")
async def test_killed_while_an_attempt_is_interrupted(
    serve: Serve, backend: Backend, step: str
) -> None:
    server = await serve(backend).start(FETCHML_CRASH_AT=step)
    script = SAVES + 'if [ "$FETCHML_ATTEMPT" = 1 ]; then ' + until_file("never") + "fi; exit 7"
    task_id = await server.submit(script, checkpoint=True)
    await has_saved(server, task_id)
    await died_of(server, "POST", f"/v1/tasks/{task_id}/interrupt")
    await server.start()
    task = await server.ended(task_id)
    assert (task.status, task.exit_code, task.attempt) == (Task.failed, 7, 2), task
    assert task.retry_count == 0
    [first] = task.earlier_attempts
    assert (first.number, first.cause) == (1, task_pb2.TaskAttempt.interrupted), first
    kept = await server.rest.get(f"/v1/tasks/{task_id}/outputs/attempts?folder=checkpoint")
    assert kept.body == b"1\n2\n"
    await server.assert_idle(task_id)


@pytest.mark.parametrize("step", CANCEL)
async def test_killed_while_a_warned_attempt_is_cancelled(
    serve: Serve, processes_backend: Backend, step: str
) -> None:
    server = await serve(processes_backend).start(FETCHML_CRASH_AT=step)
    script = "trap 'echo warned' USR1; trap 'exit 9' TERM; " + SAVES
    script += "while :; do sleep 0.02; done"
    task_id = await server.submit(script, checkpoint=True, warn_seconds=1, max_retries=3)
    await has_saved(server, task_id)
    await died_of(server, "DELETE", f"/v1/tasks/{task_id}")
    await server.start()
    await server.ended(task_id)
    task = await server.get(task_id)
    assert (task.status, task.error) == (Task.failed, "cancelled by admin"), task
    assert (task.attempt, task.retry_count, task.exit_code) == (1, 0, 9)
    # A server that does not know of a warning warns again.
    assert "warned" in task.output
    await server.assert_idle(task_id)


@on_both(COPY, "checkpoint_copied")
async def test_killed_while_a_checkpoint_is_copied(
    serve: Serve, backend: Backend, step: str
) -> None:
    server = await serve(backend).start()
    saves = 'cd "$FETCHML_CHECKPOINT"; mkdir in; echo deep >in/x; ln -s in/x link; echo 1 >state'
    source = await server.submit(saves, checkpoint=True)
    assert (await server.ended(source)).status == Task.completed
    await server.kill_and_start(FETCHML_CRASH_AT=step)
    # What it writes must stay: the copy is not made again once the task may have written.
    script = COUNTED + 'cd "$FETCHML_CHECKPOINT"; cat in/x link state; echo 2 >state; ls -A'
    with suppress(aiohttp.ClientError):
        await server.submit(script, checkpoint=True, checkpoint_from=source)
    assert await server.died() == -signal.SIGKILL
    await server.start()
    tasks = (await server.rest.get("/v1/tasks")).json["tasks"]
    [copy] = {each["id"] for each in tasks} - {source}
    assert (await server.ended(copy)).status == Task.completed
    task = await server.get(copy)
    assert task.output == "started\ndeep\ndeep\n1\nin\nlink\nstate\n"
    assert (task.attempt, await server.starts(copy)) == (1, 1)
    assert not (server.data_dir / f"tasks/{copy}/{CHECKPOINT_DRAFT}").exists()
    for task_id, state in ((source, b"1\n"), (copy, b"2\n")):
        kept = await server.rest.get(f"/v1/tasks/{task_id}/outputs/state?folder=checkpoint")
        assert kept.body == state
    await server.assert_idle(source, copy)


@pytest.fixture
def uv(request: pytest.FixtureRequest, launcher: str) -> dict[str, str]:
    """The setting of the uv that runs in the tasks' image."""
    if launcher == "processes":
        return {}
    return {"FETCHML_ENVIRONMENTS_UV": str(request.getfixturevalue("static_uv"))}


def build_containers(server: Server) -> list[str]:
    """Containers that write to the server's environments."""
    return [
        container.name
        for container in server.backend.containers()
        if "fetchml.build" in container.labels
        and any(str(server.data_dir) in mount["Source"] for mount in container.attrs["Mounts"])
    ]


@on_both(BUILD, *BUILDING, "environment_kept")
async def test_killed_while_an_environment_is_built(
    serve: Serve, backend: Backend, uv: dict[str, str], tmp_path: Path, step: str
) -> None:
    wheel(tmp_path / "wheels", "1.0")
    links = {"FETCHML_ENVIRONMENTS_FIND_LINKS": str(tmp_path / "wheels")}
    server = await serve(backend, **links, **uv).start(FETCHML_CRASH_AT=step)
    code = await upload(server, requirements_txt=pinned("1.0"), train_py=SHOW)
    with suppress(aiohttp.ClientError):
        script = COUNTED + "python train.py"
        await server.submit(script, snapshot_id=code, environment=WANTED)
    assert await server.died() == -signal.SIGKILL
    if backend.variables["FETCHML_LAUNCHER"] == "docker":
        assert len(build_containers(server)) == (step in BUILDING)
    ready = server.data_dir / "environments/ready"
    is_kept = step in ("environment_kept", "environment_held")
    assert len(list(ready.iterdir())) == is_kept
    await server.start()
    [task_id] = [each["id"] for each in (await server.rest.get("/v1/tasks")).json["tasks"]]
    assert (await server.ended(task_id)).status == Task.completed
    task = await server.get(task_id)
    assert "tiny 1.0" in task.output
    assert (task.attempt, await server.starts(task_id)) == (1, 1)
    # One environment, which the second server has built or found, and nothing beside it.
    provided = "hit" if is_kept else "miss"
    metrics = (await server.rest.get("/metrics")).body.decode().splitlines()
    assert f'fetchml_environments_provided_total{{how="{provided}"}} 1.0' in metrics
    assert len(list(ready.iterdir())) == 1
    left = [ready.parent / name for name in ("new", "held")]
    await until_true(lambda: not [each for folder in left for each in folder.iterdir()])
    await until_true(lambda: not build_containers(server))
    await server.assert_idle(task_id)
