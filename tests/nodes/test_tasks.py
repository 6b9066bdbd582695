"""What every task may rely on, in containers on nodes."""

import re

import pytest

from fetchml.v1 import task_pb2
from testbed.slurm import NODES
from tests.nodes.conftest import in_full
from tests.nodes.means import Means
from tests.support.program import Server
from tests.support.rest_world import JSON
from tests.support.waiting import eventually, until

pytestmark = pytest.mark.slow

Task = task_pb2.Task


async def none_left(means: Means, *task_ids: str) -> None:
    await eventually(lambda: not any(map(means.left, task_ids)))


async def test_it_runs_in_its_image(server: Server, means: Means) -> None:
    value = 'it\'s "one" $x\nline'
    script = (
        'cat /etc/marker; echo "$OF_IMAGE|$VALUE|$UID|$CUDA_VISIBLE_DEVICES|${SLURM_JOB_ID-none}"; '
        'pwd; id -u; echo kept >"$FETCHML_OUTPUTS/file"; cat /proc/self/status; '
        "touch /etc/x && ls /etc; ls /root; exit 3"
    )
    task_id = await server.submit(script, env={"VALUE": value, "UID": "5"})
    task = await server.ended(task_id)
    assert (task.status, task.exit_code, task.error) == (Task.failed, 3, "exit code 3"), task
    assert task.worker_id in NODES
    output = (await server.get(task_id)).output
    begin = f"of the image\nyes|{value}|5||none\n/workspace\n{means.uid}\n"
    assert output.startswith(begin), output
    if means.name != "pyxis" or means.owner is not None:
        assert re.search(r"^CapEff:\s*0+$", output, re.MULTILINE), output
    kept_in_memory = means.name == "apptainer"
    assert ("marker" in output.removeprefix(begin)) is kept_in_memory, output
    assert ("Read-only file system" in output) is not kept_in_memory, output
    reply = await server.rest.get(f"/v1/tasks/{task_id}/outputs/file")
    assert reply.body == b"kept\n"
    await none_left(means, task_id)


@in_full
async def test_secrets(server: Server) -> None:
    for name in ("TOKEN", "KEY"):
        body = b'{"value":"value-of-a-secret"}'
        assert (await server.rest.ask("PUT", f"/v1/secrets/{name}", body, **JSON)).status == 200
    script = 'echo "${#TOKEN} $TOKEN"; ls /secrets; cat "$FETCHML_SECRETS/KEY"'
    uses = [{"name": "TOKEN"}, {"name": "KEY", "as": "file"}]
    task_id = await server.submit(script, secrets=uses)
    assert (await server.ended(task_id)).status == Task.completed
    assert (await server.get(task_id)).output == "17 ***\nKEY\n***"
    folder = server.attempt_folder(task_id)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert not any(b"value-of-a-secret" in path.read_bytes() for path in files)


async def test_ends_are_told_apart(server: Server, means: Means) -> None:
    limited = await server.submit("sleep 600", timeout_seconds=1)
    killed = await server.submit("kill -9 $$")
    nameless = await server.submit("true", image="docker-archive:/tmp/x.tar")
    cancelled = await server.submit_running(
        "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.1; done"
    )
    await until(lambda: server.get(cancelled), lambda task: "ready" in task.output)
    await server.rest.ask("DELETE", f"/v1/tasks/{cancelled}")
    reasons = {}
    for task_id in (limited, killed, nameless, cancelled):
        task = await server.ended(task_id)
        reasons[task_id] = Task.FailureReason.Name(task.failure_reason)
    assert reasons == {
        limited: "TIMEOUT",
        killed: "SIGNAL",
        nameless: "PREPARE_FAILED",
        cancelled: "CANCELLED",
    }
    assert "bye" in (await server.get(cancelled)).output
    assert "in a registry" in (await server.get(nameless)).error
    await none_left(means, limited, killed, cancelled)


@in_full
async def test_server_restarts_beside_a_container(server: Server, means: Means) -> None:
    task_id = await server.submit_running("until [ -e /outputs/go ]; do sleep 0.1; done; exit 4")
    await server.kill_and_start()
    (server.attempt_folder(task_id) / "outputs/go").touch()
    task = await server.ended(task_id)
    assert (task.exit_code, task.attempt) == (4, 1), task
    await none_left(means, task_id)
