"""Users whose tasks run as accounts of their own, on a real Slurm that hides the jobs of others.

Over slurmrestd the server is an account that may give files away, and reads a token of each user;
over the commands it is root.
"""

import asyncio
import json
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from fetchml.adapters.slurm.transports.token import make_token
from fetchml.config.loader import load
from fetchml.core.model import Role
from fetchml.ops.checks import cluster
from fetchml.system.capabilities import HAND_OVER
from fetchml.v1 import task_pb2
from testbed import debian
from testbed.account import Account, account
from testbed.slurm import Slurm, private_slurm
from tests.jupyter.service import Service
from tests.server.test_slurm_doctor import findings
from tests.server.test_slurm_faults import partition
from tests.support import rest_world
from tests.support.cli_server import FETCHML, run
from tests.support.other_user import ROOT, as_service
from tests.support.program import ADMIN_KEY, Server
from tests.support.slurm_fixtures import backend_of, both_transports
from tests.support.waiting import eventually, until

pytestmark = pytest.mark.slow

Task = task_pb2.Task
CLOSED = 2
"""Exit code of ls where a folder is closed."""


@dataclass(frozen=True)
class Site:
    """A cluster with three accounts; the last is the server's where it is not root."""

    slurm: Slurm
    ada: Account
    bob: Account
    service: Account

    def write_token(self, of: Account, seconds: int = 86_400) -> Path:
        """Write a token for an account, where only the server reads it."""
        file = self.service.folder / f"token-{of.name}"
        begin = int(time.time()) - (0 if seconds > 0 else 3600)
        file.write_text(make_token(self.slurm.jwt_key.read_bytes(), of.name, begin, abs(seconds)))
        os.chown(file, self.service.uid, self.service.uid)
        file.chmod(0o600)
        return file

    def users_of_jobs(self, name: str) -> set[str]:
        """Return the accounts of the jobs whose names have this part, those that are over too."""
        lines = self.slurm.run(
            "squeue", "--noheader", "--array", "--states=all", "--format=%u|%j"
        ).splitlines()
        pairs = (line.partition("|") for line in lines)
        return {user for user, _, found in pairs if name in found}


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with ExitStack() as stack:
        cluster = stack.enter_context(private_slurm("PrivateData=jobs"))
        accounts = [stack.enter_context(account(suffix=each)) for each in "abs"]
        yield Site(cluster, *accounts)


@pytest.fixture
def shared(site: Site) -> Path:
    """Below a folder that all accounts may pass through, as a site's file system is."""
    folder = site.service.make_folder(str(len(list(site.service.folder.iterdir()))))
    folder.chmod(0o711)
    return folder / "shared"


@pytest.fixture
async def server(site: Site, transport_name: str, shared: Path) -> AsyncIterator[Server]:
    server = server_of(site, transport_name, shared)
    yield await server.start()
    await server.close()


def server_of(site: Site, transport: str, shared: Path, **more: str) -> Server:
    backend = backend_of(site.slurm, transport, shared)
    users = [f"ada.user={site.ada.name}", f"bob.user={site.bob.name}"]
    without = {"SLURM_JWT", "FETCHML_SLURM_ALLOW_ROOT", "FETCHML_SLURM_JWT_KEY"}
    given = {name: value for name, value in backend.variables.items() if name not in without}
    given |= {"FETCHML_SLURM_UNMAPPED": "refuse", **more}
    program = [*site.slurm.inside("slurmctld"), *FETCHML]
    if transport == "rest":
        given["FETCHML_SLURM_TOKEN_FILE"] = str(site.write_token(site.service))
        for name, of in (("ada", site.ada), ("bob", site.bob)):
            users.append(f"{name}.token_file={site.write_token(of)}")
        os.chown(shared, site.service.uid, site.service.uid)
        home = ("env", f"HOME={site.service.home}")
        program = as_service(site.service.uid, HAND_OVER, *home, *FETCHML)
    given = {"FETCHML_SLURM_USERS": " ".join(users)} | given
    backend = type(backend)(given, backend.containers, shared, backend.end_jobs)
    server = Server(shared.parent / "data", backend)
    server.program = program
    return server


async def as_user(server: Server, name: str) -> rest_world.Client:
    client, _ = await server.clients(await server.key(name, Role.USER))
    return client


