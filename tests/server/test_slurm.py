"""A real server on a real Slurm, over both ways to reach it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fetchml.v1 import task_pb2
from testbed.slurm import NODES, Slurm
from tests.server.test_slurm_task import nothing_left
from tests.server.test_slurm_task import server as server  # noqa: PLC0414 - a fixture
from tests.support.cli_server import run
from tests.support.program import Server
from tests.support.server_fixtures import Serve
from tests.support.slurm_fixtures import backend_of, both_transports
from tests.support.waiting import eventually, until

pytestmark = pytest.mark.slow

Task = task_pb2.Task
JSON = {"Content-Type": "application/json"}
PORTS = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
ALL_GPUS = 2
"""Of one node."""


def attempt_of(shared: Path, task_id: str, attempt: int = 1) -> Path:
    return shared / f"tasks/{task_id}/attempts/{attempt}"


async def test_environment_reaches_the_task_as_it_is(server: Server) -> None:
    value = 'it\'s "one" $x `y` \\ line'
    script = 'printf "%s|%s|%s" "$UID" "$VALUE" "${SLURM_JOB_ID-none}"'
    task = await server.ended(await server.submit(script, env={"UID": "5", "VALUE": value}))
    assert (await server.get(task.id)).output == f"5|{value}|none"


async def test_gpus_are_those_that_slurm_gave(server: Server) -> None:
    script = 'echo "$CUDA_VISIBLE_DEVICES"'
    none, one = await server.submit(script), await server.submit(script, gpu=ALL_GPUS)
    for task_id, expected in ((none, "\n"), (one, "0,1\n")):
        assert (await server.ended(task_id)).status == Task.completed
        assert (await server.get(task_id)).output == expected


@both_transports
async def test_waiting_task_has_slurms_reason_and_can_be_cancelled(
    server: Server, slurm: Slurm
) -> None:
    running = [await server.submit_running("sleep 300", gpu=ALL_GPUS) for _ in range(2)]
    waiting = await server.submit("true", gpu=1)

    async def reason() -> str:
        return await server.explained(waiting)

    said = await until(reason, lambda text: "Slurm's queue" in text)
    assert said.startswith("It waits in Slurm's queue for "), said
    listed = (await server.rest.get("/v1/queue/waiting")).json
    assert [each["reason"] for each in listed["waiting"]] == [await server.explained(waiting)]
    stats = await server.queue()
    assert (stats.queued, stats.running, stats.workers) == (1, 2, len(NODES))
    for task_id in (waiting, *running):
        reply = await server.rest.ask("DELETE", f"/v1/tasks/{task_id}")
        assert reply.status in (200, 202, 204), reply.body
        task = await server.ended(task_id)
        assert (task.status, task.failure_reason) == (Task.failed, Task.CANCELLED)
    await nothing_left(slurm, waiting, *running)


async def test_cancelled_task_ends_by_itself(server: Server) -> None:
    script = "trap 'echo saved; exit 0' TERM; echo ready; while :; do sleep 0.1; done"
    task_id = await server.submit_running(script)
    await until(lambda: server.get(task_id), lambda task: "ready" in task.output)
    await server.rest.ask("DELETE", f"/v1/tasks/{task_id}")
    task = await server.ended(task_id)
    assert task.failure_reason == Task.CANCELLED
    assert (await server.get(task_id)).output.endswith("\nsaved\n")


async def test_time_limit_is_kept_by_the_shim(server: Server) -> None:
    task = await server.ended(await server.submit("sleep 300", timeout_seconds=1))
    assert task.failure_reason == Task.TIMEOUT


async def test_signal_of_the_tasks_own_is_its_end(server: Server) -> None:
    task = await server.ended(await server.submit("kill -TERM $$"))
    assert (task.failure_reason, task.exit_code) == (Task.SIGNAL, 143), task
    assert (task.infra_retries, task.attempt) == (0, 1)


async def test_failed_task_is_retried_in_a_new_attempt(server: Server, shared: Path) -> None:
    script = 'echo "attempt $FETCHML_ATTEMPT"; test "$FETCHML_ATTEMPT" = 2'
    task = await server.ended(await server.submit(script, max_retries=1))
    assert (task.status, task.attempt, task.retry_count) == (Task.completed, 2, 1)
    assert attempt_of(shared, task.id, 2).is_dir()


@both_transports
async def test_request_that_slurm_refuses_for_good_fails_with_its_words(server: Server) -> None:
    task = await server.ended(await server.submit("true", gpu=1000))
    assert task.failure_reason == Task.PREPARE_FAILED
    assert task.error.startswith("Slurm refuses it: "), task.error


async def test_log_is_followed_while_it_grows(server: Server, shared: Path) -> None:
    task_id = await server.submit_running("echo one; until [ -e go ]; do sleep 0.1; done; echo two")
    request = task_pb2.StreamTaskLogsRequest(task_id=task_id, follow=True)
    call = server.grpc.tasks.StreamTaskLogs(request)
    seen = b""
    async for chunk in call:
        seen += chunk.data
        if seen == b"one\n":
            (attempt_of(shared, task_id) / "workspace/go").touch()
    assert seen == b"one\ntwo\n"


async def test_datasets_below_the_root_are_seen_by_nodes(
    serve: Serve, slurm: Slurm, shared: Path, tmp_path: Path
) -> None:
    root = tmp_path / "datasets"
    (root / "digits").mkdir(parents=True)
    (root / "digits/rows").write_text("1,2,3")
    server = serve(backend_of(slurm, "cli", shared), FETCHML_DATASETS_ROOT=str(root))
    await server.start()
    task_id = await server.submit('cat "$FETCHML_DATASETS/digits/rows"', datasets=["digits"])
    assert (await server.ended(task_id)).status == Task.completed
    assert (await server.get(task_id)).output == "1,2,3"


async def test_more_than_max_pending_wait_in_the_server(
    serve: Serve, slurm: Slurm, shared: Path
) -> None:
    variables = {"FETCHML_SLURM_MAX_PENDING": "3", "FETCHML_SLURM_USER_MAX_PENDING": "2"}
    server = await serve(backend_of(slurm, "cli", shared), **variables).start()
    blockers = [await server.submit_running("sleep 300", gpu=ALL_GPUS) for _ in range(2)]
    waiting = [await server.submit("true", gpu=ALL_GPUS) for _ in range(4)]
    await eventually(lambda: sum(waiting[1] in name for name in slurm.jobs()) == 1)
    assert not any(task_id in name for name in slurm.jobs() for task_id in waiting[2:])
    assert "of the 2 tasks of admin that it has" in await server.explained(waiting[3])
    for task_id in blockers:
        await server.rest.ask("DELETE", f"/v1/tasks/{task_id}")
    for task_id in waiting:
        assert (await server.ended(task_id)).status == Task.completed


@both_transports
async def test_parameters_of_a_request_reach_slurm(
    serve: Serve, slurm: Slurm, transport_name: str, shared: Path
) -> None:
    variables = {
        "FETCHML_SLURM_ALLOW": "gres nice nodelist exclusive=user",
        "FETCHML_SLURM_USERS": "admin.nodelist=g1",
    }
    server = await serve(backend_of(slurm, transport_name, shared), **variables).start()
    own = await server.submit("true")
    asked = {"nodelist": "c3", "nice": "7", "exclusive": "user"}
    task_id = await server.submit("true", priority=10, slurm=asked)
    gpus = await server.submit("true", gpu=2, slurm={"gres": "gpu:2"})
    for each, node in ((own, "g1"), (task_id, "c3"), (gpus, "g1")):
        task = await server.ended(each)
        assert (task.status, task.worker_id) == (Task.completed, node), task
    assert dict((await server.get(task_id)).slurm) == asked
    show = ("squeue", "--noheader", "--states=all", "--format=%j|%y|%h")
    [line] = [line for line in slurm.run(*show).splitlines() if task_id in line]
    assert line.endswith("|7|USER"), line
    body = b'{"job_name": "a", "slurm": {"qos": "high"}}'
    reply = await server.rest.ask("POST", "/v1/tasks", body, **JSON)
    assert reply.status == 422
    assert b"qos is not allowed" in reply.body


def findings(tmp_path: Path, variables: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    ran = run("doctor", "--json", "--data-dir", str(tmp_path / "data"), *PORTS, **variables)
    return {check["name"]: check for check in json.loads(ran.out)["checks"]}


@both_transports
def test_doctor_examines_the_cluster(
    slurm: Slurm, transport_name: str, shared: Path, tmp_path: Path
) -> None:
    variables = {**backend_of(slurm, transport_name, shared).variables}
    found = findings(tmp_path, variables)
    assert found["slurm"]["ok"]
    assert found["cluster nodes"]["says"] == "3 of 3 take work"
    assert found["shared folder"]["ok"]
    assert "KillWait" in found["kill wait"]["says"]
    assert found["cluster gpus"]["says"].startswith("4, ")
    assert "proctrack/cgroup" in found["cluster plugins"]["advice"]


def test_doctor_names_what_is_away(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(b"key")
    variables = {
        "FETCHML_LAUNCHER": "slurm",
        "FETCHML_SLURM_TRANSPORT": "rest",
        "FETCHML_SLURM_URL": "http://127.0.0.1:1",
        "FETCHML_SLURM_JWT_KEY": str(key),
        "FETCHML_SLURM_SHARED_DIR": str(tmp_path / "none"),
    }
    found = findings(tmp_path, variables)
    for name in ("slurm", "shared folder", "cluster user"):
        assert not found[name]["ok"]
        assert found[name]["mend"]


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"FETCHML_SLURM_ALLOW_ROOT": "false"}, "as an account"),
        ({"FETCHML_SLURM_SHARED_DIR": ""}, "[slurm] shared_dir"),
        ({"FETCHML_SLURM_TRANSPORT": "rest"}, "token_file and jwt_key"),
    ],
)
def test_server_without_what_it_needs_does_not_start(
    tmp_path: Path, variables: dict[str, str], said: str
) -> None:
    given = {
        "FETCHML_LAUNCHER": "slurm",
        "FETCHML_SLURM_ALLOW_ROOT": "true",
        "FETCHML_SLURM_SHARED_DIR": str(tmp_path),
        **variables,
    }
    assert said in run("serve", "--data-dir", str(tmp_path / "data"), *PORTS, **given).failed(1)


@pytest.mark.parametrize("point", ["handing_over", "handed_over", "gate_opened", "started"])
async def test_server_killed_at_each_step_runs_a_task_once(
    serve: Serve, slurm: Slurm, transport_name: str, shared: Path, point: str
) -> None:
    server = serve(backend_of(slurm, transport_name, shared))
    await server.start(FETCHML_CRASH_AT=point)
    task_id = await server.submit('echo run >>"$FETCHML_OUTPUTS/runs"; exit 4')
    await server.died()
    await server.start()
    task = await server.ended(task_id)
    assert (task.exit_code, task.attempt) == (4, 1), (task, server.log)
    reply = await server.rest.get(f"/v1/tasks/{task_id}/outputs/runs")
    assert reply.body == b"run\n"
    await nothing_left(slurm, task_id)
