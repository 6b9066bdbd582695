"""The server as its systemd unit starts it: a user of its own, with four capabilities and no more.

Containers then have uids that are not the server's, and programs that the server starts have no
capability.
"""

import os
import re
import subprocess
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fetchml.config.settings import TaskSettings
from fetchml.core.model import Role
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.system import processes
from testbed.docker_engine import Engine
from tests.support.cli_server import SECONDS, environment, run
from tests.support.program import Backend, Server, Task
from tests.support.service_user import ENVIRONMENT, UID, as_the_unit, granted
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user"),
]
GRANTED = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 12
"""By their numbers in `linux/capability.h`."""
FIRST_UID = TaskSettings().first_uid
SHUT = """
umask 077
id -u
cd $FETCHML_OUTPUTS
echo mine > private
mkdir sticky shut deep
mkdir deep/er
touch sticky/file shut/file deep/er/file none
chmod 1777 sticky
chmod 4711 deep/er/file
chmod 000 none shut deep/er deep
cp -r sticky $FETCHML_WORKSPACE
chmod 000 $FETCHML_WORKSPACE/sticky/file
chmod 1777 $FETCHML_WORKSPACE/sticky
"""
WAIT = "while [ ! -e go ]; do sleep 0.02; done"


@pytest.fixture
async def server(
    service_data_dir: Path,
    containers_backend: Backend,
) -> AsyncIterator[Server]:
    server = Server(service_data_dir, containers_backend, **ENVIRONMENT)
    yield server
    await server.close()


def capabilities(status: Path) -> dict[str, int]:
    """The sets of a thread, by name, without the bounding set."""
    found = re.findall(r"^Cap(Inh|Prm|Eff|Amb):\t(.*)$", status.read_text(), re.MULTILINE)
    return {name: int(value, 16) for name, value in found}


def capabilities_of_threads(pid: int) -> list[dict[str, int]]:
    return [capabilities(each / "status") for each in Path(f"/proc/{pid}/task").iterdir()]


def run_program(command: list[str], data_dir: Path) -> "subprocess.CompletedProcess[bytes]":
    variables = environment(FETCHML_DATA_DIR=str(data_dir))
    return subprocess.run(command, capture_output=True, check=False, env=variables, timeout=SECONDS)


async def keys(server: Server) -> tuple[str, str]:
    return await server.key("ada", Role.USER), await server.key("bob", Role.USER)


def test_unit_grants_capabilities_only_for_containers() -> None:
    assert granted(docker=True) == ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_NET_ADMIN"]
    assert granted(docker=False) == []


async def test_each_user_has_its_own_container_uid(server: Server, docker_group: int) -> None:
    program = as_the_unit(docker_group, granted(docker=True))
    await server.start(program)
    for sets in capabilities_of_threads(server.pid):
        assert (sets["Eff"], sets["Prm"], sets["Amb"]) == (GRANTED, GRANTED, 0)
    assert processes.owner(server.pid) == UID
    ada, bob = [(await server.clients(key))[0] for key in await keys(server)]
    ids = []
    for user in (ada, bob):
        request = {"job_name": "shut", "command": ["sh", "-c", f"{SHUT}cd /workspace; {WAIT}"]}
        ids.append((await user.submit(request)).json["id"])
    folders = [AttemptFolder(server.data_dir / f"tasks/{each}/attempts/1") for each in ids]
    await eventually(lambda: all(folder.log_end() for folder in folders))
    uids = [int(folder.tail()) for folder in folders]
    assert len({UID, 0, *uids}) == 4
    assert min(uids) >= FIRST_UID
    assert f"{uids[0]}\n" == (await ada.get(f"/v1/tasks/{ids[0]}/logs")).body.decode()
    # A later server finds the running containers, and their files.
    await server.kill_and_start(program)
    ada, bob = [(await server.clients(key))[0] for key in await keys(server)]
    for folder in folders:
        (folder.workspace / "go").touch()
    for task_id, uid in zip(ids, uids, strict=True):
        ended = await server.ended(task_id)
        assert ended.status == Task.completed, (ended.error, server.log)
        assert (await server.get(task_id)).output == f"{uid}\n"
        reply = await ada.get(f"/v1/tasks/{task_id}/outputs/private")
        assert reply.body == b"mine\n"
        listed = (await bob.get(f"/v1/tasks/{task_id}/outputs")).json
        names = {each["path"] for each in listed["outputs"]}
        assert names == {"private", "none", "sticky/file", "shut/file", "deep/er/file"}
        kept = server.data_dir / f"tasks/{task_id}/outputs"
        assert {path.lstat().st_uid for path in (kept, *kept.rglob("*"))} == {UID}
    assert not folders[0].workspace.exists()
    await eventually(lambda: not server.backend.left_of(ids))
    for task_id in ids:
        assert (await server.rest.ask("DELETE", f"/v1/tasks/{task_id}")).status == 204
    await eventually(lambda: not any((server.data_dir / "tasks").iterdir()))
    await server.stop()
    assert "Permission denied" not in server.log
    assert "not permitted" not in server.log


