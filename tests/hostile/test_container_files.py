"""What a container leaves in the folders that it shares with the server, which then reads them.

A container may do there what no request can: links to paths of the host, FIFOs, sockets, names of
any bytes, folders that nobody may enter, setuid files, and, if its image's user is root, all of
them as root.
"""

import json
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fetchml.attempts.checkpoints import TARGET as CHECKPOINT
from tests.support.cli_server import run
from tests.support.program import Backend, Server, Task
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

SECRET = "what no task may read"
SPOIL = """
import json, os, socket, stat, sys, time
secret, tried = sys.argv[1], {}
def attempt(name, action):
    try:
        action()
        tried[name] = "done"
    except OSError as error:
        tried[name] = error.strerror
for place in ("/workspace", "/.fetchml/run", "/checkpoint", "/outputs"):
    os.chdir(place)
    open("fine", "w").write("fine")
    open(b"bytes-\\xff", "w").write("bytes")
    open("line\\nbreak\\x1b[31m\\u202e", "w").write("line")
    os.symlink(secret, "link")
    os.symlink(os.path.dirname(secret), "folder-link")
    os.symlink("../../../../../../..", "up")
    os.symlink("loop", "loop")
    os.mkfifo("fifo")
    socket.socket(socket.AF_UNIX).bind("socket")
    open("setuid", "w").write("#!/bin/sh")
    os.chmod("setuid", 0o6755)
    with open("sparse", "w") as file:
        file.truncate(1 << 40)
    os.mkdir("shut")
    open("shut/inside", "w").write("inside")
    os.chmod("shut/inside", 0)
    os.chmod("shut", 0)
    for kind in (stat.S_IFCHR, stat.S_IFBLK):
        attempt("device", lambda: os.mknod("device", kind | 0o666, os.makedev(1, 3)))
    attempt("hard link to the shim", lambda: os.link("/.fetchml/shim", "shim"))
    attempt("giving away", lambda: os.chown("fine", 12345, 12345))
    attempt("another file in the place of the folder", lambda: os.rename(place, "/tmp/moved"))
    for _ in range(90):
        os.mkdir("deep")
        os.chdir("deep")
print(json.dumps(tried), flush=True)
while not os.path.exists("/workspace/go"):
    time.sleep(0.02)
"""
READ = """
import json, os
found = {}
for root, folders, files in (each for top in ("/checkpoint", "/inputs") for each in os.walk(top)):
    for name in (*folders, *files):
        path = os.path.join(root, name)
        if not os.path.isdir(path) and not path.endswith("sparse"):
            try:
                found[ascii(path)] = open(path).read()
            except OSError as error:
                found[ascii(path)] = error.strerror
print(json.dumps(found))
"""
FORBIDDEN = {"Operation not permitted", "Invalid cross-device link", "Device or resource busy"}
KEPT = {
    "bytes-\N{REPLACEMENT CHARACTER}",
    "fine",
    "line\nbreak\x1b[31m\u202e",
    "setuid",
    "shut/inside",
}


@pytest.fixture(params=["auto", "image"])
async def server(
    tmp_path: Path, containers_backend: Backend, request: pytest.FixtureRequest
) -> AsyncIterator[Server]:
    """The image's user is root."""
    server = Server(
        tmp_path / "data",
        containers_backend,
        FETCHML_TASKS_USER=request.param,
        FETCHML_TASKS_GRACE_SECONDS="0",
    )
    yield await server.start()
    await server.close()


async def submit(server: Server, script: str, *arguments: str, **fields: Any) -> str:
    command = ["python3", "-c", script, *arguments]
    reply = await server.rest.submit({"job_name": "spoils", "command": command, **fields})
    assert reply.status == 201, reply.body
    return str(reply.json["id"])


async def listed(server: Server, task_id: str, query: str = "") -> set[str]:
    reply = await server.rest.get(f"/v1/tasks/{task_id}/outputs{query}")
    assert reply.status == 200, reply.body
    return {each["path"] for each in reply.json["outputs"]}


async def test_hostile_files_of_a_container_reach_and_harm_nothing(
    server: Server, tmp_path: Path
) -> None:
    secret = tmp_path / "secrets/secret"
    secret.parent.mkdir()
    secret.write_text(SECRET)
    spoils = await submit(server, SPOIL, str(secret), checkpoint=True)
    folder = server.attempt_folder(spoils)
    await eventually(lambda: b"}" in b"".join(each.read_bytes() for each in logs(folder)))
    tried = json.loads((await server.rest.get(f"/v1/tasks/{spoils}/logs")).body)
    assert len(tried) == 4
    assert set(tried.values()) <= FORBIDDEN, tried

    # While it runs: its checkpoint, the use of the disk, a backup.
    checkpoint = f"?folder={CHECKPOINT[1:]}"
    assert await listed(server, spoils, checkpoint) == KEPT | {"sparse"}
    assert (await server.rest.get("/v1/storage")).status == 200
    backup = tmp_path / "backup.tar"
    run("backup", str(backup), FETCHML_DATA_DIR=str(server.data_dir)).succeeded()
    assert SECRET.encode() not in backup.read_bytes()
    assert backup.stat().st_size < 32 << 20, "holes take no space there either"

    # A task may begin with its checkpoint.
    copies = await submit(server, READ, checkpoint=True, checkpoint_from=spoils)
    server.tell(spoils)
    ended = await server.ended(spoils)
    assert ended.status == Task.completed, ended
    assert "1 output files (1048576.0 MiB) were not kept" in ended.note
    reads = await submit(server, READ, inputs_from=[spoils])
    for task_id in (copies, reads):
        assert (await server.ended(task_id)).status == Task.completed
        read = json.loads((await server.get(task_id)).output).values()
        assert {"fine", "bytes", "line", "#!/bin/sh", "inside"} <= set(read)
        assert SECRET not in read

    # Afterwards: what the server keeps, lists and sends.
    assert await listed(server, spoils) == KEPT
    for name in ("link", "folder-link/secret", "up/etc/passwd", "loop", "fifo", "bytes-%EF%BF%BD"):
        for query in ("", checkpoint):
            reply = await server.rest.get(f"/v1/tasks/{spoils}/outputs/{name}{query}")
            assert reply.status == 404, (name, query)
    kept = server.data_dir / f"tasks/{spoils}/outputs"
    found = {path: path.lstat() for path in (kept, *kept.rglob("*")) if not path.is_symlink()}
    assert {status.st_uid for status in found.values()} == {os.geteuid()}
    assert {stat.S_IFMT(status.st_mode) for status in found.values()} == {
        stat.S_IFDIR,
        stat.S_IFREG,
    }
    assert not any(status.st_mode & (stat.S_ISUID | stat.S_ISGID) for status in found.values())
    await eventually(lambda: not server.backend.left_of([spoils, copies, reads]))
    for task_id in (spoils, copies, reads):
        assert (await server.rest.ask("DELETE", f"/v1/tasks/{task_id}")).status == 204
    await eventually(lambda: not any((server.data_dir / "tasks").iterdir()))
    await server.stop()


def logs(folder: Path) -> list[Path]:
    return sorted((folder / "run").glob("log.0*"))
