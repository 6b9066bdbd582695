"""Tasks of a cluster in containers of Podman."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fetchml.v1 import task_pb2
from testbed import debian
from testbed.pyxis import plugin
from testbed.slurm import NODES, Slurm
from tests.support.commands import ran
from tests.support.program import Server
from tests.support.rest_world import JSON
from tests.support.server_fixtures import Serve
from tests.support.slurm_fixtures import backend_of
from tests.support.waiting import eventually, until

Task = task_pb2.Task
IMAGE = f"localhost/fetchml-tests:{os.getpid()}"
"""By process, since the engine is shared with the other processes of a run."""
PACKAGES = ("podman", "crun", "busybox-static")
PROGRAMS = ("sh", "sleep", "echo", "cat", "id", "ls", "stat", "kill", "true", "touch", "printf")


def fill_root(root: Path) -> None:
    """Fill a folder with a shell and little else."""
    for name in ("bin", "etc", "tmp"):
        (root / name).mkdir()
    busybox = shutil.which("busybox")
    assert busybox is not None
    shutil.copy(busybox, root / "bin/busybox")
    for name in PROGRAMS:
        (root / "bin" / name).symlink_to("busybox")
    (root / "etc/marker").write_text("of the image\n")


def write_image(root: Path) -> Path:
    """Write an archive of such a folder; return its path."""
    fill_root(root)
    archive = root.with_suffix(".tar")
    podman("-C", str(root), "-cf", str(archive), ".", program="tar")
    return archive


def squash_image(folder: Path, name: str) -> Path:
    """Write such a folder with variables to a squashfs file; return its path."""
    debian.install("busybox-static")
    root = folder / "root"
    root.mkdir()
    fill_root(root)
    (root / "etc/environment").write_text("PATH=/bin\nOF_IMAGE=yes\n")
    plugin.write_image(root, folder / name)
    return folder / name


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """In the store of this machine's root."""
    if not (shutil.which("podman") and shutil.which("crun") and shutil.which("busybox")):
        debian.install(*PACKAGES)
    archive = write_image(tmp_path_factory.mktemp("image"))
    podman("import", "--change=ENV OF_IMAGE=yes", str(archive), IMAGE)
    yield IMAGE
    podman("rmi", "--force", IMAGE)


def podman(*words: str, program: str = "podman") -> str:
    done = ran([program, *words])
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
async def server(serve: Serve, slurm: Slurm, tmp_path: Path, image: str) -> Server:
    backend = backend_of(slurm, "rest", tmp_path / "shared")
    variables = {"FETCHML_SLURM_CONTAINER": "podman", "FETCHML_TASKS_IMAGE": image}
    return await serve(backend, **variables).start()


Containers = Callable[[str], str]
"""Lists the containers of a task, running or not."""


@pytest.fixture
def containers() -> Containers:
    return lambda task_id: podman(
        "ps", "--all", "--quiet", f"--filter=label=fetchml.task={task_id}"
    ).strip()


async def none_left(containers: Containers, *task_ids: str) -> None:
    await eventually(lambda: not any(map(containers, task_ids)))


async def test_task_runs_in_its_image(server: Server, containers: Containers) -> None:
    await assert_runs_in_its_image(server, containers, uid=os.geteuid())


async def assert_runs_in_its_image(server: Server, containers: Containers, uid: int) -> None:
    value = 'it\'s "one" $x\nline'
    script = (
        'cat /etc/marker; echo "$OF_IMAGE|$VALUE|$UID|$CUDA_VISIBLE_DEVICES|${SLURM_JOB_ID-none}"; '
        'pwd; id -u; echo kept >"$FETCHML_OUTPUTS/file"; touch /etc/x; ls /root; exit 3'
    )
    task_id = await server.submit(script, env={"VALUE": value, "UID": "5"})
    task = await server.ended(task_id)
    assert (task.status, task.exit_code, task.error) == (Task.failed, 3, "exit code 3"), task
    assert task.worker_id in NODES
    output = (await server.get(task_id)).output
    assert output.startswith(f"of the image\nyes|{value}|5||none\n/workspace\n{uid}\n"), output
    assert "Read-only file system" in output
    reply = await server.rest.get(f"/v1/tasks/{task_id}/outputs/file")
    assert reply.body == b"kept\n"
    await none_left(containers, task_id)


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


async def test_time_limit_changes_and_the_task_can_not_change_it(
    server: Server, containers: Containers
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
    await none_left(containers, task_id)


async def test_ends_are_told_apart(server: Server, containers: Containers) -> None:
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
    await none_left(containers, limited, killed, cancelled)


async def test_server_restarts_beside_a_container(server: Server, containers: Containers) -> None:
    task_id = await server.submit_running("until [ -e /outputs/go ]; do sleep 0.1; done; exit 4")
    await server.kill_and_start()
    (server.attempt_folder(task_id) / "outputs/go").touch()
    task = await server.ended(task_id)
    assert (task.exit_code, task.attempt) == (4, 1), task
    await none_left(containers, task_id)


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
