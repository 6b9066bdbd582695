"""REST and gRPC accept the same requests of training runs, and show the same tasks: those fields
whose values must exist on the server."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.parity import both_create, without_own
from tests.server.parity_cases import BLOCKED, BOX, GOOD
from tests.support.archives import archive
from tests.support.program import Backend, Server, Task
from tests.support.rest_world import JSON
from tests.support.server_fixtures import Serve

FILES = {
    "requirements.txt": b"# no packages\n",
    "train.py": b"# /// script\n# dependencies = []\n# ///\nprint(1)\n",
}
HIDDEN = ("hidden-value", "token=secret")
NOTIFY = [
    {"url": "https://hooks.example/a?token=secret"},
    {"url": "https://hooks.example/b", "on": ["started", "preempted", "idle"]},
]


@pytest.fixture
async def server(serve: Serve, processes_backend: Backend, tmp_path: Path) -> AsyncIterator[Server]:
    """With two volumes and two secrets, one running task, and room for none beside it."""
    (tmp_path / "disk").mkdir()
    volumes = f"[volumes.models]\npath = '{tmp_path / 'disk'}'\n"
    volumes += f"[volumes.scratch]\npath = '{tmp_path / 'disk'}'\nmode = 'rw'\nmax_gb = 100\n"
    (tmp_path / "fetchml.toml").write_text(volumes)
    settings = {"FETCHML_CONFIG": str(tmp_path / "fetchml.toml"), "FETCHML_GPU_MAY_IDLE": "true"}
    server = await serve(processes_backend, **BOX, **BLOCKED, **settings).start()
    for name in ("TOKEN", "KEY_FILE"):
        await server.rest.ask("PUT", f"/v1/secrets/{name}", b'{"value":"hidden-value"}', **JSON)
    yield server
    assert "Traceback" not in server.log


async def test_valid_runs_have_the_same_outcome(server: Server) -> None:
    saves = "echo 1 >$FETCHML_CHECKPOINT/state; echo 2 >$FETCHML_OUTPUTS/result"
    first = await server.submit(saves, job_name="first", checkpoint=True)
    assert (await server.ended(first)).status == Task.completed
    sweep = {"task": {"job_name": "s"}, "parameters": {"x": {"range": [1, 2]}}}
    running = await server.submit_running("sleep 600", job_name="blocker")
    sweep_id = (await server.rest.submit(sweep, "/v1/sweeps")).json["id"]
    kept = await server.rest.ask(
        "PUT", "/v1/snapshots", archive(FILES), Content_Type="application/gzip"
    )
    code = {"job_name": "a", "snapshot_id": kept.json["id"]}
    cases: dict[str, dict[str, Any]] = {
        "volumes": {"volumes": ["scratch", "models"]},
        "no volume": {"volumes": []},
        "secrets": {"secrets": [{"name": "TOKEN"}, {"name": "KEY_FILE", "as": "file"}]},
        "no secret": {"secrets": []},
        "notify": {"notify": NOTIFY},
        "notify nobody": {"notify": []},
        "requirements": {**code, "environment": {"requirements": "requirements.txt"}},
        "script": {**code, "environment": {"script": "train.py"}},
        "checkpoint of another task": {"checkpoint": True, "checkpoint_from": first},
        "inputs of an ended task": {"inputs_from": [first]},
        "inputs of a running task": {"inputs_from": [first, running]},
        "after tasks": {
            "after": [{"task_id": running, "condition": "ended"}, {"task_id": first}],
        },
        "after a sweep": {"after": [{"sweep_id": sweep_id, "condition": "failed"}]},
        "may be idle": {"may_idle": True},
    }
    everything = {name: value for fields in cases.values() for name, value in fields.items()}
    cases["everything"] = {
        **GOOD["everything"],
        **everything,
        "datasets": [],
        "dataset_specs": [],
        "volumes": ["models"],
        "secrets": [{"name": "TOKEN", "as": "env"}],
        "notify": NOTIFY,
        "warn_seconds": 0,
    }
    for name, fields in cases.items():
        for view in ("BASIC", "FULL"):
            over_rest, over_grpc = await both_create(server, {"job_name": "a", **fields}, view)
            assert isinstance(over_rest, dict), (name, over_rest)
            assert without_own(over_rest) == without_own(over_grpc), name
            assert not any(hidden in str(over_rest) for hidden in HIDDEN), name
        # The fields that the case is about are shown, unless they are empty; variables by name.
        for field, value in fields.items():
            assert not value or field in over_rest or field == "env", (name, field)
