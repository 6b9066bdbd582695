"""Environments that a real uv builds, under both launchers, in servers that are killed."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server.environment_tasks import SHOW, WANTED, ended, pinned, submit, upload, wheel
from tests.support.program import Backend, Server
from tests.support.server_fixtures import Serve
from tests.support.waiting import until

pytestmark = pytest.mark.slow


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    wheel(tmp_path / "wheels", "1.0")
    wheel(tmp_path / "wheels", "2.0")
    return tmp_path / "wheels"


@pytest.fixture(params=["process", "docker"])
def variables(request: pytest.FixtureRequest, wheels: Path) -> tuple[Backend, dict[str, str]]:
    found = {"FETCHML_ENVIRONMENTS_FIND_LINKS": str(wheels)}
    if request.param == "process":
        return request.getfixturevalue("processes_backend"), found
    uv = request.getfixturevalue("static_uv")
    return (
        request.getfixturevalue("containers_backend"),
        {**found, "FETCHML_ENVIRONMENTS_UV": str(uv)},
    )


def folders(server: Server, name: str) -> list[str]:
    return [each.name for each in (server.data_dir / "environments" / name).iterdir()]


async def test_cold_warm_broken_and_killed(
    serve: Serve, variables: tuple[Backend, dict[str, str]]
) -> None:
    """One server for all of it: each start of one takes a second."""
    backend, settings = variables
    server = await serve(backend, **settings).start()
    code = await upload(server, requirements_txt=pinned("1.0"), train_py=SHOW)
    # However many ask, one build.
    asking = [await submit(server, code) for _ in range(3)]
    outputs = set()
    for task_id in asking:
        task = await ended(server, task_id)
        assert task["status"] == "completed", task["error"]
        assert task["environment"] == WANTED
        outputs.add(task["output"])
    [output] = outputs
    where, what = output.split(" ", 1)
    root = what.split()[-1]
    assert what.startswith("tiny 1.0 ")
    assert where.startswith(f"{root}/lib/")
    assert len(folders(server, "ready")) == 1
    # The task can't change it, nor leave anything for the next one.
    if backend.variables["FETCHML_LAUNCHER"] == "docker":
        assert root == "/environment"
        task = await ended(server, await submit(server, code, command=["touch", f"{root}/x"]))
        assert task["status"] == "failed"
        assert "Read-only" in task["output"]
    # What can't be installed fails with uv's words, once.
    broken = await upload(server, requirements_txt=pinned("9.9"), train_py=SHOW)
    task = await ended(server, await submit(server, broken, max_retries=3))
    assert (task["failure_reason"], task["retry_count"]) == ("PREPARE_FAILED", 0)
    assert task["error"].startswith("requirements.txt: uv: No solution found")
    assert "tiny==9.9" in task["error"]
    # Killed in the middle of a build: the next server builds it, and nothing of the first is left.
    new = await upload(server, requirements_txt=pinned("2.0"), train_py=SHOW)
    task_id = await submit(server, new)
    await until_new(server)
    await server.kill()
    server = await server.start()
    task = await ended(server, task_id)
    assert (task["status"], task["attempt"]) == ("completed", 1), task.get("error")
    assert "tiny 2.0" in task["output"]
    # The one from before is there still.
    before = set(folders(server, "ready"))
    task = await ended(server, await submit(server, code))
    assert task["output"] == output
    assert set(folders(server, "ready")) == before
    assert len(before) == 2
    # An attempt lets go of it after its container is removed.
    await until_empty(server, "new")
    await until_empty(server, "held")
    metrics = (await server.rest.get("/metrics")).body.decode().splitlines()
    assert "fetchml_environments 2.0" in metrics
    # Since its start this server has built one, and found the other.
    assert 'fetchml_environments_provided_total{how="miss"} 1.0' in metrics
    assert 'fetchml_environments_provided_total{how="hit"} 1.0' in metrics
    # And nobody needs them any more: two environments, and uv's cache of their user.
    asked = {"older_than_seconds": 0, "kinds": ["environments"], "apply": True}
    done = await server.rest.submit(asked, "/v1/storage/prune")
    assert (done.json["environments"], done.json["left"]) == (3, 0)
    assert folders(server, "ready") == folders(server, "packages") == []


async def until_new(server: Server) -> None:
    async def look() -> list[str]:
        return folders(server, "new")

    await until(look)


async def until_empty(server: Server, name: str) -> None:
    async def look() -> list[str]:
        return folders(server, name)

    await until(look, lambda found: not found)


def locked(folder: Path, about: str) -> bytes:
    """Return the uv.lock of a project."""
    folder.mkdir()
    (folder / "pyproject.toml").write_text(about)
    uv = [str(Path(sys.executable).parent / "uv"), "lock"]
    subprocess.run(uv, cwd=folder, check=True, capture_output=True)
    return (folder / "uv.lock").read_bytes()


async def test_packages_of_the_index(
    serve: Serve, processes_backend: Backend, tmp_path: Path
) -> None:
    """A requirements file, a script, and a project: exactly what its lock
    names, and a lock that does not fit its project is refused by uv."""
    server = await serve(processes_backend).start()
    add = b"import numpy; print(numpy.arange(4).sum())"
    code = await upload(server, requirements_txt=b"numpy\n", train_py=add)
    for _ in range(2):
        task = await ended(server, await submit(server, code))
        assert task.get("output") == "6\n", task.get("error")
    show = b"import six; print(six.__version__)"
    block = b'# /// script\n# dependencies = ["six==1.16.0"]\n# ///\n'
    code = await upload(server, train_py=block + show)
    task = await ended(server, await submit(server, code, environment={"script": "train.py"}))
    assert task.get("output") == "1.16.0\n", task.get("error")

    about = '[project]\nname = "mine"\nversion = "1"\nrequires-python = ">=3.9"\n'
    about += 'dependencies = ["six<1.17"]\n'
    lock = await asyncio.to_thread(locked, tmp_path / "project", about)
    files = {"pyproject_toml": about.encode(), "uv_lock": lock, "train_py": show}
    code = await upload(server, **files)
    task = await ended(server, await submit(server, code, environment={"project": "."}))
    assert task.get("output") == "1.16.0\n", task.get("error")
    files["pyproject_toml"] = about.replace("<1.17", ">=1.17").encode()
    code = await upload(server, **files)
    task = await ended(server, await submit(server, code, environment={"project": "."}))
    assert task["failure_reason"] == "PREPARE_FAILED"
    assert "lockfile" in task["error"]


async def test_no_network_and_no_packages(serve: Serve, containers_backend: Backend) -> None:
    server = await serve(containers_backend).start()
    code = await upload(server, requirements_txt=b"tiny\n")
    refused = await server.rest.submit(
        {"job_name": "a", "snapshot_id": code, "environment": WANTED}
    )
    assert refused.status == 422
    assert "[environments] find_links" in refused.error
    assert (await server.rest.get("/v1/server")).json["environments"] is False
