"""Environments of an index that needs a password, which nobody is shown: built by a real uv in
containers."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from fetchml.core.model import Role
from testbed.docker_engine import Engine
from tests.server.environment_tasks import SHOW, ended, submit, upload, wheel
from tests.server.private_index import PASSWORD, PrivateIndex, private_index
from tests.support.program import Backend, Server
from tests.support.server_fixtures import Serve

pytestmark = pytest.mark.slow

WRONG = "wrong-pass-word"
PLACES = (
    "/v1/environments",
    "/v1/audit",
    "/v1/server",
    "/v1/doctor",
    "/v1/storage",
    "/metrics",
    "/openapi.yaml",
)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PrivateIndex]:
    wheel(tmp_path / "wheels", "1.0")
    wheel(tmp_path / "wheels", "2.0")
    with private_index(tmp_path / "wheels") as found:
        yield found


def gateway(engine: Engine) -> str:
    """The address by which containers reach this machine."""
    network = engine.client.networks.get("bridge")
    return str(network.attrs["IPAM"]["Config"][0]["Gateway"])


@pytest.fixture
def place(
    containers_backend: Backend, docker_engine: Engine, static_uv: Path
) -> tuple[Backend, str, dict[str, str]]:
    """What runs tasks, the address of this machine for builds, and settings."""
    settings = {"FETCHML_ENVIRONMENTS_UV": str(static_uv), "FETCHML_TASKS_NETWORK": "fetchml"}
    return containers_backend, gateway(docker_engine), settings


async def shown_by(server: Server, task_id: str) -> str:
    """All that the server shows of a task and of itself, to its admin and to another user."""
    of_task = [f"/v1/tasks/{task_id}{rest}" for rest in ("?view=full", "/logs", "/explain")]
    other, _ = await server.clients(await server.key("bob", Role.USER))
    replies = [
        await client.get(path)
        for client in (server.rest, other)
        for path in (*PLACES, *of_task, "/v1/tasks?view=full")
    ]
    return "\n".join(reply.body.decode(errors="replace") for reply in replies)


def files_with(folder: Path, text: str) -> list[str]:
    found = [each for each in folder.rglob("*") if each.is_file() and not each.is_symlink()]
    return [str(each.relative_to(folder)) for each in found if text.encode() in each.read_bytes()]


async def test_password_of_the_index_is_nowhere(
    serve: Serve, place: tuple[Backend, str, dict[str, str]], index: PrivateIndex
) -> None:
    backend, host, settings = place
    good = {**settings, "FETCHML_ENVIRONMENTS_INDEX_URL": index.url(host)}
    server = await serve(backend, **good).start()
    code = await upload(server, requirements_txt=b"tiny\n", train_py=SHOW)
    task_id = await submit(server, code)
    task = await ended(server, task_id)
    assert task["status"] == "completed", task.get("error")
    assert "tiny 2.0" in task["output"]
    assert ("/files/tiny-2.0-py3-none-any.whl", True) in index.asked
    shown = await shown_by(server, task_id)
    assert task_id in shown, "so that the search has something to find"
    # What uv says when it finds no such version, with the right password.
    missing = await upload(server, requirements_txt=b"tiny==9.9\n", train_py=SHOW)
    failed = await submit(server, missing)
    task = await ended(server, failed)
    assert "tiny==9.9" in task["error"]
    shown += await shown_by(server, failed)
    await server.stop()
    # And with a wrong one, which is as secret.
    bad = {**settings, "FETCHML_ENVIRONMENTS_INDEX_URL": index.url(host, WRONG)}
    refused = await serve(backend, **bad).start()
    code = await upload(refused, requirements_txt=b"tiny\n", train_py=SHOW)
    failed = await submit(refused, code)
    task = await ended(refused, failed)
    assert task["failure_reason"] == "PREPARE_FAILED", task
    shown += await shown_by(refused, failed)
    await refused.stop()
    for password in (PASSWORD, WRONG):
        assert password not in shown
        for each in (server, refused):
            assert password not in each.log
            assert await asyncio.to_thread(files_with, each.data_dir, password) == []
