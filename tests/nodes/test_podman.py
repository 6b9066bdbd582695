"""What only Podman's containers on nodes have."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fetchml.v1 import task_pb2
from tests.nodes.means import Means
from tests.nodes.test_tasks import none_left
from tests.support.program import Server
from tests.support.rest_world import JSON

Task = task_pb2.Task
pytestmark = [pytest.mark.slow, pytest.mark.parametrize("means", ["podman"], indirect=True)]


async def test_image_that_is_missing(server: Server) -> None:
    task = await server.ended(await server.submit("true", image="fetchml-missing:1"))
    assert (task.failure_reason, task.attempt) == (Task.PREPARE_FAILED, 1), task
    assert '"fetchml-missing:1" did not resolve' in task.error, task


async def test_time_limit_changes_and_the_task_can_not_change_it(
    server: Server, means: Means
) -> None:
    """The account of the job is the server's, so only the mount is in the way."""
    script = (
        "cd /.fetchml/control; echo timeout_ms=0 >limit; echo timeout_ms=0 >limit.new; "
        "ls -A /.fetchml/control; sleep 9; ls -A /.fetchml/control; exit 7"
    )
    task_id = await server.submit_running(script, timeout_seconds=6)
    body = b'{"timeout_seconds": 6000}'
    reply = await server.rest.ask("PATCH", f"/v1/tasks/{task_id}", body, **JSON)
    assert reply.status == 200, reply.body
    task = await server.ended(task_id)
    assert (task.exit_code, task.failure_reason) == (7, Task.EXIT_CODE), task
    output = (await server.get(task_id)).output
    assert output.count("Read-only file system") == 2, output
    assert output.endswith("\nlimit\n")
    await none_left(means, task_id)


@pytest.fixture
def cdi() -> Iterator[None]:
    """Two GPUs of each node, described as nvidia-ctk does; /dev/null stands in for them."""
    devices = [
        {
            "name": str(number),
            "containerEdits": {
                "deviceNodes": [{"path": f"/dev/nvidia{number}", "hostPath": "/dev/null"}]
            },
        }
        for number in range(2)
    ]
    folder = Path("/etc/cdi")
    folder.mkdir(exist_ok=True)
    file = folder / "fetchml-tests.json"
    text = {"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": devices}
    file.write_text(json.dumps(text))
    yield
    file.unlink()


async def test_container_has_the_gpus_of_its_job(server: Server, cdi: None) -> None:
    script = 'ls /dev | while read -r name; do case $name in nvidia*) echo "$name";; esac; done'
    both = await server.submit(script, gpu=2)
    assert (await server.ended(both)).status == Task.completed
    assert (await server.get(both)).output == "nvidia0\nnvidia1\n"
    one = await server.submit(f"{script}; sleep 1", gpu=1)
    assert (await server.ended(one)).status == Task.completed
    assert (await server.get(one)).output in ("nvidia0\n", "nvidia1\n")