async def test_backup_of_foreign_uid_files_requires_root(
    server: Server, docker_engine: Engine, docker_group: int, tmp_path: Path
) -> None:
    await server.start(as_the_unit(docker_group, granted(docker=True)))
    task_id = await server.submit("echo said; echo made > $FETCHML_OUTPUTS/made")
    assert (await server.ended(task_id)).status == Task.completed
    await eventually(lambda: not server.backend.left_of([task_id]))
    as_user = [*as_the_unit(docker_group, []), "backup", "-"]
    refused = run_program(as_user, server.data_dir)
    assert refused.returncode == 1
    assert b"No backup was made: tasks/" in refused.stderr
    assert b"Make the backup as root (sudo fetchml backup" in refused.stderr
    without = run_program([*as_user, "--no-tasks"], server.data_dir)
    assert (without.returncode, without.stderr) == (0, b"")
    place = {"FETCHML_DATA_DIR": str(server.data_dir)}
    assert run("backup", str(tmp_path / "all.tar"), **place).err == ""
    with tarfile.open(tmp_path / "all.tar") as archive:
        names = set(archive.getnames())
    kept = f"data/tasks/{task_id}"
    assert {f"{kept}/outputs/made", f"{kept}/attempts/1/run/exit"} <= names
    assert "a uid for each user" in run("doctor", DOCKER_HOST=docker_engine.host, **place).out


async def test_data_of_a_server_without_capabilities_stays_usable(
    server: Server, docker_group: int
) -> None:
    one_slot = {"FETCHML_TASKS_MAX_RUNNING": "1"}
    await server.start(as_the_unit(docker_group, []), **one_slot)
    old, running = [await server.submit(f"{SHUT}cd /workspace; {each}") for each in ("", WAIT)]
    assert (await server.ended(old)).status == Task.completed
    folder = AttemptFolder(server.data_dir / f"tasks/{running}/attempts/1")
    await eventually(lambda: folder.log_end() > 0)
    waiting = await server.submit(SHUT)
    await server.at_gate(waiting)
    await server.stop()
    await server.start(as_the_unit(docker_group, granted(docker=True)), **one_slot)
    (folder.workspace / "go").touch()
    # What has a container keeps its uid, also if it was only ready to start.
    for task_id in (running, waiting, old):
        assert (await server.ended(task_id)).status == Task.completed
        task = await server.get(task_id)
        assert (task.output, task.attempt) == (f"{UID}\n", 1)
        assert (await server.rest.get(f"/v1/tasks/{task_id}/outputs/private")).body == b"mine\n"
    new = await server.submit("id -u")
    await server.ended(new)
    assert (await server.get(new)).output == f"{FIRST_UID}\n"
    await eventually(lambda: not server.backend.left_of([old, running, waiting, new]))
    await server.stop()
    # Back again: the new task's log can't be read, and the log says why.
    await server.start(as_the_unit(docker_group, []))
    assert "belong to uids of their own" in server.log


async def test_process_tasks_have_no_capabilities(
    service_data_dir: Path,
    processes_backend: Backend,
) -> None:
    """Whatever the server was started with."""
    server = Server(service_data_dir, processes_backend, **ENVIRONMENT)
    await server.start(as_the_unit(UID, ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER"]))
    try:
        task_id = await server.submit("cat /proc/self/status > $FETCHML_OUTPUTS/status")
        assert (await server.ended(task_id)).status == Task.completed
        status = service_data_dir / f"tasks/{task_id}/outputs/status"
        assert capabilities(status) == {"Inh": 0, "Prm": 0, "Eff": 0, "Amb": 0}
        assert status.stat().st_uid == UID
    finally:
        await server.close()