async def submit(client: rest_world.Client, script: str, **fields: Any) -> str:
    asked = {"job_name": "job", "command": ["sh", "-c", script], **fields}
    reply = await client.submit(asked)
    assert reply.status == 201, reply.body
    return str(reply.json["id"])


def run_as(of: Account, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(of.command(*map(str, words)), capture_output=True, text=True, check=False)


def owner_of_process(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


@both_transports
async def test_job_is_that_of_the_users_account(server: Server, site: Site, shared: Path) -> None:
    ada, bob = await as_user(server, "ada"), await as_user(server, "bob")
    secret = b'{"value": "a-hidden-word"}'
    kept = await ada.ask("PUT", "/v1/secrets/WORD", secret, **rest_world.JSON)
    assert kept.status in (200, 201), kept.body
    script = (
        'id -un; wc -c <"$FETCHML_SECRETS/WORD"; echo kept >"$FETCHML_OUTPUTS/file";'
        ' echo saved >"$FETCHML_CHECKPOINT/step";'
        ' mkdir -m 700 "$FETCHML_OUTPUTS/closed"; echo in >"$FETCHML_OUTPUTS/closed/file";'
        ' until [ -e "$FETCHML_WORKSPACE/go" ]; do sleep 0.1; done'
    )
    task_id = await submit(ada, script, checkpoint=True, secrets=[{"name": "WORD", "as": "file"}])
    other = await submit(bob, "id -un")
    eve, eve_grpc = await server.clients(await server.key("eve", Role.USER))
    refused = await eve.submit({"job_name": "job", "command": ["true"]})
    assert refused.status == 403
    assert "[slurm.users.eve] user" in refused.json["error"]
    with pytest.raises(grpc.aio.AioRpcError) as denied:
        await eve_grpc.tasks.CreateTask(task_pb2.CreateTaskRequest(job_name="job"))
    assert denied.value.code() is grpc.StatusCode.PERMISSION_DENIED
    await server.running(task_id)
    attempt = server.attempt_folder(task_id)
    await until(lambda: _log(server, task_id), lambda text: text == f"{site.ada.name}\n13\n")
    for path in (
        *(attempt / "start", attempt / "run/claim", shared / "tasks", attempt),
        attempt / "secrets/WORD",
    ):
        assert run_as(site.bob, "cat" if path.is_file() else "ls", path).returncode, path
    assert run_as(site.bob, "ls", shared / "tasks" / task_id / "checkpoint").returncode == CLOSED
    assert run_as(site.ada, "touch", attempt / "opened2").returncode
    assert run_as(site.ada, "ls", shared / "tasks").returncode == CLOSED
    assert run_as(site.ada, "touch", attempt / "workspace/go").returncode == 0
    assert (await server.ended(task_id)).status == Task.completed, server.log
    assert (await server.ended(other)).status == Task.completed
    assert (await server.get(other)).output == f"{site.bob.name}\n"
    assert site.users_of_jobs(task_id) == {site.ada.name}
    assert site.users_of_jobs(other) == {site.bob.name}
    for path_of, content in (("file", b"kept\n"), ("closed/file", b"in\n")):
        reply = await ada.get(f"/v1/tasks/{task_id}/outputs/{path_of}")
        assert reply.body == content
    assert run_as(site.bob, "ls", shared / "tasks" / task_id / "outputs").returncode == CLOSED
    # One user's outputs are another task's inputs; its checkpoint stays closed.
    reads = f'cat "$FETCHML_INPUTS/job/closed/file"; ls {shared}/tasks/{task_id}/checkpoint'
    reader = await submit(bob, reads, inputs_from=[task_id])
    assert (await server.ended(reader)).exit_code == CLOSED
    assert str((await server.get(reader)).output).startswith("in\n")
    for each in (task_id, other, reader):
        assert (await server.rest.ask("DELETE", f"/v1/tasks/{each}")).status in (200, 204)
    await eventually(lambda: not any((shared / "tasks").iterdir()))


async def _log(server: Server, task_id: str) -> str:
    return str((await server.get(task_id)).output)


@both_transports
async def test_array_retry_and_cancel_are_those_of_one_account(server: Server, site: Site) -> None:
    ada, bob = await as_user(server, "ada"), await as_user(server, "bob")
    partition(site.slurm, "DOWN")
    sweep = {
        "name": "s",
        "task": {"job_name": "t", "command": ["sh", "-c", "id -un"]},
        "parameters": {"n": {"range": [1, 3]}},
        "mode": "grid",
    }
    replies = [await each.submit(sweep, "/v1/sweeps") for each in (ada, bob)]
    again = '[ -e "$FETCHML_CHECKPOINT/x" ] || { touch "$FETCHML_CHECKPOINT/x"; exit 1; }'
    retried = await submit(ada, again, checkpoint=True, max_retries=1)
    waiting = await submit(ada, "true")
    await until(lambda: server.explained(waiting), lambda reason: "Slurm's queue" in reason)
    await server.rest.ask("DELETE", f"/v1/tasks/{waiting}")
    assert (await server.ended(waiting)).failure_reason == Task.CANCELLED
    partition(site.slurm, "UP")
    for reply, of in zip(replies, (site.ada, site.bob), strict=True):
        listed = (await server.rest.get(f"/v1/tasks?sweep_id={reply.json['id']}")).json["tasks"]
        for each in listed:
            assert (await server.ended(each["id"])).status == Task.completed, server.log
            assert (await server.get(each["id"])).output == f"{of.name}\n"
    task = await server.ended(retried)
    assert (task.status, task.attempt) == (Task.completed, 2), task
    stubborn = await submit(ada, 'trap "echo told; exit 4" TERM; while :; do sleep 0.1; done')
    await server.running(stubborn)
    await server.rest.ask("DELETE", f"/v1/tasks/{stubborn}")
    assert (await server.ended(stubborn)).failure_reason == Task.CANCELLED
    await eventually(lambda: not site.slurm.jobs())


async def test_server_that_starts_again_goes_on_with_jobs_of_accounts(
    server: Server, site: Site
) -> None:
    ada, bob = await as_user(server, "ada"), await as_user(server, "bob")
    script = 'until [ -e "$FETCHML_WORKSPACE/go" ]; do sleep 0.1; done; id -un'
    going, stopping = await submit(ada, script), await submit(bob, script)
    await server.running(going)
    await server.running(stopping)
    await server.kill()
    await server.start()
    variables = {"FETCHML_SERVER": server.grpc_address, "FETCHML_API_KEY": ADMIN_KEY}
    entered = await asyncio.to_thread(run, "exec", going, "--", "id", "-un", **variables)
    assert (entered.code, entered.out) == (0, f"{site.ada.name}\n"), entered.err
    server.tell(going)
    await server.rest.ask("DELETE", f"/v1/tasks/{stopping}")
    assert (await server.ended(going)).status == Task.completed, server.log
    assert (await server.get(going)).output == f"{site.ada.name}\n"
    task = await server.ended(stopping)
    assert (task.failure_reason, task.attempt) == (Task.CANCELLED, 1)
    assert not site.slurm.jobs()


@pytest.fixture
def sudoers(site: Site) -> Iterator[None]:
    """The real sudo, which keeps the one variable that this cluster needs."""
    debian.install("sudo")
    file = Path("/etc/sudoers.d", site.ada.name)
    file.write_text('Defaults env_keep += "SLURM_CONF SLURM_TIME_FORMAT"\n')
    file.chmod(0o440)
    yield
    file.unlink()


@pytest.mark.usefixtures("sudoers")
async def test_commands_run_by_sudo(site: Site, shared: Path) -> None:
    server = await server_of(site, "cli", shared, FETCHML_SLURM_BECOME="sudo").start()
    try:
        ada = await as_user(server, "ada")
        task_id = await submit(ada, 'trap "exit 4" TERM; id -un; while :; do sleep 0.1; done')
        await server.running(task_id)
        await server.rest.ask("DELETE", f"/v1/tasks/{task_id}")
        task = await server.ended(task_id)
        assert (task.failure_reason, task.exit_code) == (Task.CANCELLED, 4), server.log
        assert str((await server.get(task_id)).output).startswith(f"{site.ada.name}\n")
        assert site.users_of_jobs(task_id) == {site.ada.name}
    finally:
        await server.close()


async def test_jupyter_service_is_a_job_of_the_account(site: Site, shared: Path) -> None:
    program = site.service.folder / "jupyter.py"
    shutil.copy(ROOT / "tests/support/fake_jupyter.py", program)
    program.chmod(0o755)
    command = f"/usr/bin/python3 {program} --plain-process"
    server = await server_of(site, "rest", shared, FETCHML_JUPYTER_COMMAND=command).start()
    try:
        ada, bob = await as_user(server, "ada"), await as_user(server, "bob")
        body = {"name": "work", "workspace": "shared/work"}
        reply = await ada.submit(body, "/v1/jupyter/services")
        assert reply.status == 201, reply.body
        service = Service(server, reply.json)
        await service.until("running")
        async with service.ask("GET", "/api/status") as answer:
            status = json.loads(await answer.read())
        assert owner_of_process(status["pid"]) == site.ada.uid
        workspace = shared / "jupyter/shared/work"
        assert run_as(site.ada, "touch", workspace / "file").returncode == 0
        assert run_as(site.bob, "ls", workspace).returncode == CLOSED
        taken = await bob.submit(body, "/v1/jupyter/services")
        assert taken.status == 201, taken.body
        shown = await Service(server, taken.json).until("error")
        assert "belong to another account" in shown["reason"]
        await ada.ask("DELETE", f"/v1/jupyter/services/{service.id}")
        await service.ended("stopped")
    finally:
        await server.close()


async def test_rejected_token_holds_back_the_jobs_of_its_account_alone(
    site: Site, shared: Path
) -> None:
    server = await server_of(site, "rest", shared, FETCHML_SLURM_UNMAPPED="service").start()
    try:
        clients = {name: await as_user(server, name) for name in ("ada", "bob", "eve")}
        file = site.write_token(site.ada, seconds=-60)
        running = await submit(clients["bob"], "id -un; sleep 300")
        await server.running(running)
        held = await submit(clients["ada"], "id -un")
        site.write_token(site.bob, seconds=-60)
        await until(
            lambda: server.explained(held), lambda reason: f"asked as {site.ada.name}" in reason
        )
        await server.rest.ask("DELETE", f"/v1/tasks/{running}")
        own = await submit(clients["eve"], "id -un")
        assert (await server.ended(own)).status == Task.completed
        assert (await server.get(own)).output == f"{site.service.name}\n"
        assert await server.health() == "healthy"
        assert (await server.shown(running))["status"] == "running"
        file.unlink()
        for each in (site.ada, site.bob):
            site.write_token(each)
        assert (await server.ended(held)).status == Task.completed, server.log
        assert (await server.get(held)).output == f"{site.ada.name}\n"
        assert (await server.ended(running)).failure_reason == Task.CANCELLED
    finally:
        await server.close()


def test_doctor_asks_slurm_as_each_account(site: Site, shared: Path, tmp_path: Path) -> None:
    variables = {
        **backend_of(site.slurm, "rest", shared).variables,
        "FETCHML_SLURM_USERS": f"ada.user={site.ada.name} bob.user={site.bob.name} "
        f"bob.token_file={site.write_token(site.bob, seconds=-60)}",
    }
    found = findings(tmp_path, variables)
    assert not found["cluster users"]["ok"]
    assert f"it can't be asked as {site.bob.name}: " in found["cluster users"]["says"]
    assert site.ada.name not in found["cluster users"]["says"]
    assert "tasks run as root" in found["cluster user"]["says"]
    assert "operator" in found["cluster jobs"]["advice"]
    assert found["users' files"]["ok"]
    site.write_token(site.bob)
    shared.parent.chmod(0o700)
    found = findings(tmp_path, {**variables, "FETCHML_SLURM_UNMAPPED": "refuse"})
    assert "as 2 accounts" in found["cluster users"]["says"], found["cluster users"]
    assert "those of others are refused" in found["cluster user"]["says"]
    assert f"chmod o+x {shared.parent}" in found["users' files"]["mend"]
    (said,) = cluster.probe_users(load(environment=variables))
    assert said.finding == f"{site.ada.name}: its job wrote nothing"
    shared.parent.chmod(0o711)
    found = findings(tmp_path, variables, "--probe")
    assert found["probe users"]["says"].endswith(f"reached its folder as uid {site.ada.uid}")
    assert [path.name for path in shared.iterdir()] == ["shim"], "the probe leaves nothing"
