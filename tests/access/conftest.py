"""One server and one running task for each launcher, which all tests of entering tasks share."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from fetchml.client import Client, Conflict, Task, Unreachable
from fetchml.client.rpc import Rpc
from fetchml.core.model import Role
from fetchml.v1 import key_pb2
from testbed.docker_engine import Engine
from testbed.slurm import Slurm
from tests.support.cli_server import Reached, Server
from tests.support.slurm_fixtures import backend_of
from tests.support.waiting import wait_until


class Entered:
    """A server with a task that runs, and clients of several users."""

    def __init__(self, server: Reached, launcher: str, **fields: Any) -> None:
        """`fields`: of its tasks."""
        self.server = server
        self.launcher = launcher
        self._fields = fields
        self.admin = Client(server.grpc, server.admin_key)
        self.owner = self.client("ada")
        self.task_id = self.run("sleep 3600")

    def key(self, name: str, role: Role = Role.USER) -> key_pb2.CreateKeyResponse:
        request = key_pb2.CreateKeyRequest(name=name, role=role.value)
        rpc = Rpc("KeyService/CreateKey", request, key_pb2.CreateKeyResponse, repeatable=False)
        return self.admin.call(rpc)

    def client(self, name: str, role: Role = Role.USER) -> Client:
        return Client(self.server.grpc, self.key(name, role).secret)

    def revoke(self, key_id: str) -> None:
        request = key_pb2.RevokeKeyRequest(key_id=key_id)
        self.admin.call(Rpc("KeyService/RevokeKey", request, key_pb2.Key))

    def run(self, script: str, *arguments: str) -> str:
        """The id of a task of the owner's that runs a shell script."""
        task = self.owner.submit("job", command=["sh", "-c", script, *arguments], **self._fields)

        def status() -> bool:
            return self.owner.get(task.id).status == Task.running

        wait_until(status, "the task runs")
        return task.id

    def exec(self, script: str, task_id: str = "", data: bytes = b"") -> tuple[int, str, str]:
        """Exit code, stdout and stderr of a shell script in the task."""
        ended = self.owner.exec(task_id or self.task_id, ["sh", "-c", script], data=data)
        return ended.code, ended.stdout.decode(), ended.stderr.decode()

    def serve(self, program: str, file: str) -> int:
        """Run a server in a session of the task until the task ends. Returns its port, which the
        program writes to `file`."""

        def session() -> None:
            # It ends with the task, or the server; the end of its program may be seen before.
            with suppress(Conflict, Unreachable):
                self.owner.exec(self.task_id, ["python3", "-c", program])

        threading.Thread(target=session, daemon=True).start()
        return int(wait_until(lambda: self.exec(f"cat {file} 2>/dev/null")[1], file))

    def close(self) -> None:
        try:
            self.admin.cancel(self.task_id)
            self.admin.wait(self.task_id)
        finally:
            self.admin.close()
            self.owner.close()


Enter = Callable[..., Entered]


@contextmanager
def entered_on(server: Server, launcher: str) -> Iterator[Entered]:
    box = Entered(server, launcher)
    yield box
    try:
        box.close()
    finally:
        assert server.stop() == 0


@pytest.fixture(scope="session", params=["process", "docker"])
def launcher(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def entered(
    launcher: str,
    docker_engine: Engine,
    python_image: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Entered]:
    server = Server(
        tmp_path_factory.mktemp("entered") / "data",
        launcher=launcher,
        DOCKER_HOST=docker_engine.host,
        FETCHML_TASKS_IMAGE=python_image,
        FETCHML_TASKS_NETWORK="none",
    ).start()
    with entered_on(server, launcher) as box:
        yield box


@contextmanager
def on_slurm(cluster: Slurm, folder: Path, transport: str, **more: str) -> Iterator[Entered]:
    """A private server whose tasks run on a cluster."""
    variables = {**backend_of(cluster, transport, folder / "shared").variables, **more}
    launcher = variables.pop("FETCHML_LAUNCHER")
    variables["FETCHML_AUTH_PRIVATE"] = "true"
    server = Server(folder / "data", launcher=launcher, **variables).start()
    with entered_on(server, launcher) as box:
        yield box


@pytest.fixture(scope="session")
def entered_on_slurm(slurm: Slurm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Entered]:
    with on_slurm(slurm, tmp_path_factory.mktemp("entered"), "rest") as box:
        yield box
