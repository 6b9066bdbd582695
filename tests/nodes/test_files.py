"""Folders that outlive an attempt, in containers on nodes."""

import pytest

from fetchml.v1 import task_pb2
from tests.nodes.conftest import in_full
from tests.nodes.means import Means
from tests.support.program import Server

pytestmark = pytest.mark.slow

Task = task_pb2.Task


@in_full
async def test_volumes_and_checkpoints(server: Server, means: Means) -> None:
    script = (
        "cat /volumes/models/weights; touch /volumes/models/x; "
        'echo "$FETCHML_ATTEMPT" >>"$FETCHML_VOLUMES/scratch/attempts"; '
        '[ -e "$FETCHML_CHECKPOINT/state" ] && exit 0; echo saved >"$FETCHML_CHECKPOINT/state"; '
        "kill -9 $$"
    )
    volumes = ["models", "scratch"]
    first = await server.submit(script, checkpoint=True, volumes=volumes, max_retries=1)
    task = await server.ended(first)
    assert (task.status, task.attempt) == (Task.completed, 2), task
    output = (await server.get(first)).output
    assert output.startswith("of the volume\n"), output
    assert "Read-only file system" in output
    attempts = means.folder / "scratch/attempts"
    assert attempts.read_text() == "1\n2\n"
    assert attempts.stat().st_uid == means.uid
    state = await server.rest.get(f"/v1/tasks/{first}/outputs/state?folder=checkpoint")
    assert state.body == b"saved\n"
    script = 'cat "$FETCHML_CHECKPOINT/state"; ls /volumes || true'
    second = await server.submit(script, checkpoint=True, checkpoint_from=first)
    assert (await server.ended(second)).status == Task.completed
    output = (await server.get(second)).output
    assert output.startswith("saved\n"), output
    assert "models" not in output, "it has asked for no volume"
